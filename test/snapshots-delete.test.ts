import { startTestApp, type TestApp, type TestClient } from './support/app';
import { buildInstance, buildSnapshot, hold, missingId, uuidOf } from './support/rows';
import { ask, done, ended, instanceId } from './support/stories';
import { until } from './support/until';

let app: TestApp;
let ops: TestClient;

beforeAll(async () => {
  app = await startTestApp({ env: { OBSERVE_INTERVAL_SECONDS: '1' } });
  ops = await app.as('ops');
});
afterAll(() => app.stop());

const codes = (payload: { userErrors: { code: string }[] }) => payload.userErrors.map(({ code }) => code);
const read = async (id: string) =>
  (await ops.query('query ($id: ID!) { snapshot(id: $id) { name status expiresAt } }', { id })).snapshot;

async function deleteMany(snapshotIds: string[], client = ops): Promise<any> {
  const query = `mutation ($input: DeleteSnapshotsInput!) { deleteSnapshots(input: $input) { replayed userErrors { code field }
    operations { id kind status snapshotName progressPercent instance { name } snapshot { id } items { snapshotName status snapshot { id } } }
    results { snapshotId operation { id } userErrors { __typename code field ... on InstanceBusyError { operation { id } } } } } }`;
  return (await client.query(query, { input: { snapshotIds } })).deleteSnapshots;
}

async function snapshotOf(instance: string, name: string): Promise<string> {
  const query = `query ($instance: String, $name: String!) { instance(name: $instance) {
    snapshots(filter: { name: { eq: $name } }) { nodes { id } } } }`;
  return (await ops.query(query, { instance, name })).instance.snapshots.nodes[0].id;
}

test('a delete removes the snapshot; its operation keeps the name and nothing else of it', async () => {
  const instance = await instanceId(ops, 'new-1');
  const made = await done(ops, 'createSnapshot', { instanceId: instance, name: 'short-lived' });
  const id = made.snapshot?.id ?? '';
  const { snapshot, operation, userErrors } = await ask(ops, 'deleteSnapshot', { snapshotId: id });
  expect({ snapshot, userErrors }).toMatchObject({ snapshot: { id, status: 'AVAILABLE' }, userErrors: [] });
  expect(operation).toMatchObject({ snapshotName: 'short-lived', items: [{ snapshotName: 'short-lived', status: 'QUEUED' }] }); // prettier-ignore
  expect(await ended(ops, operation.id)).toMatchObject({
    status: 'SUCCEEDED',
    snapshot: null,
    snapshotName: 'short-lived',
    items: [{ snapshotName: 'short-lived', status: 'SUCCEEDED', error: null }],
  });
  expect(await read(id)).toBeNull();
  const onEngine = await app.local.findInstance({ project: 'default', name: 'new-1' }, AbortSignal.timeout(5000));
  expect(onEngine?.snapshots).toEqual([]);
  expect(codes(await ask(ops, 'deleteSnapshot', { snapshotId: id }))).toEqual(['NOT_FOUND']);
});

test('an instance in ERROR and a snapshot in ERROR or MISSING do not stand in the way of a delete', async () => {
  const broken = await buildInstance(app, { status: 'DELETED' });
  for (const columns of [{ status: 'MISSING' }, { status: 'ERROR' }, { name: 'a%2fb' }]) {
    const snapshotId = await buildSnapshot(app, broken, columns);
    expect(await done(ops, 'deleteSnapshot', { snapshotId })).toMatchObject({ status: 'SUCCEEDED', snapshot: null });
    expect(await read(snapshotId)).toBeNull();
  }
});

test('several at once: results in the order asked, one operation per instance, an item per snapshot', async () => {
  const web = [await snapshotOf('web-1', 'before-upgrade'), await snapshotOf('web-1', 'warm-cache')];
  const weekly = await snapshotOf('cache-1', 'weekly');
  const busy = await snapshotOf('build-1', 'clean');
  const held = await hold(app, await instanceId(ops, 'build-1'));
  const ids = ['nonsense', ...web, busy, web[0] ?? '', weekly, missingId('Snapshot'), await instanceId(ops, 'web-1')];
  const { results, operations, userErrors, replayed } = await deleteMany(ids);
  expect({ userErrors, replayed }).toEqual({ userErrors: [], replayed: false });
  expect(results.map(({ snapshotId }: any) => snapshotId)).toEqual(ids);
  const outcomes = results.map(({ operation, userErrors: [error] }: any) => error?.code ?? operation.id);
  const onWeb = operations.find(({ instance }: any) => instance.name === 'web-1');
  const onCache = operations.find(({ instance }: any) => instance.name === 'cache-1');
  expect(operations).toHaveLength(2);
  expect(outcomes).toEqual(['NOT_FOUND', onWeb.id, onWeb.id, 'INSTANCE_BUSY', onWeb.id, onCache.id, 'NOT_FOUND', 'NOT_FOUND']); // prettier-ignore
  expect(results[3].userErrors).toEqual([{ __typename: 'InstanceBusyError', code: 'INSTANCE_BUSY', field: null, operation: { id: held.id } }]); // prettier-ignore
  expect(onWeb).toMatchObject({ kind: 'SNAPSHOTS_DELETE', snapshotName: null, snapshot: null, progressPercent: 0 });
  expect(onWeb.items.map((item: any) => [item.snapshotName, item.snapshot.id])).toEqual([['before-upgrade', web[0]], ['warm-cache', web[1]]]); // prettier-ignore
  expect(onCache).toMatchObject({ snapshotName: 'weekly', items: [{ snapshotName: 'weekly' }], progressPercent: null });
  expect(await ended(ops, onWeb.id)).toMatchObject({ status: 'SUCCEEDED', items: [{ status: 'SUCCEEDED' }, { status: 'SUCCEEDED' }] }); // prettier-ignore
  expect(await ended(ops, onCache.id)).toMatchObject({ status: 'SUCCEEDED' });
  expect(await Promise.all([...web, weekly].map(read))).toEqual([null, null, null]);
  expect(await read(busy)).toMatchObject({ status: 'AVAILABLE' });
  await held.release();
});

test('when nothing can be deleted nothing is started, and every id says why', async () => {
  const { results, operations, userErrors } = await deleteMany(['nonsense', missingId('Snapshot')]);
  expect(userErrors).toEqual([]);
  expect(operations).toEqual([]);
  expect(results.flatMap(codes)).toEqual(['NOT_FOUND', 'NOT_FOUND']);
});

test('none and more than 100 at once are INVALID_INPUT', async () => {
  const id = await snapshotOf('db-1', 'asdf');
  for (const ids of [[], Array.from({ length: 101 }, () => id)]) {
    expect(await deleteMany(ids)).toEqual({
      replayed: null,
      operations: [],
      results: [],
      userErrors: [{ code: 'INVALID_INPUT', field: ['snapshotIds'] }],
    });
  }
  expect(await read(id)).toMatchObject({ status: 'AVAILABLE' });
});

test('a hundred of one instance are one operation', async () => {
  const instance = await buildInstance(app);
  const ids: string[] = [];
  for (let index = 0; index < 100; index++) ids.push(await buildSnapshot(app, instance));
  const { operations, results } = await deleteMany(ids);
  expect([operations.length, operations[0].items.length, results.length]).toEqual([1, 100, 100]);
  expect(await ended(ops, operations[0].id)).toMatchObject({ status: 'SUCCEEDED' });
  expect(await app.db.query('select 1 from snapshots where id = any($1)', [ids.map(uuidOf)])).toEqual([]);
});

describe('expiry', () => {
  const expire = (id: string) => app.db.query(`update snapshots set expires_at = now() where id = $1`, [uuidOf(id)]);
  const deletions = async (name: string) => {
    const query = `query ($name: String!) { operations(filter: { snapshotName: { eq: $name }, kind: { eq: SNAPSHOTS_DELETE } }) {
      nodes { id status actor { id } items { snapshotName } idempotencyKey } } }`;
    return (await ops.query(query, { name })).operations.nodes;
  };

  test('a snapshot past its time is deleted by an ordinary operation of the system', async () => {
    const made = await done(ops, 'createSnapshot', { instanceId: await instanceId(ops, 'new-1'), name: 'expiring', expiresAt: 'PT1H' }); // prettier-ignore
    const id = made.snapshot?.id ?? '';
    const { expiresAt } = await read(id);
    expect(Math.abs(Date.parse(expiresAt) - Date.now() - 3_600_000)).toBeLessThan(60_000);
    await expire(id);
    await until(async () => (await read(id)) === null, 15_000, 'its deletion');
    const operations = await until(async () => {
      const found = await deletions('expiring');
      return found[0]?.status === 'SUCCEEDED' && found;
    });
    expect(operations).toEqual([{ id: expect.any(String), status: 'SUCCEEDED', actor: null, items: [{ snapshotName: 'expiring' }], idempotencyKey: null }]); // prettier-ignore
  });

  test('it waits while the instance is busy', async () => {
    const instance = await instanceId(ops, 'db-1');
    const id = await snapshotOf('db-1', 'asdf');
    const held = await hold(app, instance);
    await expire(id);
    const looked = async () => (await app.db.query('select observed_at from engines'))[0].observed_at.getTime() as number; // prettier-ignore
    const before = await looked();
    await until(async () => (await looked()) > before + 2000, 15_000, 'two more looks');
    expect(await read(id)).toMatchObject({ status: 'AVAILABLE' });
    expect(await deletions('asdf')).toEqual([]);
    await held.release();
    await until(async () => (await read(id)) === null, 15_000, 'its deletion');
  });
});

test('a wish for a snapshot that is removed at the same moment finds it missing', async () => {
  const instance = await buildInstance(app);
  const wishes = { deleteSnapshot: {}, restoreSnapshot: {}, renameSnapshot: { name: 'too-late' } };
  for (const [mutation, more] of Object.entries(wishes) as [keyof typeof wishes, object][]) {
    const snapshotId = await buildSnapshot(app, instance);
    const other = app.db.createQueryRunner();
    await other.startTransaction();
    await other.query('delete from snapshots where id = $1', [uuidOf(snapshotId)]);
    const asked = ask(ops, mutation, { snapshotId, ...more });
    const blocked = `select from pg_stat_activity where wait_event_type = 'Lock' and query like '%insert into operations%' and datname = current_database()`;
    await until(async () => (await app.db.query(blocked)).length > 0);
    await other.commitTransaction();
    await other.release();
    expect(codes(await asked)).toEqual(['NOT_FOUND']);
  }
});
