/** A token for some instances only: all others answer as if they were missing, on every path; and its ends on every transport. */
import { buildClientSchema, getIntrospectionQuery, type GraphQLSchema } from 'graphql';
import { overSse, overWebSocket } from './support/access-streams';
import { CALLERS, rootRows, SESSION_ONLY, type RootRow } from './support/access-table';
import { documentOf, leavesOf, queryRows, typeOfRow, walksFrom, type Values } from './support/access-walk';
import { startWorld, statementsOf, told, type World } from './support/access-world';
import { askForToken, makeToken, newPerson, revokeToken, updateUser, type Made } from './support/api-tokens';
import { TestClient } from './support/app';
import { Follower, TRANSPORTS } from './support/event-stream';
import { cleanUp, freshFolder, startProgram } from './support/program';
import { uuidOf } from './support/rows';
import { ask, done, instanceId } from './support/stories';
import { until } from './support/until';
import { followed } from './support/users-follow';

const JWT_SECRET = 'a secret of more than thirty-two characters';
const ROLES = { assigned: 'USER', stranger: 'USER', operations: 'OPERATIONS', admin: 'ADMIN' } as const;
type Person = keyof typeof ROLES;
const PEOPLE = CALLERS.filter((caller): caller is Person => caller !== 'anonymous');

let world: World;
let schema: GraphQLSchema;
/** Tokens as good as their owners. */
const whole = {} as Record<Person, TestClient>;
/** Tokens for db-1 alone: web-1 and all below it is hidden from them, whoever their owner is. */
const narrow = {} as Record<'assigned' | 'operations' | 'admin', TestClient>;
let db1: string;

beforeAll(async () => {
  world = await startWorld({ JWT_SECRET });
  schema = buildClientSchema(await world.app.anonymous.query(getIntrospectionQuery()));
  db1 = await instanceId(world.callers.operations, 'db-1');
  for (const person of PEOPLE) whole[person] = (await makeToken(world.callers[person], { role: ROLES[person] })).client;
  for (const person of ['assigned', 'operations', 'admin'] as const) narrow[person] = await narrowed(person);
  // Now and then a use is noted, which is a statement more: of these not before tomorrow.
  await world.app.db.query(`update api_tokens set last_used_at = now() + interval '1 day'`);
});
afterAll(async () => {
  await cleanUp();
  await world.app.stop();
});

async function narrowed(person: keyof typeof narrow): Promise<TestClient> {
  const role = person === 'assigned' ? 'USER' : 'OPERATIONS';
  return (await makeToken(world.callers[person], { role, instanceIds: [db1, db1] })).client;
}

const title = ({ kind, field, args }: RootRow) => `${kind}.${field}(${args})`;
const isStream = ({ kind }: RootRow) => kind === 'Subscription';

function selectionBelow(row: RootRow): string {
  const type = typeOfRow(schema, row);
  if (type.endsWith('Connection')) return '{ totalCount nodes { id } pageInfo { startCursor endCursor hasNextPage } }';
  if (type === 'User') return '{ id assignedInstances { totalCount nodes { id } } }';
  if (type.endsWith('Payload')) return '{ userErrors { code message field } }';
  return type === 'Event' ? '{ change nodeId }' : leavesOf(schema, type);
}

/** What somebody comes to know by a document, and by which statements. */
async function learned(client: TestClient, row: RootRow, document: string) {
  if (!isStream(row)) return statementsOf(world.app, async () => told(await client.send(document)));
  return statementsOf(world.app, async () => [await overWebSocket(client, document), await overSse(client, document)].map((each) => told(each as never))); // prettier-ignore
}

describe.each(rootRows.map((row) => [title(row), row] as const))('%s', (_, row) => {
  test.each(PEOPLE)('answers an API token as its owner, but for what is for people alone: %s', async (caller) => {
    const writes = row.kind === 'Mutation' && row.cells[caller] === 'answer';
    const document = documentOf(row, selectionBelow(row), writes ? world.missing : world.real);
    if (SESSION_ONLY.includes(`${row.kind}.${row.field}`)) {
      expect(await whole[caller].send(document)).toMatchObject({ status: 403, errors: [{ extensions: { code: 'FORBIDDEN' } }] });
    } else if (row.args.includes('$apiToken')) {
      expect(await whole[caller].query(document)).toEqual({ node: null });
    } else {
      const { result } = await learned(whole[caller], row, document);
      expect(result).toEqual((await learned(world.callers[caller], row, document)).result);
    }
  });

  test.each(['assigned', 'operations', 'admin'] as const)('hides what a token is not for as if it were missing: %s', async (caller) => {
    const document = (values: Values) => documentOf(row, selectionBelow(row), values);
    if (row.field === 'viewer' || row.args.includes('$user')) return; // of whom what is assigned is shown: below
    const real = await learned(narrow[caller], row, document(world.real));
    expect(real).toEqual(await learned(narrow[caller], row, document(world.missing)));
    for (const secret of world.secrets) expect(JSON.stringify(real.result)).not.toContain(secret);
  });
}); // prettier-ignore

test.each(['assigned', 'operations', 'admin'] as const)('nothing below any field leads a token to what it is not for: %s', async (caller) => {
  // One that has done nothing yet: the log tells a token of its own wishes, by the ids that it gave.
  const fresh = await narrowed(caller);
  for (const row of queryRows.filter(({ field }) => field !== 'users')) {
    for (const { fields, document } of walksFrom(schema, row)) {
      if (fields.some((field) => SESSION_ONLY.includes(field))) continue;
      const text = JSON.stringify(await fresh.send(document(world.real)));
      for (const secret of world.secrets) expect([fields, text.includes(secret)]).toEqual([fields, false]);
    }
  }
}, 120_000); // prettier-ignore

test('the log tells a token of what it was refused, by the id that it gave and never by a name', async () => {
  // Of somebody who was refused nothing yet: beyond so many a minute refusals are counted only.
  const owner = await newPerson(world.app, world.callers.admin, 'ADMIN');
  const { client } = await makeToken(owner.client, { role: 'OPERATIONS', instanceIds: [db1] });
  const { snapshot = '', instance = '' } = world.real;
  await ask(client, 'restoreSnapshot', { snapshotId: snapshot });
  await ask(client, 'createSnapshot', { instanceId: instance, name: 'escaped' });
  const { auditEvents } = await client.query('{ auditEvents { totalCount nodes { action code resourceId resourceName changes { field } } } }'); // prettier-ignore
  const nodes = [
    { action: 'auditEvents', code: null, resourceId: null },
    { action: 'createSnapshot', code: 'NOT_FOUND', resourceId: instance },
    { action: 'restoreSnapshot', code: 'NOT_FOUND', resourceId: snapshot },
  ].map((each) => ({ ...each, resourceName: null, changes: [] }));
  expect(auditEvents).toEqual({ totalCount: 3, nodes });
}); // prettier-ignore

test('lists, counts and people show the instances of a token alone, and of those what the owner may see', async () => {
  const all = `{ instances { totalCount nodes { id } } viewer { assignedInstances { totalCount nodes { id } } } snapshots { nodes { instance { id } } } }`;
  const only = { totalCount: 1, nodes: [{ id: db1 }] };
  expect(await narrow.assigned.query(all)).toMatchObject({ instances: only, viewer: { assignedInstances: only } });
  const { instances, viewer, snapshots } = await narrow.operations.query(all);
  expect([instances, viewer.assignedInstances]).toEqual([only, { totalCount: 0, nodes: [] }]);
  expect(snapshots.nodes.filter(({ instance }: any) => instance.id !== db1)).toEqual([]);
  const mine = await narrow.operations.query(`{ instance(id: "${db1}") { assignments { totalCount nodes { instance { id } } } } node(id: "${world.real['instance']}") { id } nodes(ids: ["${world.real['instance']}", "${db1}"]) { id } }`); // prettier-ignore
  expect(mine).toMatchObject({ instance: { assignments: { totalCount: 2 } }, node: null, nodes: [null, { id: db1 }] });
});

test('an instance that is taken from the owner is taken from the token too', async () => {
  const { id, client } = await newPerson(world.app, world.callers.admin, 'USER');
  const change = (mutation: string) => world.callers.admin.query(`mutation { ${mutation}(input: { userId: "${id}", instanceId: "${db1}" }) { userErrors { code } } }`); // prettier-ignore
  await change('assignInstance');
  const made = await makeToken(client, { instanceIds: [db1] });
  const seen = async () => (await made.client.query(`{ instance(id: "${db1}") { id } instances { totalCount } }`)) as unknown;
  expect(await seen()).toEqual({ instance: { id: db1 }, instances: { totalCount: 1 } });
  await change('unassignInstance');
  expect(await seen()).toEqual({ instance: null, instances: { totalCount: 0 } });
}); // prettier-ignore

describe('mutations', () => {
  test('reach the instances of the token, and others as if they were missing', async () => {
    const { operations: client } = narrow;
    const { snapshot } = await done(client, 'createSnapshot', { instanceId: db1, name: 'by-a-token' });
    const { snapshot: seen } = await client.query(`{ snapshot(id: "${snapshot?.id}") { createdBy { displayName } } }`);
    expect(seen.createdBy.displayName).toBe('Oskar Operations');
    const payload = await ask(client, 'createSnapshot', { instanceId: world.real['instance'], name: 'escaped' });
    expect(payload).toMatchObject({ snapshot: null, operation: null, userErrors: [{ code: 'NOT_FOUND' }] });
    const many = `mutation { deleteSnapshots(input: { snapshotIds: ["${world.real['snapshot']}", "${snapshot?.id}"] }) { results { operation { id } userErrors { code } } } }`;
    const { results } = (await client.query(many)).deleteSnapshots;
    expect(results).toMatchObject([{ operation: null, userErrors: [{ code: 'NOT_FOUND' }] }, { userErrors: [] }]);
    expect((await world.callers.operations.query(`{ snapshot(id: "${world.real['snapshot']}") { status } }`)).snapshot.status).toBe('AVAILABLE'); // prettier-ignore
  });

  test('repeat nothing that the owner did elsewhere under the same idempotency key', async () => {
    const input = { instanceId: world.real['instance'], name: world.real['snapshotName'], idempotencyKey: `key of ${world.real['snapshotName']}` }; // prettier-ignore
    expect(await ask(world.callers.operations, 'createSnapshot', input)).toMatchObject({ replayed: true });
    expect(await ask(whole.operations, 'createSnapshot', input)).toMatchObject({ replayed: true });
    const nothing = { snapshot: null, operation: null, replayed: null, userErrors: [{ code: 'NOT_FOUND' }] };
    for (const name of [input.name, 'another']) expect(await ask(narrow.operations, 'createSnapshot', { ...input, name })).toMatchObject(nothing); // prettier-ignore
  });
});

test.each(TRANSPORTS)('events tell a token of its instances alone, also of those assigned to its owner: %s', async (transport) => {
  const { admin } = world.callers;
  const { id, client } = await newPerson(world.app, admin, 'USER');
  const change = (mutation: string, instance: string) => admin.query(`mutation { ${mutation}(input: { userId: "${id}", instanceId: "${instance}" }) { userErrors { code } } }`);
  await change('assignInstance', db1);
  const mine = await makeToken(client, { instanceIds: [db1] });
  const followers = [new Follower(mine.client, transport), new Follower(narrow.operations, transport)];
  try {
    await Promise.all(followers.map((follower) => follower.caughtUp()));
    await change('assignInstance', world.real['instance'] ?? '');
    const place = `place-${transport.length}`;
    for (const name of ['web-1', 'db-1']) await world.app.db.query('update instances set location = $2 where name = $1', [name, place]);
    await Promise.all(followers.map((follower) => follower.hears(({ node }) => node?.location === place)));
    for (const { changes } of followers) expect(changes.filter(({ instanceId: of }) => of !== db1)).toEqual([]);
  } finally {
    await Promise.all(followers.map((follower) => follower.leave()));
  }
}); // prettier-ignore

describe('what runs with a token is cut within a second, also at another process,', () => {
  let second: string;
  beforeAll(async () => {
    const { url, migrationUrl } = world.app.database;
    const env = { DATABASE_URL: url, DATABASE_MIGRATION_URL: migrationUrl, JWT_SECRET, KEYFRAME_DATA_DIR: await freshFolder() }; // prettier-ignore
    second = await startProgram(env, '--role', 'api').ready();
  }, 120_000);

  interface Case {
    id: string;
    owner: TestClient;
    made: Made;
  }
  test.each<[string, 'token' | 'owner', object, (of: Case) => Promise<unknown>]>([
    ['when it is revoked', 'token', {}, ({ owner, made }) => revokeToken(owner, made.id)],
    ['when it expires', 'token', { expiresAt: 'soon' }, ({ made }) => until(async () => expired(made.id))],
    ['when its owner is locked', 'owner', {}, ({ id }) => updateUser(world.callers.admin, id, { status: 'LOCKED' })],
    ['when its owner is demoted', 'owner', {}, ({ id }) => updateUser(world.callers.admin, id, { role: 'USER' })],
    ['when its owner is removed', 'owner', {}, ({ id }) => world.callers.admin.query(`mutation { removeUser(input: { userId: "${id}" }) { userErrors { code } } }`)],
  ])('%s', async (_, of, input, end) => {
    const { id, client: owner } = await newPerson(world.app, world.callers.admin, 'OPERATIONS');
    const soon = { expiresAt: new Date(Date.now() + 2500).toISOString() };
    const made = await makeToken(owner, { role: 'OPERATIONS', ...('expiresAt' in input && soon) });
    const elsewhere = new TestClient(second, made.token, null);
    // What only OPERATIONS and ADMIN may select, so that a lower role loses it as well.
    const query = `subscription { instanceUpdated(id: "${db1}") { name assignments { totalCount } } }`;
    const [socket] = await followed(elsewhere, query);
    let heard = false;
    const events = overSse(elsewhere, query, 100, () => Promise.resolve((heard = true)));
    const [others] = await followed(new TestClient(second, owner.token, null), `subscription { events { change } }`);
    try {
      await until(() => heard, 10_000, 'the first server-sent event');
      await end({ id, owner, made });
      const at = Date.now();
      await until(() => socket?.closed, 5000, 'the end of the socket');
      const { completed, events: told } = await events;
      expect(Date.now() - at).toBeLessThan(1000);
      expect([socket?.closed, completed]).toEqual([4403, true]);
      expect(told.at(-1)?.errors).toMatchObject([{ extensions: { code: expect.stringMatching(/UNAUTHENTICATED|FORBIDDEN/) } }]);
      if (of === 'token') expect(others).toMatchObject({ ended: null, closed: null });
    } finally {
      await Promise.all([socket?.stop(), others?.stop()]);
    }
  }); // prettier-ignore

  const expired = async (id: string): Promise<boolean> => {
    const [row] = await world.app.db.query('select expires_at <= now() as expired from api_tokens where id = $1', [uuidOf(id)]); // prettier-ignore
    return row.expired;
  };
});

test('a guessed or revoked token is refused alike over HTTP, WebSocket and server-sent events', async () => {
  const made = await makeToken(world.callers.operations);
  await revokeToken(world.callers.operations, made.id);
  const query = `subscription { instanceUpdated(id: "${db1}") { name } }`;
  const error = { extensions: { code: 'UNAUTHENTICATED' } };
  for (const token of [made.token, `${made.token.slice(0, -1)}x`, 'keyframe_', `keyframe_${'0'.repeat(32)}_${'0'.repeat(48)}`]) {
    const client = new TestClient(world.app.url, token, null);
    expect(await client.send('{ viewer { id } }')).toMatchObject({ status: 401, errors: [error] });
    expect(await overWebSocket(client, query)).toMatchObject({ events: [], refused: [error] });
    expect(await overSse(client, query)).toMatchObject({ events: [{ errors: [error] }] });
  }
  expect((await askForToken(world.callers.operations, {})).userErrors).toEqual([]);
}); // prettier-ignore
