import { startTestApp, type TestApp, type TestClient } from './support/app';
import { buildInstance, buildSnapshot, hold, missingId, uuidOf } from './support/rows';

let app: TestApp;
let ops: TestClient;
/** An instance with 30 snapshots, three of each time, so that only the id tells some apart. */
let many: string;
let made: string[];

beforeAll(async () => {
  app = await startTestApp();
  ops = await app.as('ops');
  many = await buildInstance(app, { name: 'many' });
  made = [];
  for (let index = 0; index < 30; index++) {
    const created_at = new Date(Date.UTC(2026, 0, 1 + Math.floor(index / 3)));
    made.push(await buildSnapshot(app, many, { name: `s-${String(index).padStart(2, '0')}`, created_at }));
  }
});
afterAll(() => app.stop());

const PAGE = `query ($id: ID!, $first: Int, $after: String, $last: Int, $before: String, $orderBy: SnapshotOrder) {
  instance(id: $id) { snapshots(first: $first, after: $after, last: $last, before: $before, orderBy: $orderBy) {
    edges { cursor node { id name } } nodes { id } totalCount
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }`;

async function page(variables: object, id = many): Promise<any> {
  return (await ops.query(PAGE, { id, ...variables })).instance.snapshots;
}

/** Every id, page by page; `between` runs after each page. */
async function walk(size: number, backward: boolean, orderBy?: object, between?: () => Promise<unknown>) {
  const ids: string[] = [];
  for (let cursor: string | null = null; ;) {
    const got = await page(
      backward ? { last: size, before: cursor, orderBy } : { first: size, after: cursor, orderBy },
    );
    const found = got.nodes.map((node: { id: string }) => node.id);
    if (backward) ids.unshift(...found);
    else ids.push(...found);
    await between?.();
    if (!(backward ? got.pageInfo.hasPreviousPage : got.pageInfo.hasNextPage)) return ids;
    cursor = backward ? got.pageInfo.startCursor : got.pageInfo.endCursor;
  }
}

const codeOf = async (query: string, variables: object = {}) => {
  const { data, errors } = await ops.send(query, variables);
  return errors?.[0]?.extensions.code ?? data;
};

test('a page holds 25 when no size is given, says where it stands, and shows edges and nodes alike', async () => {
  const first = await page({});
  expect(first.edges.map((edge: { node: { id: string } }) => edge.node.id)).toEqual(
    first.nodes.map((node: { id: string }) => node.id),
  );
  expect(first).toMatchObject({ nodes: { length: 25 }, totalCount: 30 });
  expect(first.pageInfo).toEqual({
    hasNextPage: true,
    hasPreviousPage: false,
    startCursor: first.edges[0].cursor,
    endCursor: first.edges[24].cursor,
  });
  const rest = await page({ after: first.pageInfo.endCursor });
  expect(rest).toMatchObject({ nodes: { length: 5 }, totalCount: 30, pageInfo: { hasNextPage: false, hasPreviousPage: true } }); // prettier-ignore
  const back = await page({ last: 25, before: rest.pageInfo.startCursor });
  expect(back).toMatchObject({ nodes: first.nodes, pageInfo: { hasNextPage: true, hasPreviousPage: false } });
  expect(await page({ last: 5 })).toMatchObject({ nodes: rest.nodes, pageInfo: { hasNextPage: false, hasPreviousPage: true } }); // prettier-ignore
});

test.each([
  ['newest first', undefined],
  ['oldest first', { field: 'CREATED_AT', direction: 'ASC' }],
  ['by name', { field: 'NAME', direction: 'ASC' }],
  ['by name backwards', { field: 'NAME', direction: 'DESC' }],
])('a walk over all pages, %s, meets every row exactly once in one order from both ends', async (_, orderBy) => {
  const forwards = await walk(4, false, orderBy);
  expect([...forwards].sort()).toEqual([...made].sort());
  expect(await walk(4, true, orderBy)).toEqual(forwards);
  expect(await walk(1, false, orderBy)).toEqual(forwards);
  expect(await walk(100, false, orderBy)).toEqual(forwards);
});

test('rows of equal sort value are told apart by their id in the direction of the order', async () => {
  const same = await buildInstance(app);
  const created_at = new Date('2026-02-03T04:05:06.789Z');
  const ids = [];
  for (let index = 0; index < 5; index++) ids.push(await buildSnapshot(app, same, { created_at }));
  const nodesOf = async (variables: object) =>
    (await page(variables, same)).nodes.map((node: { id: string }) => node.id);
  expect(await nodesOf({ orderBy: { field: 'CREATED_AT', direction: 'ASC' } })).toEqual(ids);
  expect(await nodesOf({})).toEqual([...ids].reverse());
});

test('rows that are inserted between pages neither repeat nor hide those that were there', async () => {
  const before = await walk(100, false);
  const added: string[] = [];
  const insert = async () => {
    for (const time of ['2026-06-01', '2026-01-05', '2025-01-01']) {
      added.push(await buildSnapshot(app, many, { created_at: new Date(time) }));
    }
  };
  const seen = await walk(7, false, undefined, insert);
  expect(new Set(seen).size).toBe(seen.length);
  expect(seen.filter((id) => !added.includes(id))).toEqual(before);
  await app.db.query('delete from snapshots where id = any($1)', [added.map(uuidOf)]);
});

test('page sizes out of bounds and from both ends are BAD_USER_INPUT, and the largest page is 100', async () => {
  for (const size of [0, -1, 101, 2_147_483_647]) {
    for (const end of ['first', 'last']) {
      expect([end, size, await codeOf(PAGE, { id: many, [end]: size })]).toEqual([end, size, 'BAD_USER_INPUT']);
    }
  }
  expect(await codeOf(PAGE, { id: many, first: 5, last: 5 })).toBe('BAD_USER_INPUT');
  expect(await page({ first: 100 })).toMatchObject({ nodes: { length: 30 } });
  expect(await page({ first: null, last: null })).toMatchObject({ nodes: { length: 25 } });
});

test('a cursor that is not ours, of another order or of another list is BAD_USER_INPUT', async () => {
  const { edges } = await page({ first: 1 });
  const [list, field, ...rest] = JSON.parse(Buffer.from(edges[0].cursor, 'base64url').toString());
  const forge = (parts: unknown) => Buffer.from(JSON.stringify(parts)).toString('base64url');
  const { operations, instances } = await ops.query(
    'query { operations(first: 1) { edges { cursor } } instances(first: 1) { edges { cursor } } }',
  );
  const byName = { field: 'NAME', direction: 'ASC' };
  const bad: [string, string, object?][] = [
    ['empty', ''],
    ['no cursor', 'nonsense'],
    ['not base64', '%%%'],
    ['JSON of something else', forge({})],
    ['null', forge(null)],
    ['of another order', edges[0].cursor, byName],
    ['of another list, same order', operations.edges[0].cursor],
    ['of another list by name', instances.edges[0].cursor, byName],
    ['with a time of no calendar', forge([list, field, ...rest.with(-2, '2026-02-30T00:00:00.000Z')])],
    ['with a time before all', forge([list, field, ...rest.with(-2, '0000-01-01T00:00:00.000Z')])],
    ['with an id that is none', forge([list, field, ...rest.with(-1, 'x')])],
    ['with a number for an id', forge([list, field, ...rest.with(-1, 1)])],
  ];
  for (const [what, cursor, orderBy] of bad) {
    for (const end of ['after', 'before']) {
      expect([what, end, await codeOf(PAGE, { id: many, [end]: cursor, orderBy })]).toEqual([what, end, 'BAD_USER_INPUT']); // prettier-ignore
    }
  }
});

test('an empty list is an empty list', async () => {
  const { instance } = await ops.query(
    'query { instance(name: "new-1") { latestSnapshot { id } snapshots { nodes { id } edges { cursor } totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }',
  );
  const pageInfo = { hasNextPage: false, hasPreviousPage: false, startCursor: null, endCursor: null };
  expect(instance).toEqual({ latestSnapshot: null, snapshots: { nodes: [], edges: [], totalCount: 0, pageInfo } });
});

test('what hangs below many instances is read in as many statements as below two', async () => {
  const names = Array.from({ length: 30 }, (_, index) => `wide-${index}`);
  const operations = [];
  for (const name of names) {
    const instance = await buildInstance(app, { name });
    for (let index = 0; index < 3; index++) await buildSnapshot(app, instance);
    operations.push(await hold(app, instance));
  }
  const statements = async (in_: string[]) => {
    const seen: string[] = [];
    const { logger } = app.db;
    const count = (sql: string) => {
      if (/\bfrom \w+( \w+ join \w+)? t\b/.test(sql)) seen.push(sql);
    };
    app.db.logger = new Proxy(logger, { get: (of, key) => (key === 'logQuery' ? count : Reflect.get(of, key)) });
    try {
      const { instances } = await ops.query(WIDE, { in: in_ });
      expect(instances.nodes).toHaveLength(in_.length);
      for (const { snapshots } of instances.nodes) expect(snapshots).toMatchObject({ nodes: { length: 2 }, totalCount: 3 }); // prettier-ignore
    } finally {
      app.db.logger = logger;
    }
    return seen;
  };
  const few = await statements(names.slice(0, 2));
  expect((await statements(names)).length).toBe(few.length);
  expect(few.length).toBeGreaterThan(3);
  await Promise.all(operations.map(({ release }) => release()));
});

const WIDE = `query ($in: [String!]) { instances(first: 100, filter: { name: { in: $in } }) { nodes {
  engine { id } latestSnapshot { id } activeOperation { id actor { id } } viewerPermissions { createSnapshot { allowed } }
  assignments { totalCount nodes { user { id } } } operations(first: 1) { totalCount nodes { id instance { id } } }
  snapshots(first: 2) { totalCount nodes { createdBy { id } createdByOperation { id } instance { id name }
    viewerPermissions { restore { allowed } delete { allowed } } } } } } }`;

describe('ids', () => {
  const one = async (query: string, variables: object = {}) => Object.values(await ops.query(query, variables))[0];

  test('an instance is found by its id or by its name in a project; both or neither are BAD_USER_INPUT', async () => {
    const { id } = (await one('query { instance(name: "web-1") { id } }')) as { id: string };
    expect(await one('query ($id: ID) { instance(id: $id) { name project } }', { id })).toEqual({ name: 'web-1', project: 'default' }); // prettier-ignore
    expect(await one('query { instance(name: "web-1", project: "elsewhere") { id } }')).toBeNull();
    expect(await codeOf('query ($id: ID) { instance(id: $id, name: "web-1") { id } }', { id })).toBe('BAD_USER_INPUT');
    expect(await codeOf('query { instance { id } }')).toBe('BAD_USER_INPUT');
    expect(await codeOf('query { instance(id: null, name: null) { id } }')).toBe('BAD_USER_INPUT');
  });

  test('nodes answers in the order asked, with null for what is not there, and at most 100', async () => {
    const { viewer } = await ops.query('query { viewer { id } }');
    const ids = [made[3], missingId('Snapshot'), viewer.id, 'nonsense', many, made[3]];
    const found = await one('query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id } }', { ids });
    expect(found).toEqual([
      { __typename: 'Snapshot', id: made[3] },
      null,
      { __typename: 'User', id: viewer.id },
      null,
      { __typename: 'Instance', id: many },
      { __typename: 'Snapshot', id: made[3] },
    ]);
    expect(await one('query { nodes(ids: []) { id } }')).toEqual([]);
    const hundred = Array.from({ length: 100 }, () => many);
    expect(await one('query ($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids: hundred })).toHaveLength(100);
    expect(await codeOf('query ($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids: [...hundred, many] })).toBe('BAD_USER_INPUT'); // prettier-ignore
  });

  test('a malformed id, and one of another type, answers as if missing', async () => {
    const [snapshot = ''] = made;
    const forged = Buffer.from(`Instance:${uuidOf(many).toUpperCase()}`).toString('base64url');
    const bare = [uuidOf(many), '', ' ', '%', "' or 1=1 --", '\0', `${many}!`, `${many}=`, forged, '🦄'];
    for (const id of [...bare, missingId('Instance'), missingId('Engine')]) {
      for (const field of ['instance', 'snapshot', 'operation', 'node']) {
        expect([id, await one(`query ($id: ID!) { ${field}(id: $id) { id } }`, { id })]).toEqual([id, null]);
      }
    }
    expect(await one('query ($id: ID!) { instance(id: $id) { id } }', { id: snapshot })).toBeNull();
    expect(await one('query ($id: ID!) { snapshot(id: $id) { id } }', { id: many })).toBeNull();
    expect(await one('query ($id: ID!) { operation(id: $id) { id } }', { id: many })).toBeNull();
  });
});
