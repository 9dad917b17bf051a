/** Work that is withdrawn before it began, and work that is asked for once again. */
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { buildInstance, buildOperation, buildSnapshot, missingId, uuidOf } from './support/rows';
import { ask, cancel, done, ended, instanceId } from './support/stories';
import { until } from './support/until';

jest.setTimeout(60_000);

let app: TestApp;
let ops: TestClient;

beforeAll(async () => {
  app = await startTestApp();
  ops = await app.as('ops');
});
afterAll(() => app.stop());

const ERROR = { code: 'ENGINE_UNAVAILABLE', message: 'No answer.', retryable: true, remediation: null, correlationId: 'c' }; // prettier-ignore
const ENDED = { finished_at: new Date() };
const step = (name: string) =>
  JSON.stringify([{ name, status: 'FAILED', startedAt: new Date(), finishedAt: new Date() }]);

const retry = (operationId: string, more: object = {}, client = ops): Promise<any> =>
  ask(client, 'retryOperation', { operationId, ...more });

const codes = ({ userErrors }: any): string[] => userErrors.map(({ code }: any) => code);
const rowOf = async (id: string): Promise<any> =>
  (await app.db.query('select * from snapshots where id = $1', [uuidOf(id)]))[0] ?? null;
const cancellable = async (id: string): Promise<boolean> =>
  (await ops.query('query ($id: ID!) { operation(id: $id) { cancellable } }', { id })).operation.cancellable;

async function snapshotOf(instance: string): Promise<{ instanceId: string; snapshotId: string }> {
  const id = await instanceId(ops, instance);
  const made = await done(ops, 'createSnapshot', { instanceId: id, name: `of-${instance}` });
  return { instanceId: id, snapshotId: made.snapshot?.id ?? '' };
}

test('what waits for the engine can be withdrawn, nothing of it is done, and it can be asked for again', async () => {
  const [web, db, cache, build] = [await snapshotOf('web-1'), await snapshotOf('db-1'), await snapshotOf('cache-1'), await instanceId(ops, 'build-1')]; // prettier-ignore
  const expiresAt = '2099-01-01T00:00:00.000Z';
  const before = await app.db.query('select id, name, status, version from snapshots order by id');
  const facts = () => Promise.all(['web-1', 'db-1', 'cache-1', 'build-1'].map(async (name) => {
    const found = await app.local.findInstance({ project: 'default', name }, AbortSignal.timeout(5000));
    return { generation: found?.generation, snapshots: found?.snapshots };
  })); // prettier-ignore
  const factsBefore = await facts();
  const [here, gone] = [join(app.folder, 'engine/instances'), join(app.folder, 'engine/unmounted')];
  await rename(here, gone);
  const accepted = [
    await ask(ops, 'createSnapshot', { instanceId: build, name: 'later', description: 'Why.', expiresAt }),
    await ask(ops, 'restoreSnapshot', { snapshotId: web.snapshotId, restoreMemory: false }),
    await ask(ops, 'renameSnapshot', { snapshotId: db.snapshotId, name: 'renamed-later' }),
    await ask(ops, 'deleteSnapshot', { snapshotId: cache.snapshotId }),
  ];
  const ids = accepted.map(({ operation }) => operation.id);
  for (const id of ids) {
    await until(async () => {
      const { operation } = await ops.query('query ($id: ID!) { operation(id: $id) { waitingReason } }', { id });
      return operation.waitingReason;
    });
    // While an attempt looks in vain it is being worked on.
    const answer = await until(async () => {
      const payload = await cancel(ops, id);
      return codes(payload).includes('OPERATION_NOT_CANCELLABLE') ? null : payload;
    });
    expect(answer.userErrors).toEqual([]);
    expect(answer.operation).toMatchObject({ id, status: 'CANCELLED', done: true, cancellable: false, waitingReason: null, error: null }); // prettier-ignore
    // One that no worker took up, because the engine was known to be away, was never started.
    const { startedAt, finishedAt } = answer.operation;
    expect(startedAt === null || finishedAt >= startedAt).toBe(true);
    expect(answer.operation.items.map(({ status }: any) => status)).toEqual(id === ids[3] ? ['CANCELLED'] : []);
    expect(answer.operation.snapshot === null).toBe(id === ids[0]);
  }
  expect(await app.db.query('select id, name, status, version from snapshots order by id')).toEqual(before);
  await rename(gone, here);
  expect(await facts()).toEqual(factsBefore);

  const admin = await app.as('admin');
  const snapshots = [
    { name: 'later', description: 'Why.', expiresAt },
    { name: 'of-web-1', description: null, expiresAt: null },
    { name: 'renamed-later', description: null, expiresAt: null },
    null,
  ];
  for (const [index, id] of ids.entries()) {
    const { operation, userErrors, replayed } = await retry(id, {}, admin);
    expect({ userErrors, replayed }).toEqual({ userErrors: [], replayed: false });
    expect(operation.id).not.toBe(id);
    expect(await ended(ops, operation.id)).toMatchObject({ status: 'SUCCEEDED' });
    const query = `query ($id: ID!) { operation(id: $id) { kind actor { displayName }
      snapshot { name description expiresAt } } }`;
    const { operation: told } = await ops.query(query, { id: operation.id });
    expect(told.actor).toEqual({ displayName: 'Ada Admin' });
    expect(told.snapshot).toEqual(snapshots[index]);
    expect((await cancel(ops, id)).userErrors[0]).toMatchObject({ message: 'It has ended already: it is CANCELLED.' });
  }
  expect(await rowOf(cache.snapshotId)).toBeNull();
});

describe('cancelOperation', () => {
  const suspect = { status: 'ERROR', error: ERROR };
  test.each<[string, string, object, object, object | null]>([
    ['a creation: it goes', 'SNAPSHOT_CREATE', {}, { status: 'PENDING' }, null],
    ['a creation whose attempt could not begin: it goes', 'SNAPSHOT_CREATE', {}, { status: 'CREATING' }, null],
    ['one that was to be taken anew: it is suspect', 'SNAPSHOT_CREATE', { replaces: true }, { ...suspect, status: 'PENDING' }, suspect],
    ['a restore: it is good', 'SNAPSHOT_RESTORE', {}, { status: 'RESTORING' }, { status: 'AVAILABLE' }],
    ['a rename: it is good', 'SNAPSHOT_RENAME', {}, { status: 'AVAILABLE' }, { status: 'AVAILABLE' }],
    ['a deletion: it is good', 'SNAPSHOTS_DELETE', {}, { status: 'DELETING' }, { status: 'AVAILABLE' }],
    ['a deletion of a suspect one: it is suspect', 'SNAPSHOTS_DELETE', {}, { ...suspect, status: 'DELETING' }, suspect],
    ['a deletion of one that others take: it is being taken', 'SNAPSHOTS_DELETE', {}, { status: 'CREATING' }, { status: 'CREATING' }],
    ['a deletion of a missing one: it is missing', 'SNAPSHOTS_DELETE', {}, { status: 'MISSING' }, { status: 'MISSING' }],
  ])('leaves the snapshot as it was: %s', async (_, kind, input, snapshot, left) => {
    const instance = await buildInstance(app);
    const snapshotId = await buildSnapshot(app, instance, snapshot);
    const items = kind === 'SNAPSHOTS_DELETE' ? [{ snapshotId: uuidOf(snapshotId), snapshotName: 's', status: 'QUEUED', error: null }] : []; // prettier-ignore
    const id = await buildOperation(app, instance, {
      kind, input, items: JSON.stringify(items), steps: step('check'), snapshot_id: uuidOf(snapshotId), waiting_reason: 'Later.',
    }); // prettier-ignore
    expect(await cancellable(id)).toBe(true);
    const { operation, userErrors } = await cancel(ops, id);
    expect(userErrors).toEqual([]);
    expect(operation).toMatchObject({ status: 'CANCELLED', waitingReason: null, items: items.map(() => ({ status: 'CANCELLED' })) }); // prettier-ignore
    const row = await rowOf(snapshotId);
    if (left === null) expect(row).toBeNull();
    else expect(row).toMatchObject({ error: null, ...left });
    // The instance is free at once.
    const next = await ask(ops, 'createSnapshot', { instanceId: instance, name: 'next' });
    expect(next.userErrors).toEqual([]);
  }); // prettier-ignore

  const WAIT = 'Wait until it is done.';
  test.each<[string, object, string, string | null]>([
    ['a worker is at', { status: 'RUNNING', steps: step('check') }, 'It is being worked on.', WAIT],
    ['succeeded', { status: 'SUCCEEDED', ...ENDED }, 'It has ended already: it is SUCCEEDED.', null],
    ['failed', { status: 'FAILED', error: ERROR, ...ENDED }, 'It has ended already: it is FAILED.', null],
    ['was withdrawn before', { status: 'CANCELLED', ...ENDED }, 'It has ended already: it is CANCELLED.', null],
    ['may have begun', { steps: step('act') }, 'The engine was asked already, and may have begun.', 'Wait until it is done; it goes on by itself.'],
  ])('refuses what %s, and says so', async (_, columns, message, remediation) => {
    const id = await buildOperation(app, await buildInstance(app), columns);
    expect(await cancellable(id)).toBe(false);
    const before = await app.db.query('select * from operations where id = $1', [uuidOf(id)]);
    expect(await cancel(ops, id)).toEqual({
      operation: null,
      userErrors: [{ code: 'OPERATION_NOT_CANCELLABLE', message, field: ['operationId'], remediation }],
    });
    expect(await app.db.query('select * from operations where id = $1', [uuidOf(id)])).toEqual(before);
  }); // prettier-ignore

  test('whoever follows the operation or its instance is told', async () => {
    const instance = await buildInstance(app);
    const id = await buildOperation(app, instance);
    const socket = ops.socket();
    const seen: string[] = [];
    const stream = socket.iterate<any>({ query: 'subscription ($id: ID!) { operationUpdated(id: $id) { status } }', variables: { id } }); // prettier-ignore
    for await (const { data } of stream) {
      seen.push(data.operationUpdated.status);
      if (seen.length === 1) expect((await cancel(ops, id)).userErrors).toEqual([]);
    }
    expect(seen).toEqual(['QUEUED', 'CANCELLED']);
    await socket.dispose();
  });
});

describe.each([
  ['cancelOperation', (id: string, client: TestClient) => cancel(client, id)],
  ['retryOperation', (id: string, client: TestClient) => retry(id, {}, client)],
])('%s', (_, call) => {
  test('of nothing, of no id and of another thing is NOT_FOUND in the same words', async () => {
    const errors = [];
    for (const id of [missingId('Operation'), 'nonsense', await instanceId(ops, 'web-1')]) {
      const { operation, userErrors } = await call(id, ops);
      expect(operation).toBeNull();
      errors.push(userErrors.map(({ code, message, field }: any) => ({ code, message, field })));
    }
    expect(new Set(errors.map((each) => JSON.stringify(each)))).toEqual(new Set([JSON.stringify([{ code: 'NOT_FOUND', message: 'There is no such operation.', field: ['operationId'] }])])); // prettier-ignore
  });

  test('is FORBIDDEN to a USER, also on an instance of theirs', async () => {
    const alice = await app.as('alice');
    const { operations } = (await alice.query('{ instance(name: "web-1") { operations(first: 1) { nodes { id } } } }')).instance; // prettier-ignore
    await expect(call(operations.nodes[0].id, alice)).rejects.toThrow('FORBIDDEN');
  });
});
