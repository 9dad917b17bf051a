import { startTestApp, type TestApp, type TestClient } from './support/app';
import { buildInstance, buildSnapshot, hold } from './support/rows';

let app: TestApp;
let ops: TestClient;
let shelf: string;

const DAY = 86_400_000;
const ago = (days: number) => new Date(Date.now() - days * DAY);

beforeAll(async () => {
  app = await startTestApp();
  ops = await app.as('ops');
  shelf = await buildInstance(app, { name: 'shelf', location: null });
  for (const [name, columns] of [
    ['alpha', { created_at: ago(1), stateful: true }],
    ['Alpha-2', { created_at: ago(3), status: 'ERROR' }],
    ['beta', { created_at: ago(8), expires_at: ago(-5) }],
    ['100%_done', { created_at: ago(9), origin: 'EXTERNAL' }],
    ['100x-done', { created_at: ago(400), origin: 'EXTERNAL', expires_at: ago(-50) }],
  ] as const) {
    await buildSnapshot(app, shelf, { name, ...columns });
  }
});
afterAll(() => app.stop());

const LIST = `query ($id: ID!, $filter: SnapshotFilter, $orderBy: SnapshotOrder) {
  instance(id: $id) { snapshots(filter: $filter, orderBy: $orderBy) { totalCount nodes { name } } } }`;
const NAME_ASC = { field: 'NAME', direction: 'ASC' };
const ALL = ['100%_done', '100x-done', 'Alpha-2', 'alpha', 'beta'];

/** Names in order of their bytes; the count must agree with them. */
async function named(filter: object | null): Promise<string[]> {
  const { instance } = await ops.query(LIST, { id: shelf, filter, orderBy: NAME_ASC });
  const names = instance.snapshots.nodes.map(({ name }: { name: string }) => name);
  expect(instance.snapshots.totalCount).toBe(names.length);
  return names;
}

test.each<[object | null, string[]]>([
  [null, ALL],
  [{}, ALL],
  [{ name: {} }, ALL],
  [{ name: null }, ALL],
  [{ name: { eq: 'alpha' } }, ['alpha']],
  [{ name: { eq: 'Alpha' } }, []],
  [{ name: { in: ['beta', 'alpha', 'gone'] } }, ['alpha', 'beta']],
  [{ name: { in: [] } }, []],
  [{ name: { contains: 'ALPHA' } }, ['Alpha-2', 'alpha']],
  [{ name: { contains: '' } }, ALL],
  [{ name: { startsWith: 'Al' } }, ['Alpha-2']],
  [{ name: { startsWith: 'al' } }, ['alpha']],
  [{ name: { startsWith: 'al', contains: 'PHA' } }, ['alpha']],
  [{ name: { contains: '%' } }, ['100%_done']],
  [{ name: { contains: '_' } }, ['100%_done']],
  [{ name: { startsWith: '100%' } }, ['100%_done']],
  [{ name: { contains: '\\' } }, []],
  [{ name: { eq: 'alpha\0' } }, []],
  [{ name: { contains: '\0' } }, []],
  [{ name: { in: ['beta', '\0'] } }, ['beta']],
  [{ not: { name: { startsWith: '\0' } } }, ALL],
  [{ stateful: true }, ['alpha']],
  [{ stateful: false }, ['100%_done', '100x-done', 'Alpha-2', 'beta']],
  [{ status: { eq: 'ERROR' } }, ['Alpha-2']],
  [{ origin: { in: ['EXTERNAL', 'SAFETY'] } }, ['100%_done', '100x-done']],
  [{ createdAt: { gte: '-P7D' } }, ['Alpha-2', 'alpha']],
  [{ createdAt: { gte: '-P1Y1M', lt: '-P1W' } }, ['100%_done', 'beta']],
  [{ createdAt: { lt: '-P1Y' } }, ['100x-done']],
  [{ createdAt: { gte: '-PT30H' } }, ['alpha']],
  [{ createdAt: { lt: 'P1D' } }, ALL],
  [{ createdAt: { gte: ago(3.5).toISOString() } }, ['Alpha-2', 'alpha']],
  [{ createdAt: { gte: '2000-01-01T01:00:00+01:00', lt: '2100-01-01T00:00:00Z' } }, ALL],
  [{ expiresAt: { lt: 'P10D' } }, ['beta']],
  [{ not: { expiresAt: { lt: 'P10D' } } }, ['100%_done', '100x-done', 'Alpha-2', 'alpha']],
  [{ not: { not: { expiresAt: { lt: 'P10D' } } } }, ['beta']],
  [{ not: { and: [{ expiresAt: { lt: 'P10D' } }, { stateful: false }] } }, ['100%_done', '100x-done', 'Alpha-2', 'alpha']], // prettier-ignore
  [{ or: [{ name: { eq: 'beta' } }, { stateful: true }] }, ['alpha', 'beta']],
  [{ or: [{ name: { eq: 'beta' } }, { stateful: true }], origin: { eq: 'MANUAL' }, not: { stateful: true } }, ['beta']],
  [{ and: [{ name: { contains: 'a' } }, { or: [{ stateful: true }, { status: { eq: 'ERROR' } }] }] }, ['Alpha-2', 'alpha']], // prettier-ignore
  [{ and: [] }, ALL],
  [{ or: [] }, []],
  [{ not: {} }, []],
])('the filter %j finds exactly what it says', async (filter, expected) => {
  expect(await named(filter)).toEqual(expected);
});

test.each([
  'tomorrow',
  '',
  'P',
  '-P',
  'PT',
  'P1',
  '2026-13-01T00:00:00Z',
  '2026-01-01',
  'P999999Y',
  '-P9000Y',
  1,
  null,
])('what is no time (%j) is refused, or says nothing when it is null', async (time) => {
  const { data, errors } = await ops.send(LIST, { id: shelf, filter: { createdAt: { gte: time } } });
  if (time === null) expect(data.instance.snapshots.totalCount).toBe(ALL.length);
  else expect(errors?.[0]?.extensions.code).toBe('BAD_USER_INPUT');
});

test('orders: snapshots newest first by default, by time and by name in both directions', async () => {
  const order = async (orderBy?: object) => {
    const { instance } = await ops.query(LIST, { id: shelf, orderBy });
    return instance.snapshots.nodes.map(({ name }: { name: string }) => name);
  };
  const newest = ['alpha', 'Alpha-2', 'beta', '100%_done', '100x-done'];
  expect(await order()).toEqual(newest);
  expect(await order({ field: 'CREATED_AT', direction: 'DESC' })).toEqual(newest);
  expect(await order({ field: 'CREATED_AT', direction: 'ASC' })).toEqual(newest.toReversed());
  expect(await order(NAME_ASC)).toEqual(ALL);
  expect(await order({ field: 'NAME', direction: 'DESC' })).toEqual(ALL.toReversed());
});

test('instances are listed by name, operations newest first, users by e-mail', async () => {
  const admin = await app.as('admin');
  const { instances, operations, users } = await admin.query(
    'query { instances { nodes { name } } operations { nodes { createdAt } } users { nodes { email } } }',
  );
  const names = instances.nodes.map(({ name }: { name: string }) => name);
  expect(names).toEqual([...names].sort());
  expect(names).toContain('shelf');
  const times = operations.nodes.map(({ createdAt }: { createdAt: string }) => createdAt);
  expect(times.length).toBeGreaterThan(3);
  expect(times).toEqual([...times].sort().reverse());
  expect(users.nodes.map(({ email }: { email: string }) => email.split('@')[0])).toEqual(['admin', 'alice', 'bob', 'ops']); // prettier-ignore
});

test('instances are filtered by name, project, cluster member, status, type and time', async () => {
  await buildInstance(app, { name: 'far-1', project: 'team-a', location: 'member-2', type: 'VIRTUAL_MACHINE', status: 'ERROR', created_at: ago(20) }); // prettier-ignore
  const find = async (filter: object) => {
    const query = 'query ($filter: InstanceFilter) { instances(filter: $filter) { totalCount nodes { name } } }';
    return (await ops.query(query, { filter })).instances.nodes.map(({ name }: { name: string }) => name);
  };
  expect(await find({ project: { eq: 'team-a' } })).toEqual(['far-1']);
  expect(await find({ location: { in: ['member-2'] } })).toEqual(['far-1']);
  expect(await find({ not: { location: { eq: 'member-2' } } })).toContain('shelf');
  expect(await find({ type: { eq: 'VIRTUAL_MACHINE' } })).toEqual(['far-1']);
  expect(await find({ status: { eq: 'ERROR' }, createdAt: { lt: '-P10D' } })).toEqual(['far-1']);
  expect(await find({ name: { contains: 'SHELF' }, status: { in: ['STOPPED', 'RUNNING'] } })).toEqual(['shelf']);
  const { instance } = await ops.query('query { instance(name: "far-1", project: "team-a") { location type status } }');
  expect(instance).toEqual({ location: 'member-2', type: 'VIRTUAL_MACHINE', status: 'ERROR' });
  const { far } = await ops.query('query ($name: String) { far: instance(name: $name) { id } }', { name: 'far\0' });
  expect(far).toBeNull();
});

test('operations are filtered by kind, status, name of the snapshot and time, above and below an instance', async () => {
  const held = await hold(app, shelf);
  const find = async (filter: object) => {
    const query = `query ($id: ID!, $filter: OperationFilter) {
      operations(filter: $filter, first: 100) { nodes { id } totalCount }
      instance(id: $id) { operations(filter: $filter) { nodes { id } totalCount } } }`;
    const { operations, instance } = await ops.query(query, { id: shelf, filter });
    expect(operations.totalCount).toBe(operations.nodes.length);
    return [operations.nodes, instance.operations.nodes];
  };
  expect(await find({ status: { eq: 'QUEUED' } })).toEqual([[{ id: held.id }], [{ id: held.id }]]);
  expect(await find({ status: { eq: 'QUEUED' }, kind: { eq: 'SNAPSHOT_RENAME' } })).toEqual([[], []]);
  expect(await find({ status: { eq: 'QUEUED' }, createdAt: { lt: '-PT1H' } })).toEqual([[], []]);
  const [named_, below] = await find({ snapshotName: { startsWith: 'before-' } });
  expect([named_?.length, below]).toEqual([1, []]);
  const [others] = await find({ not: { snapshotName: { startsWith: 'before-' } } });
  expect(others).toContainEqual({ id: held.id });
  await held.release();
});

test('a list of everything pages through equal names of different instances once each', async () => {
  const made = [];
  for (let index = 0; index < 5; index++)
    made.push(await buildSnapshot(app, await buildInstance(app), { name: 'same' }));
  const query = `query ($after: String) { snapshots(first: 2, after: $after, filter: { name: { eq: "same" } },
    orderBy: { field: NAME, direction: ASC }) { nodes { id } pageInfo { hasNextPage endCursor } } }`;
  const seen: string[] = [];
  for (let after: string | null = null; ;) {
    const { snapshots }: any = await ops.query(query, { after });
    seen.push(...snapshots.nodes.map(({ id }: { id: string }) => id));
    if (!snapshots.pageInfo.hasNextPage) break;
    after = snapshots.pageInfo.endCursor;
  }
  expect(seen).toEqual(made);
});
