import { startTestApp, type TestApp, type TestClient } from './support/app';
import { buildInstance, buildSnapshot, hold, missingId } from './support/rows';
import { ask, done, ended, instanceId } from './support/stories';
import { until } from './support/until';

let app: TestApp;
let ops: TestClient;
let cache: string;

beforeAll(async () => {
  app = await startTestApp();
  ops = await app.as('ops');
  cache = await instanceId(ops, 'cache-1');
});
afterAll(() => app.stop());

const codes = (payload: { userErrors: { code: string }[] }) => payload.userErrors.map(({ code }) => code);
const settled = () =>
  until(async () => {
    const { instance } = await ops.query('query { instance(name: "cache-1") { activeOperation { id } } }');
    return instance.activeOperation === null;
  });

test('a repeat answers the first result whole, and starts nothing', async () => {
  const input = { instanceId: cache, name: 'once', description: 'x', expiresAt: '2099-01-01T00:00:00Z', idempotencyKey: 'k1' }; // prettier-ignore
  const first = await ask(ops, 'createSnapshot', input);
  expect(first).toMatchObject({ replayed: false, userErrors: [] });
  await ended(ops, first.operation.id);
  const again = await ask(ops, 'createSnapshot', input);
  expect(again).toMatchObject({
    replayed: true,
    userErrors: [],
    snapshot: { id: first.snapshot.id, name: 'once', status: 'AVAILABLE' },
    operation: { id: first.operation.id, status: 'SUCCEEDED' },
  });
});

test('a repeat is recognised also when a duration means another moment by now, or a time has passed since', async () => {
  await settled();
  const relative = { instanceId: cache, name: 'relative', expiresAt: 'P7D', idempotencyKey: 'k2' };
  const first = await ask(ops, 'createSnapshot', relative);
  await ended(ops, first.operation.id);
  expect(await ask(ops, 'createSnapshot', relative)).toMatchObject({ replayed: true, operation: { id: first.operation.id } }); // prettier-ignore
  expect(codes(await ask(ops, 'createSnapshot', { ...relative, expiresAt: 'P8D' }))).toEqual([
    'IDEMPOTENCY_KEY_REUSED',
  ]);

  const soon = new Date(Date.now() + 1500);
  const passing = { instanceId: cache, name: 'passing', expiresAt: soon.toISOString(), idempotencyKey: 'k3' };
  const second = await ask(ops, 'createSnapshot', passing);
  await ended(ops, second.operation.id);
  await until(() => Date.now() > soon.getTime());
  expect(await ask(ops, 'createSnapshot', passing)).toMatchObject({ replayed: true, operation: { id: second.operation.id } }); // prettier-ignore
});

test('the same key with another input is refused; another actor or mutation has keys of its own', async () => {
  await settled();
  const first = await ask(ops, 'createSnapshot', { instanceId: cache, name: 'mine', idempotencyKey: 'k4' });
  await ended(ops, first.operation.id);
  const refused = await ask(ops, 'createSnapshot', { instanceId: cache, name: 'other', idempotencyKey: 'k4' });
  expect(codes(refused)).toEqual(['IDEMPOTENCY_KEY_REUSED']);
  expect(refused).toMatchObject({ snapshot: null, operation: null, replayed: null });
  const byAnother = await ask(await app.as('admin'), 'createSnapshot', { instanceId: cache, name: 'theirs', idempotencyKey: 'k4' }); // prettier-ignore
  expect(byAnother).toMatchObject({ replayed: false, userErrors: [] });
  await ended(ops, byAnother.operation.id);
  const snapshotId = first.snapshot.id;
  expect(await ask(ops, 'renameSnapshot', { snapshotId, name: 'mine-2', idempotencyKey: 'k4' })).toMatchObject({ replayed: false, userErrors: [] }); // prettier-ignore
});

test('only accepted work is kept: after a refusal the key is free', async () => {
  await settled();
  const held = await hold(app, cache);
  const input = { instanceId: cache, name: 'patient', idempotencyKey: 'k5' };
  expect(codes(await ask(ops, 'createSnapshot', input))).toEqual(['INSTANCE_BUSY']);
  await held.release();
  expect(codes(await ask(ops, 'createSnapshot', { ...input, name: '..' }))).toEqual(['NAME_INVALID']);
  expect(await ask(ops, 'createSnapshot', input)).toMatchObject({ replayed: false, userErrors: [] });
});

test('twenty identical requests at once make one snapshot', async () => {
  await settled();
  const input = { instanceId: cache, name: 'crowd', idempotencyKey: 'k6' };
  const answers = await Promise.all(Array.from({ length: 20 }, () => ask(ops, 'createSnapshot', input)));
  expect(answers.flatMap(codes)).toEqual([]);
  expect(answers.filter(({ replayed }) => !replayed)).toHaveLength(1);
  expect(new Set(answers.map(({ operation, snapshot }) => `${operation.id} ${snapshot.id}`)).size).toBe(1);
  await ended(ops, answers[0].operation.id);
});

test('restore, rename and delete repeat in the same way, also when the snapshot is gone by then', async () => {
  await settled();
  const { snapshot } = await done(ops, 'createSnapshot', { instanceId: cache, name: 'worked-on' });
  const snapshotId = snapshot?.id;
  for (const [mutation, more] of [
    ['restoreSnapshot', { restoreMemory: false }],
    ['renameSnapshot', { name: 'renamed' }],
    ['deleteSnapshot', {}],
  ] as const) {
    const input = { snapshotId, ...more, idempotencyKey: 'k7' };
    const first = await ask(ops, mutation, input);
    expect(await ended(ops, first.operation.id)).toMatchObject({ status: 'SUCCEEDED' });
    const again = await ask(ops, mutation, input);
    expect(again).toMatchObject({ replayed: true, userErrors: [], operation: { id: first.operation.id, status: 'SUCCEEDED' } }); // prettier-ignore
    expect(again.snapshot === null).toBe(mutation === 'deleteSnapshot');
  }
});

test('a key is forgotten after 24 hours', async () => {
  const built = await buildInstance(app);
  const input = { instanceId: built, name: 'daily', idempotencyKey: 'k8' };
  const first = await ask(ops, 'createSnapshot', input);
  await ended(ops, first.operation.id);
  const age = (hours: number) => app.db.query(`update idempotency_keys set created_at = now() - $1 * interval '1 hour' where key = 'k8'`, [hours]); // prettier-ignore
  await age(23.9);
  expect(await ask(ops, 'createSnapshot', input)).toMatchObject({ replayed: true });
  await age(24.1);
  const fresh = await ask(ops, 'createSnapshot', input);
  expect(fresh).toMatchObject({ replayed: false, userErrors: [] });
  expect(fresh.operation.id).not.toBe(first.operation.id);
});

test('deleteSnapshots repeats with the results of every id, whatever was given as an id', async () => {
  const [one, busy] = [await buildInstance(app), await buildInstance(app)];
  await hold(app, busy);
  const snapshotIds = [await buildSnapshot(app, one), missingId('Snapshot'), 'a\0b', await buildSnapshot(app, busy)];
  const send = async () => {
    const query = `mutation ($input: DeleteSnapshotsInput!) { deleteSnapshots(input: $input) { replayed operations { id }
      userErrors { code } results { snapshotId operation { id } userErrors { __typename code message field remediation ... on InstanceBusyError { operation { id } } } } } }`;
    return (await ops.query(query, { input: { snapshotIds, idempotencyKey: 'k9' } })).deleteSnapshots;
  };
  const first = await send();
  expect(first).toMatchObject({ replayed: false, operations: { length: 1 }, userErrors: [] });
  expect(first.results.map(({ snapshotId, userErrors }: any) => [snapshotId, ...userErrors.map((each: any) => each.code)])).toEqual([
    [snapshotIds[0]],
    [snapshotIds[1], 'NOT_FOUND'],
    [snapshotIds[2], 'NOT_FOUND'],
    [snapshotIds[3], 'INSTANCE_BUSY'],
  ]); // prettier-ignore
  expect(await send()).toEqual({ ...first, replayed: true });
});
