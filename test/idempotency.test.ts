import { startTestApp, TestClient, type TestApp } from './support/app';
import { cleanUp, freshFolder, startProgram } from './support/program';
import { buildInstance, buildOperation, buildSnapshot, hold, missingId } from './support/rows';
import { ask, done, ended, instanceId, type Mutation } from './support/stories';
import { until } from './support/until';

const JWT_SECRET = 'a secret of more than thirty-two characters';
let app: TestApp;
let ops: TestClient;
let cache: string;

beforeAll(async () => {
  app = await startTestApp({ env: { JWT_SECRET } });
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

describe('fifty requests at once under one key, to two processes', () => {
  const clients: TestClient[] = [];
  beforeAll(async () => {
    const { url, migrationUrl } = app.database;
    const env = { DATABASE_URL: url, DATABASE_MIGRATION_URL: migrationUrl, JWT_SECRET, KEYFRAME_DATA_DIR: await freshFolder() }; // prettier-ignore
    const second = await startProgram(env, '--role', 'api').ready();
    clients.push(ops, new TestClient(second, ops.token, null));
  }, 120_000);
  afterAll(cleanUp);

  let count = 0;
  const crowd = (input: (index: number) => object): [TestClient, object][] => {
    const idempotencyKey = `crowd-${(count += 1)}`;
    return Array.from({ length: 50 }, (_, index) => [clients[index % 2] ?? ops, { ...input(index), idempotencyKey }]);
  }; // prettier-ignore
  const askAll = (mutation: Mutation, input: (index: number) => object): Promise<any[]> =>
    Promise.all(crowd(input).map(([client, each]) => ask(client, mutation, each)));
  const operationsOf = async (instance: string): Promise<number> =>
    (await ops.query('query ($id: ID!) { instance(id: $id) { operations { totalCount } } }', { id: instance })).instance.operations.totalCount; // prettier-ignore

  /** One was accepted, and 49 are told the same again. */
  function expectOne(answers: any[]): any {
    expect(answers.flatMap(codes)).toEqual([]);
    expect(answers.filter(({ replayed }) => replayed === false)).toHaveLength(1);
    expect(answers.filter(({ replayed }) => replayed === true)).toHaveLength(49);
    return answers.find(({ replayed }) => !replayed);
  }

  test('one operation is started on one snapshot, whichever the mutation', async () => {
    const instance = await instanceId(ops, 'web-1');
    let snapshotId = '';
    const failed = await buildOperation(app, instance, {
      status: 'FAILED', created_at: new Date(), finished_at: new Date(), snapshot_name: 'crowd-again', error: { code: 'STORAGE_FULL', retryable: true }, input: { stateful: false },
    }); // prettier-ignore
    const wishes: [Mutation, () => object][] = [
      ['createSnapshot', () => ({ instanceId: instance, name: 'crowd' })],
      ['restoreSnapshot', () => ({ snapshotId, restoreMemory: false })],
      ['renameSnapshot', () => ({ snapshotId, name: 'crowd-2' })],
      ['deleteSnapshot', () => ({ snapshotId })],
      ['retryOperation', () => ({ operationId: failed })],
    ];
    for (const [mutation, input] of wishes) {
      const before = await operationsOf(instance);
      const answers = await askAll(mutation, input);
      const first = expectOne(answers);
      expect([mutation, ...new Set(answers.map(({ operation }) => operation.id))]).toEqual([mutation, first.operation.id]);
      // A repeat that comes when the snapshot is deleted already is told of none.
      for (const { snapshot } of answers) expect([first.snapshot.id, undefined]).toContain(snapshot?.id);
      if (mutation !== 'deleteSnapshot') expect(answers.every(({ snapshot }) => snapshot)).toBe(true);
      snapshotId ||= first.snapshot.id;
      expect(await ended(ops, first.operation.id)).toMatchObject({ status: 'SUCCEEDED' });
      expect([mutation, await operationsOf(instance)]).toEqual([mutation, before + 1]);
    }
  }, 120_000); // prettier-ignore

  test('deleteSnapshots is accepted once, and its results are told again', async () => {
    const instances = [await buildInstance(app), await buildInstance(app)];
    const snapshotIds = await Promise.all(instances.map((instance) => buildSnapshot(app, instance)));
    const query = `mutation ($input: DeleteSnapshotsInput!) { deleteSnapshots(input: $input) { replayed operations { id }
      userErrors { code } results { snapshotId operation { id } userErrors { code } } } }`;
    const requests = crowd(() => ({ snapshotIds: [...snapshotIds, 'nonsense'] }));
    const answers = await Promise.all(requests.map(async ([client, input]) => (await client.query(query, { input })).deleteSnapshots)); // prettier-ignore
    const first = expectOne(answers);
    expect(first.operations).toHaveLength(2);
    for (const answer of answers) expect({ ...answer, replayed: false }).toEqual(first);
    expect(await Promise.all(instances.map(operationsOf))).toEqual([1, 1]);
  }, 120_000);

  test('with several inputs exactly one is accepted; the others are told so', async () => {
    const instance = await instanceId(ops, 'web-1');
    const before = await operationsOf(instance);
    const answers = await askAll('createSnapshot', (index) => ({ instanceId: instance, name: `differs-${index % 5}` }));
    const [first, ...more] = answers.filter(({ replayed }) => replayed === false);
    expect([first.userErrors, more]).toEqual([[], []]);
    answers.forEach((answer, index) => {
      const same = first.operation.id === answer.operation?.id;
      expect({ same, codes: codes(answer) }).toEqual(`differs-${index % 5}` === first.snapshot.name ? { same: true, codes: [] } : { same: false, codes: ['IDEMPOTENCY_KEY_REUSED'] }); // prettier-ignore
    });
    await ended(ops, first.operation.id);
    expect(await operationsOf(instance)).toBe(before + 1);
  }, 120_000);

  test('while it is refused the key stays free, and every one is told why', async () => {
    const instance = await buildInstance(app);
    const held = await hold(app, instance);
    const answers = await askAll('createSnapshot', () => ({ instanceId: instance, name: 'refused' }));
    expect(new Set(answers.map((each) => codes(each).join()))).toEqual(new Set(['INSTANCE_BUSY']));
    await held.release();
    const later = { instanceId: instance, name: 'refused', idempotencyKey: `crowd-${count}` };
    expect(await ask(ops, 'createSnapshot', later)).toMatchObject({ replayed: false, userErrors: [] });
  }, 120_000);
});
