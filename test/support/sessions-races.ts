import { Client } from 'pg';
import { TestClient, type TestApp } from './app';
import { cleanUp, startProgram } from './program';
import { instanceId } from './stories';
import { until } from './until';
import { followed } from './users-follow';

type Pair = (name: string) => Promise<{ id: string; here: TestClient; there: TestClient }>;

const uuidOf = (globalId: string) => Buffer.from(globalId, 'base64url').toString().split(':')[1] ?? '';
const CREATE = `mutation ($input: CreateSnapshotInput!) { createSnapshot(input: $input) { operation { id } userErrors { code } } }`;

/** How many of the program's transactions wait for a lock. */
const waiting = async (app: TestApp): Promise<number> => {
  const [{ count }] = await app.db.query(`select count(*)::int as count from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`); // prettier-ignore
  return count;
};

/** With a transaction of the test's own that is open while `during` runs, and then commits. */
async function holding<T>(app: TestApp, statements: [string, unknown[]][], during: () => Promise<T>): Promise<T> {
  const gate = new Client({ connectionString: app.database.url });
  await gate.connect();
  try {
    await gate.query('begin');
    for (const [text, values] of statements) await gate.query(text, values);
    const result = await during();
    await gate.query('commit');
    return result;
  } finally {
    await gate.end();
  }
}

/** What is taken away between the look at a request and the transaction of its mutation. */
export function describeHeldTransactions(app: () => TestApp, pair: Pair): void {
  describe('a mutation whose actor changes between the look at them and its transaction', () => {
    const lock = 'select from users where id = $1 for update';
    test.each<[string, string, string]>([
      ['is demoted', `update users set role = 'USER' where id = $1`, 'FORBIDDEN'],
      ['is locked', `update users set status = 'LOCKED' where id = $1`, 'UNAUTHENTICATED'],
      ['is removed', `update users set removed_at = now() where id = $1`, 'UNAUTHENTICATED'],
      ['has lost the session', `with those as (select id from sessions where user_id = $1 for update) update sessions s set ended_at = now() from those where s.id = those.id`, 'UNAUTHENTICATED'],
    ])('does not go through when the actor %s', async (what, taken, code) => {
      const name = `held-${what.replace(/\W/g, '-')}`;
      const { id, here } = await pair(name);
      const input = { instanceId: await instanceId(here, 'new-1'), name };
      // The foreign keys of what is written to wait for the same row, so none of it is there yet.
      const held = await holding(app(), [[lock, [uuidOf(id)]], [taken, [uuidOf(id)]]], async () => {
        const answer = here.send(CREATE, { input });
        await until(async () => (await waiting(app())) === 1);
        return { answer };
      });
      const answer = await held.answer;
      expect(answer.errors).toMatchObject([{ path: ['createSnapshot'], extensions: { code } }]);
      expect(await app().db.query('select 1 from operations where actor_id = $1', [uuidOf(id)])).toEqual([]);
    }); // prettier-ignore
  });

  test('whoever takes a role away waits for the mutation that is under way, and no longer', async () => {
    const { id, here } = await pair('under-way');
    const instance = await instanceId(here, 'cache-1');
    const admin = await app().as('admin');
    // The row of the instance is what the mutation waits for, after the look at its actor.
    const busy = `insert into operations (id, kind, status, instance_id, correlation_id, created_at)
      values (gen_random_uuid(), 'SNAPSHOT_CREATE', 'QUEUED', $1, 'held', now())`;
    const gate = new Client({ connectionString: app().database.url });
    await gate.connect();
    try {
      await gate.query('begin');
      await gate.query(busy, [uuidOf(instance)]);
      const created = here.send(CREATE, { input: { instanceId: instance, name: 'under-way' } });
      await until(async () => (await waiting(app())) === 1);
      let demoted = false;
      const demotion = admin.query('mutation ($id: ID!) { updateUser(input: { userId: $id, role: USER }) { userErrors { code } } }', { id }).then(() => (demoted = true)); // prettier-ignore
      await until(async () => (await waiting(app())) === 2);
      expect(demoted).toBe(false);
      await gate.query('rollback');
      expect((await created).data.createSnapshot.userErrors).toEqual([]);
      await demotion;
      expect((await here.send(CREATE, { input: { instanceId: instance, name: 'afterwards' } })).status).toBe(403);
    } finally {
      await gate.end();
    }
  });

  test('a sign-in that was under way when the password was reset opens nothing', async () => {
    const { id } = await pair('reset-meanwhile');
    const admin = await app().as('admin');
    const { setUserPassword } = await admin.query('mutation ($id: ID!) { setUserPassword(input: { userId: $id }) { oneTimePassword } }', { id }); // prettier-ignore
    const reset: [string, unknown[]][] = [
      ['select from users where id = $1 for update', [uuidOf(id)]],
      [`update users set password_hash = 'another' where id = $1`, [uuidOf(id)]],
    ];
    const { signIn } = await holding(app(), reset, async () => {
      const signIn = app().as('reset-meanwhile@keyframe.test', setUserPassword.oneTimePassword);
      signIn.catch(() => undefined); // awaited below
      await until(async () => (await waiting(app())) === 1);
      return { signIn };
    });
    await expect(signIn).rejects.toThrow('INVALID_CREDENTIALS');
    const live = 'select 1 from sessions where user_id = $1 and ended_at is null';
    expect(await app().db.query(live, [uuidOf(id)])).toEqual([]);
  });
}

/** What is done at one process reaches what runs at another. */
export function describeProcesses(app: () => TestApp, pair: Pair, secret: string): void {
  describe('at another process', () => {
    let url: string;
    beforeAll(async () => {
      url = await startProgram({ DATABASE_URL: app().database.url, JWT_SECRET: secret }, '--role', 'api').ready();
    });
    afterAll(cleanUp);

    const asAdmin = (mutation: string) => async (id: string) => {
      const admin = await app().as('admin');
      await admin.query(`mutation ($id: ID!) { ${mutation} { userErrors { code } } }`, { id });
    };
    test.each<[string, (id: string, here: TestClient, there: TestClient) => Promise<unknown>]>([
      ['another role', asAdmin('updateUser(input: { userId: $id, role: USER })')],
      ['a lock', asAdmin('updateUser(input: { userId: $id, status: LOCKED })')],
      ['a removal', asAdmin('removeUser(input: { userId: $id })')],
      ['a password reset', asAdmin('setUserPassword(input: { userId: $id })')],
      ['an end from another session', (_, here) => here.query('mutation { endOtherSessions { userErrors { code } } }')],
      ['signing out', (_id, _here, there) => there.query('mutation { signOut { userErrors { code } } }')],
    ])('%s closes the socket within a second, and counts for the next request', async (what, act) => {
      const { id, here, there } = await pair(`elsewhere-${what.replace(/\W/g, '-')}`);
      const elsewhere = new TestClient(url, there.token, there.refreshToken);
      const users = '{ operations(first: 1) { nodes { id } } }';
      expect((await elsewhere.send(users)).status).toBe(200);
      const web1 = await instanceId(elsewhere, 'web-1');
      const [stream] = await followed(elsewhere, `subscription { instanceUpdated(id: "${web1}") { name } }`);
      try {
        await act(id, here, there);
        const since = Date.now();
        const asked = elsewhere.send(CREATE, { input: { instanceId: web1, name: 'too-late' } });
        expect((await asked).status).toBe(what === 'another role' ? 403 : 401);
        expect(await until(() => stream?.closed)).toBe(4403);
        expect(Date.now() - since).toBeLessThan(1000);
      } finally {
        await stream?.stop();
      }
    });

    test('an unassignment ends the subscription to that instance within a second', async () => {
      const { id, here } = await pair('elsewhere-unassigned');
      const web1 = await instanceId(here, 'web-1');
      await asAdmin(`assignInstance(input: { userId: $id, instanceId: "${web1}" })`)(id);
      await asAdmin('updateUser(input: { userId: $id, role: USER })')(id);
      const elsewhere = new TestClient(url, here.token, here.refreshToken);
      const [stream] = await followed(elsewhere, `subscription { instanceUpdated(id: "${web1}") { name } }`);
      try {
        await asAdmin(`unassignInstance(input: { userId: $id, instanceId: "${web1}" })`)(id);
        const since = Date.now();
        expect((await elsewhere.query(`{ instance(id: "${web1}") { name } }`)).instance).toBeNull();
        expect(await until(() => stream?.ended)).toBe('completed');
        expect(Date.now() - since).toBeLessThan(1000);
      } finally {
        await stream?.stop();
      }
    });
  });
}
