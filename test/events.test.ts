import { Client } from 'pg';
import { forgetOldEvents } from '../src/read/event-log';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { Follower, partsOf, placeOf, slowReader, TRANSPORTS, type Transport } from './support/event-stream';
import { buildInstance, buildSnapshot, hold, uuidOf } from './support/rows';
import { ask, done, instanceId } from './support/stories';
import { until } from './support/until';

jest.setTimeout(60_000);

let app: TestApp;
let ops: TestClient;
let alice: TestClient;
let admin: TestClient;
const followers: Follower[] = [];
const clients: Client[] = [];

beforeAll(async () => {
  app = await startTestApp({ env: { OBSERVE_INTERVAL_SECONDS: '3600' } });
  [ops, alice, admin] = await Promise.all([app.as('ops'), app.as('alice'), app.as('admin')]);
});
beforeEach(() => settled());
afterEach(async () => {
  for (const follower of followers.splice(0)) await follower.leave();
  for (const client of clients.splice(0)) await client.end();
});
afterAll(() => app.stop());

function follow(as: TestClient, transport: Transport = 'WebSocket', after: string | null = null): Follower {
  const follower = new Follower(as, transport, after);
  followers.push(follower);
  return follower;
}

/**
 * Waits until everything that was committed may be told. Suites that run at the same time have transactions open on the same
 * server, and readers wait for the oldest of them, whichever database it is in.
 */
async function settled(): Promise<void> {
  const look = `select coalesce(max(xact), 0) < pg_snapshot_xmin(pg_current_snapshot())::text::bigint as told from events`;
  await until(async () => (await app.db.query(look))[0].told, 30_000, 'the transactions of others to end');
}

/** Where the log ends now, as a cursor. */
async function here(as: TestClient = ops): Promise<string> {
  await settled();
  const follower = await follow(as).caughtUp();
  await follower.leave();
  return follower.cursor ?? '';
}

/** A connection of its own, for what the program does not do. */
async function connection(): Promise<Client> {
  const client = new Client({ connectionString: app.database.url });
  client.on('error', () => undefined);
  await client.connect();
  clients.push(client);
  return client;
}

const move = (instance: string, location: string) =>
  app.db.query('update instances set location = $2 where id = $1', [uuidOf(instance), location]);

/** The log after a cursor, as its readers should see it. */
async function logAfter(cursor: string): Promise<string[]> {
  const [, xact, seq] = partsOf(cursor);
  const rows: { place: string }[] = await app.db.query(
    `select xact || '.' || seq as place from events where (xact, seq) > ($1, $2) and user_id is null order by xact, seq`,
    [xact, seq],
  );
  return rows.map(({ place }) => place);
}

async function assign(mutation: 'assignInstance' | 'unassignInstance', to: TestClient, instance: string) {
  const { viewer } = await to.query('{ viewer { id } }');
  const type = `${mutation[0]?.toUpperCase()}${mutation.slice(1)}Input`;
  await admin.query(`mutation ($input: ${type}!) { ${mutation}(input: $input) { userErrors { code } } }`, { input: { userId: viewer.id, instanceId: instance } }); // prettier-ignore
}

describe.each(TRANSPORTS)('over %s', (transport) => {
  test('one stream tells of every change, and a cursor of it leads to those that were missed', async () => {
    const follower = await follow(ops, transport).caughtUp();
    expect(follower.events).toEqual([
      { cursor: expect.any(String), occurredAt: expect.stringMatching(/Z$/), change: 'CAUGHT_UP', nodeId: null, instanceId: null, node: null },
    ]); // prettier-ignore
    const instance = await instanceId(ops, 'web-1');
    const { snapshot, operation } = await ask(ops, 'createSnapshot', { instanceId: instance, name: 'told' });
    const kinds = ({ nodeId }: any) => follower.changes.filter((each) => each.nodeId === nodeId).map(({ change }) => change); // prettier-ignore
    // Told late, its creation shows it as it is by then, too.
    const made = await follower.hears(({ nodeId, node, change }) => nodeId === snapshot.id && node?.state === 'AVAILABLE' && change === 'UPDATED'); // prettier-ignore
    expect(made).toMatchObject({ instanceId: instance, node: { __typename: 'Snapshot', name: 'told' } }); // prettier-ignore
    await follower.hears(({ nodeId, node }) => nodeId === operation.id && node?.progress === 'SUCCEEDED');
    expect(kinds({ nodeId: snapshot.id })[0]).toBe('CREATED');
    expect(kinds({ nodeId: operation.id })[0]).toBe('CREATED');
    await follower.leave();

    await done(ops, 'deleteSnapshot', { snapshotId: snapshot.id });
    const other = await buildInstance(app);
    await move(other, 'elsewhere');
    await settled();
    const again = await follow(ops, transport, follower.cursor).caughtUp();
    expect(again.events.map(placeOf).slice(0, -1)).toEqual(await logAfter(follower.cursor ?? ''));
    expect(again.changes.find(({ change }) => change === 'REMOVED')).toMatchObject({ nodeId: snapshot.id, instanceId: instance, node: null }); // prettier-ignore
    expect(again.changes.at(-1)).toMatchObject({ change: 'UPDATED', nodeId: other, node: { location: 'elsewhere' } }); // prettier-ignore
    expect(again.events.at(-1)).toMatchObject({ change: 'CAUGHT_UP' });
  });

  test('a user is told of assigned instances only, and of the assignment and its end', async () => {
    const [mine, theirs] = [await buildInstance(app), await buildInstance(app, { name: `theirs-${transport}` })];
    await assign('assignInstance', alice, mine);
    const bob = await app.as('bob');
    await settled();
    const all = [alice, bob, ops, admin].map((each) => follow(each, transport));
    const [toAlice, toBob, toOps, toAdmin] = (await Promise.all(all.map((each) => each.caughtUp()))) as [Follower, Follower, Follower, Follower]; // prettier-ignore
    const held = await hold(app, theirs); // the operation is below the instance
    await move(theirs, 'before');
    await move(mine, 'then');
    await toAlice.hears(({ nodeId }) => nodeId === mine);
    expect(toAlice.changes.map(({ nodeId }) => nodeId)).toEqual([mine]);

    await assign('assignInstance', alice, theirs);
    expect(await toAlice.hears(({ nodeId }) => nodeId === theirs)).toMatchObject({ change: 'CREATED', node: { name: `theirs-${transport}`, location: 'before' } }); // prettier-ignore
    await move(theirs, 'while');
    await toAlice.hears(({ node }) => node?.location === 'while');
    await assign('unassignInstance', alice, theirs);
    expect(await toAlice.hears(({ change }) => change === 'REMOVED')).toMatchObject({ nodeId: theirs, instanceId: theirs, node: null }); // prettier-ignore
    await move(theirs, 'after');
    await held.release();
    await move(mine, 'last');
    const last = ({ nodeId, node }: any) => nodeId === mine && node?.location === 'last';
    await toAlice.hears(last);
    expect(toAlice.changes.map(({ change, nodeId }) => `${change} ${nodeId === mine ? 'mine' : nodeId === theirs ? 'theirs' : 'other'}`)).toEqual(
      ['UPDATED mine', 'CREATED theirs', 'UPDATED theirs', 'REMOVED theirs', 'UPDATED mine'],
    ); // prettier-ignore
    // Those who see every instance, and the other user, hear nothing of the assignment.
    for (const other of [toOps, toAdmin]) {
      await other.hears(last);
      expect(other.changes.filter(({ nodeId, change }) => nodeId === theirs && change !== 'UPDATED')).toEqual([]);
    }
    await assign('assignInstance', bob, mine);
    await toBob.hears(({ change }) => change === 'CREATED');
    expect(toBob.changes.map(({ nodeId }) => nodeId)).toEqual([mine]);
  });

  test('what was seen once and is hidden now is not told when the stream goes on from before', async () => {
    const theirs = await buildInstance(app);
    const cursor = await here(alice);
    await assign('assignInstance', alice, theirs);
    await buildSnapshot(app, theirs);
    await move(theirs, `hidden-${transport}`);
    await assign('unassignInstance', alice, theirs);
    await settled();
    const follower = await follow(alice, transport, cursor).caughtUp();
    expect(follower.changes.map(({ change, nodeId, node }) => [change, nodeId, node])).toEqual([
      ['CREATED', theirs, null],
      ['REMOVED', theirs, null],
    ]);
    expect(follower.errors).toEqual([]);
  });

  test('a cursor that is none is refused, and one from where something may be missing has expired', async () => {
    const cursor = await here();
    const [kind, xact, seq, at, life] = partsOf(cursor) as [string, string, string, string, string];
    const from = (...parts: unknown[]) => Buffer.from(JSON.stringify(parts)).toString('base64url');
    const { instances } = await ops.query('{ instances(first: 1) { pageInfo { endCursor } } }');
    const yesterday = new Date(Date.parse(at) - 24 * 3600_000 - 1000).toISOString();
    const cases: [string, string][] = [
      ['', 'BAD_USER_INPUT'],
      ['nonsense', 'BAD_USER_INPUT'],
      [instances.pageInfo.endCursor, 'BAD_USER_INPUT'],
      [from(kind, xact, seq, at), 'BAD_USER_INPUT'],
      [from(kind, xact, seq, at, life, 'more'), 'BAD_USER_INPUT'],
      [from(kind, Number(xact), seq, at, life), 'BAD_USER_INPUT'],
      [from(kind, `-${xact}`, seq, at, life), 'BAD_USER_INPUT'],
      [from(kind, '9'.repeat(40), seq, at, life), 'BAD_USER_INPUT'],
      [from(kind, xact, seq, '2030-02-30T00:00:00.000Z', life), 'BAD_USER_INPUT'],
      [from(kind, xact, seq, at, 'a\0b'), 'BAD_USER_INPUT'],
      [from(kind, xact, seq, at, `1${life}`), 'CURSOR_EXPIRED'],
      [from(kind, xact, seq, at, life.replace(/\/0*1\//, '/00000002/')), 'CURSOR_EXPIRED'],
      [from(kind, '9'.repeat(18), seq, at, life), 'CURSOR_EXPIRED'],
      [from(kind, xact, seq, yesterday, life), 'CURSOR_EXPIRED'],
    ];
    for (const [after, code] of cases) {
      const follower = follow(ops, transport, after);
      await until(() => follower.ended, 10_000, `the refusal of ${after}`);
      expect([partsOfAny(after), follower.events, follower.errors]).toEqual([
        partsOfAny(after),
        [],
        [expect.objectContaining({ extensions: { code, correlationId: expect.any(String) } })],
      ]);
      if (code === 'CURSOR_EXPIRED') expect(follower.errors[0].message).toMatch(/without `after`/);
    }
  });

  test('it ends when the session does', async () => {
    const leaving = await app.as('alice');
    const follower = await follow(leaving, transport).caughtUp();
    await leaving.query('mutation { signOut { userErrors { code } } }');
    await until(() => follower.ended, 10_000, 'the end');
    if (transport === 'WebSocket') expect(follower.closed).toBe(4403);
    else expect(follower.errors).toMatchObject([{ extensions: { code: 'UNAUTHENTICATED' } }]);
  });
});

/** How often the log was read from here on. */
function countReads(): { count: number; stop: () => void } {
  const { logger } = app.db;
  const reads = { count: 0, stop: () => void (app.db.logger = logger) };
  const logQuery = (text: string) => {
    if (text.includes('log.horizon')) reads.count += 1;
  };
  app.db.logger = Object.assign(Object.create(logger) as typeof logger, { logQuery });
  return reads;
}

const partsOfAny = (cursor: string) => Buffer.from(cursor, 'base64url').toString();

test('nobody is told before an older transaction has ended, and then everybody of everything, in one order', async () => {
  const [instance, other] = [await buildInstance(app), await buildInstance(app)];
  const cursor = await here();
  const early = await follow(ops).caughtUp();
  const older = await connection();
  await older.query('begin');
  await older.query(`update instances set location = 'older' where id = $1`, [uuidOf(instance)]);
  for (let i = 0; i < 20; i += 1) await move(other, `younger-${i}`);
  const late = await follow(ops, 'server-sent events').caughtUp();
  const fromBefore = await follow(ops, 'WebSocket', cursor).caughtUp();
  expect(await logAfter(cursor)).toHaveLength(20); // they have been committed
  for (const follower of [early, late, fromBefore]) expect(follower.changes).toEqual([]);
  await older.query('commit');
  const log = await logAfter(cursor);
  expect(log).toHaveLength(21);
  for (const follower of [early, late, fromBefore]) {
    await until(() => follower.changes.length >= 21, 10_000, 'all of them');
    expect(follower.changes.map(placeOf)).toEqual(log);
    expect(follower.changes[0]).toMatchObject({ nodeId: instance, node: { location: 'older' } });
  }
});

test('an older transaction that is rolled back holds nobody up for longer', async () => {
  const [instance, other] = [await buildInstance(app), await buildInstance(app)];
  await settled();
  const follower = await follow(ops).caughtUp();
  const older = await connection();
  await older.query('begin');
  await older.query(`update instances set location = 'never' where id = $1`, [uuidOf(instance)]);
  await move(other, 'kept');
  await older.query('rollback'); // and nobody notifies of that
  await follower.hears(({ node }) => node?.location === 'kept');
  expect(follower.changes).toHaveLength(1);
});

test('a cursor leads to an event, never to a number that may be given again after a crash', async () => {
  await move(await buildInstance(app), 'committed');
  const [{ last }] = await app.db.query('select max(xact) as last from events');
  const client = await connection();
  await client.query('begin');
  await client.query('select pg_current_xact_id()');
  await client.query('rollback');
  expect(partsOf(await here())[1]).toBe(last);
});

test('followers that come and go while many write miss nothing, and see one order', async () => {
  const cursor = await here();
  const built = await Promise.all(Array.from({ length: 4 }, () => buildInstance(app)));
  let writing = true;
  const writers = built.map(async (instance, index) => {
    const client = await connection();
    for (let i = 0; i < 25; i += 1) {
      // So slowly that the followers are at the end of the log most of the time, where transactions are open.
      await client.query('select pg_sleep(0.1)');
      await client.query('begin');
      await client.query('update instances set location = $2 where id = $1', [uuidOf(instance), `${index}-${i}`]);
      if (i % 2 === index % 2) await client.query('select pg_sleep(0.15)');
      await client.query(
        `insert into snapshots (id, instance_id, name, created_at, stateful, status, origin)
         select gen_random_uuid(), $1, $2 || '-' || n, now(), false, 'AVAILABLE', 'MANUAL' from generate_series(1, $3) n`,
        [uuidOf(instance), `s-${i}`, i === 12 ? 50 : 1],
      );
      await client.query(i % 7 === 0 ? 'rollback' : 'commit');
    }
  });
  const work = (async () => {
    const instance = await instanceId(ops, 'cache-1');
    for (let i = 0; i < 2; i += 1) await done(ops, 'createSnapshot', { instanceId: instance, name: `under-load-${i}` });
  })();
  /** Reconnects after every few events, from the last cursor; gives all that it was told, in its order. */
  const restless = async (transport: Transport, patience: number): Promise<string[]> => {
    const told: string[] = [];
    let at: string | null = cursor;
    for (let over = false; !over;) {
      over = !writing;
      const follower: Follower = follow(ops, transport, at);
      if (over) await follower.caughtUp();
      else await until(() => follower.events.length >= patience || !writing, 20_000, 'some events');
      await follower.leave();
      told.push(...follower.changes.map(placeOf));
      at = follower.cursor;
    }
    return told;
  };
  const steady = follow(ops, 'WebSocket', cursor);
  const telling = [restless('WebSocket', 20), restless('server-sent events', 40), restless('WebSocket', 100)];
  await Promise.all([...writers, work]);
  writing = false;
  const log = await logAfter(cursor);
  expect(log.length).toBeGreaterThan(300);
  for (const told of await Promise.all(telling)) expect(told).toEqual(log);
  await until(() => steady.changes.length >= log.length, 20_000, 'the steady one');
  expect(steady.changes.map(placeOf)).toEqual(log);
});

test.each(TRANSPORTS)(
  'a client over %s that does not read is waited for, and then gets all of it',
  async (transport) => {
    const cursor = await here();
    const description = 'x'.repeat(60_000);
    await app.db.query(
      `insert into instances (id, engine_id, uid, name, project, type, status, created_at, configuration, stateful_obstacles, observed_at)
     select made.id, e.id, made.id::text, 'large-' || made.id, 'default', 'CONTAINER', 'STOPPED', now(), jsonb_build_object('description', $1::text, 'profiles', '[]'::jsonb,
       'entries', '[]'::jsonb, 'devices', '[]'::jsonb), '{}', now() + interval '1 day'
     from engines e, lateral (select gen_random_uuid() as id from generate_series(1, 400)) made`,
      [description],
    );
    const query = 'subscription ($after: String) { events(after: $after) { change node { ... on Instance { configuration { description } } } } }'; // prettier-ignore
    const reads = countReads();
    const reader = await slowReader(ops, transport, query, { after: cursor });
    let before = 0;
    const stalled = async () => {
      before = reads.count;
      await new Promise((resolve) => setTimeout(resolve, 500));
      return reads.count > 0 && reads.count === before;
    };
    await until(stalled, 20_000, 'the stream to wait for its reader');
    expect(before).toBeLessThan(350);
    reader.resume();
    await until(() => reader.count('CREATED') === 400, 20_000, 'the rest');
    await reader.close();
    reads.stop();
    await app.db.query(`delete from instances where name like 'large-%'`);
  },
);

test('a stream outlives the connection that listens, and all others of the program', async () => {
  const instance = await buildInstance(app);
  const all = TRANSPORTS.map((transport) => follow(ops, transport));
  for (const follower of all) await follower.caughtUp();
  const client = await connection();
  const cut = (which: string) =>
    client.query(`select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and application_name like $1`, [which]); // prettier-ignore
  const written: string[] = [];
  for (const [round, which] of ['keyframe events', 'keyframe events', 'keyframe%'].entries()) {
    expect((await cut(which)).rowCount).toBeGreaterThan(0);
    for (const location of [`${round}-a`, `${round}-b`]) {
      await client.query('update instances set location = $2 where id = $1', [uuidOf(instance), location]);
      written.push(location);
    }
    for (const follower of all) {
      await until(() => follower.changes.length >= written.length, 20_000, `round ${round}`);
      expect(follower).toMatchObject({ ended: false, errors: [] });
    }
  }
  for (const follower of all) expect(follower.changes).toHaveLength(written.length);
});

test('what is bookkeeping is no change, and a look that finds all as it was tells nothing', async () => {
  const instance = await buildInstance(app);
  const snapshot = await buildSnapshot(app, instance);
  const held = await hold(app, instance);
  const cursor = await here();
  await app.db.query('update instances set observed_at = now() where id = $1', [uuidOf(instance)]);
  await app.db.query('update snapshots set observed_at = now(), name = name where id = $1', [uuidOf(snapshot)]);
  await app.db.query(`update operations set attempt_token = 'x' where id = $1`, [uuidOf(held.id)]);
  await app.db.query('update instances set location = $1 where false', ['nowhere']);
  expect(await logAfter(cursor)).toEqual([]);
  for (const [table, id, set] of [
    ['instances', instance, `status = 'RUNNING'`],
    ['snapshots', snapshot, `version = version + 1`],
    ['operations', held.id, `steps = '[{}]'`],
  ] as const) {
    const before = await logAfter(cursor);
    await app.db.query(`update ${table} set ${set} where id = $1`, [uuidOf(id)]);
    expect(await logAfter(cursor)).toHaveLength(before.length + 1);
  }
  await held.release();
  expect(await logAfter(cursor)).toHaveLength(4);
});

test('the log forgets what no cursor leads to, and what another database left in it', async () => {
  const cursor = await here();
  const [, xact] = partsOf(cursor);
  const insert = (number: string, age: string) =>
    app.db.query(
      `insert into events (xact, occurred_at, node_type, node_id, instance_id, change)
       select $1, now() - $2::interval, 'Instance', id, id, 'UPDATED' from (select gen_random_uuid() as id) made`,
      [number, age],
    );
  await insert('1', '26 hours');
  await insert('2', '24 hours 30 minutes');
  await insert(String(Number(xact) + 1_000_000), '1 hour');
  const follower = await follow(ops, 'WebSocket', cursor).caughtUp();
  expect(follower.changes).toEqual([]); // of the future nobody is told
  await forgetOldEvents(app.db);
  const left = await app.db.query('select xact from events where xact < 3 or xact > $1', [Number(xact) + 100_000]);
  expect(left).toEqual([{ xact: '2' }]);
});
