/** Sessions: seen and ended by whoever they belong to, good for nobody else, and lost at once when rights are taken away. */
import { randomBytes } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { missingId, told } from './support/access-world';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { describeHeldTransactions, describeProcesses } from './support/sessions-races';
import { instanceId } from './support/stories';
import { until } from './support/until';
import { followed } from './support/users-follow';

jest.setTimeout(120_000);

const JWT_SECRET = randomBytes(32).toString('hex');
let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ env: { JWT_SECRET, OBSERVE_INTERVAL_SECONDS: '1' } });
});
afterAll(() => app.stop());

const SESSIONS = 'sessions { totalCount nodes { id createdAt refreshedAt expiresAt address client current } }';
const sessionsOf = async (client: TestClient) => (await client.query(`{ viewer { ${SESSIONS} } }`)).viewer.sessions;
const endSession = async (client: TestClient, sessionId: string) =>
  (await client.query(`mutation ($sessionId: ID!) { endSession(input: { sessionId: $sessionId }) { viewer { id ${SESSIONS} } userErrors { code message field } } }`, { sessionId })).endSession; // prettier-ignore
const status = async (client: TestClient) => (await client.send('{ viewer { id } }')).status;
const refresh = async (token: string | null) =>
  (await app.anonymous.query('mutation ($token: String!) { refreshSession(input: { refreshToken: $token }) { accessToken refreshToken userErrors { code } } }', { token })).refreshSession; // prettier-ignore
const idOf = (client: TestClient) => client.refreshToken?.split('.')[0] ?? '';
const globalId = (client: TestClient) => Buffer.from(`Session:${idOf(client)}`).toString('base64url');
const NONE = { viewer: null, userErrors: [{ code: 'NOT_FOUND', message: 'There is no such session.', field: ['sessionId'] }] }; // prettier-ignore

/** Somebody with sessions of their own, signed in so often. */
async function somebody(name: string, times: number): Promise<{ id: string; clients: TestClient[] }> {
  const admin = await app.as('admin');
  const email = `${name}@keyframe.test`;
  const { createUser } = await admin.query('mutation ($email: String!) { createUser(input: { email: $email, role: OPERATIONS }) { user { id } oneTimePassword } }', { email }); // prettier-ignore
  const password = randomBytes(12).toString('hex');
  const first = await app.as(email, createUser.oneTimePassword);
  await first.query('mutation ($a: String!, $b: String!) { changePassword(input: { currentPassword: $a, newPassword: $b }) { viewer { id } } }', { a: createUser.oneTimePassword, b: password }); // prettier-ignore
  const clients = [first];
  while (clients.length < times) clients.push(await app.as(email, password));
  return { id: createUser.user.id, clients };
}

async function pair(name: string): Promise<{ id: string; here: TestClient; there: TestClient }> {
  const { id, clients } = await somebody(name, 2);
  const [there, here] = clients as [TestClient, TestClient];
  return { id, here, there };
}

describe('one’s own sessions', () => {
  test('are listed newest first, with where they were begun and which one asks', async () => {
    const { here, there } = await pair('listed');
    const { totalCount, nodes } = await sessionsOf(here);
    expect(totalCount).toBe(2);
    expect(nodes.map(({ id, current }: any) => [id, current])).toEqual([[globalId(here), true], [globalId(there), false]]); // prettier-ignore
    for (const node of nodes) {
      expect(node).toMatchObject({ address: expect.stringMatching(/127\.0\.0\.1$/), client: 'node' });
      expect(Date.parse(node.expiresAt) - Date.parse(node.createdAt)).toBe(30 * 24 * 3_600_000);
    }
    const before = nodes[0].refreshedAt;
    await refresh(here.refreshToken);
    const after = (await sessionsOf(there)).nodes[0];
    expect([after.id, after.current, after.refreshedAt > before]).toEqual([globalId(here), false, true]);
  });

  test('are shown to ADMIN besides, and to nobody else; and nothing of a secret is among it', async () => {
    const { id, here } = await pair('shown');
    const admin = await app.as('admin');
    const query = `query ($id: ID!) { node(id: $id) { ... on User { ${SESSIONS} } } }`;
    const { node } = await admin.query(query, { id });
    expect(node.sessions.nodes.map(({ current }: any) => current)).toEqual([false, false]);
    const [, ...secrets] = here.refreshToken?.split('.') ?? [];
    for (const secret of secrets) expect(JSON.stringify(node)).not.toContain(secret);
    expect((await (await app.as('ops')).query(query, { id })).node).toBeNull();
    const assigned = '{ instance(name: "web-1") { assignments { nodes { user { sessions { totalCount } } } } } }';
    const { instance } = await (await app.as('ops')).query(assigned);
    expect(instance.assignments.nodes).toEqual([{ user: { sessions: null } }]);
  });

  test('are ended one at a time: at once, with tokens and subscriptions, and no other with it', async () => {
    const { here, there } = await pair('ended');
    const web1 = await instanceId(here, 'web-1');
    const [stream] = await followed(there, `subscription { instanceUpdated(id: "${web1}") { name } }`);
    try {
      const { viewer, userErrors } = await endSession(here, globalId(there));
      expect([userErrors, viewer.sessions.nodes.map(({ id }: any) => id)]).toEqual([[], [globalId(here)]]);
      expect(await until(() => stream?.closed)).toBe(4403);
    } finally {
      await stream?.stop();
    }
    expect([await status(there), await status(here)]).toEqual([401, 200]);
    expect(await refresh(there.refreshToken)).toMatchObject({ accessToken: null });
    expect(await endSession(here, globalId(there))).toEqual(NONE);
  });

  test('end with the one that is asked from, too', async () => {
    const { here, there } = await pair('left');
    expect(await endSession(here, globalId(here))).toMatchObject({ userErrors: [] });
    expect([await status(here), await status(there)]).toEqual([401, 200]);
  });

  test('are not ended by anybody else, who cannot tell them from none', async () => {
    const { here } = await pair('not-theirs');
    const missing = [missingId('Session'), missingId('User'), 'malformed', ''];
    for (const account of ['alice', 'ops', 'admin']) {
      const client = await app.as(account);
      for (const id of [globalId(here), ...missing]) expect(await endSession(client, id)).toEqual(NONE);
    }
    expect(await status(here)).toBe(200);
    const anonymous = await app.anonymous.send(`mutation { endSession(input: { sessionId: "${globalId(here)}" }) { userErrors { code } } }`); // prettier-ignore
    expect(told(anonymous)).toMatchObject({ status: 401, errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] });
  });

  test('ended twice at once are ended once', async () => {
    const { here, there } = await pair('ended-twice');
    const both = await Promise.all([endSession(here, globalId(there)), endSession(here, globalId(there))]);
    expect(both.flatMap(({ userErrors }) => userErrors)).toEqual(NONE.userErrors);
  });

  test('are all ended but the one that asks', async () => {
    const { clients } = await somebody('alone', 4);
    const last = clients.pop() as TestClient;
    for (const _ of ['first', 'second']) {
      const { endOtherSessions } = await last.query(`mutation { endOtherSessions { viewer { ${SESSIONS} } userErrors { code } } }`); // prettier-ignore
      expect(endOtherSessions).toMatchObject({ viewer: { sessions: { totalCount: 1 } }, userErrors: [] });
    }
    expect(await Promise.all([last, ...clients].map(status))).toEqual([200, 401, 401, 401]);
  });

  test('end each other at once without blocking each other, and one is left', async () => {
    const { here, there } = await pair('duel');
    const end = (client: TestClient) => client.send('mutation { endOtherSessions { userErrors { code } } }');
    const answers = await Promise.all([end(here), end(there)]);
    expect(answers.map((answer) => answer.status).sort()).toEqual([200, 401]);
    expect((await Promise.all([status(here), status(there)])).sort()).toEqual([200, 401]);
  });
});

describe('a session whose id somebody knows', () => {
  test('is not ended by who has no secret of it, but by who has an old token of it; and that is kept', async () => {
    const { id, here } = await pair('known');
    const [sessionId, family] = here.refreshToken?.split('.') ?? [];
    const other = () => randomBytes(32).toString('base64url');
    const entries = () =>
      app.db.query(
        `select action, outcome, code, actor_id, resource_type, resource_id, resource_name, address, client, changes from audit_events
         where action = 'refreshSession' and resource_id = $1`,
        [Buffer.from(id, 'base64url').toString().split(':')[1]],
      );
    for (const token of [`${sessionId}.${other()}.${other()}`, `${uuidv7()}.${family}.${other()}`]) {
      expect(await refresh(token)).toMatchObject({ accessToken: null, userErrors: [{ code: 'INVALID_CREDENTIALS' }] });
    }
    expect([await status(here), await entries()]).toEqual([200, []]);
    expect(await refresh(`${sessionId}.${family}.${other()}`)).toMatchObject({ accessToken: null });
    expect([await status(here), await refresh(here.refreshToken)]).toMatchObject([401, { accessToken: null }]);
    expect(await entries()).toEqual([
      {
        action: 'refreshSession', outcome: 'REFUSED', code: 'INVALID_CREDENTIALS', actor_id: null, changes: [],
        resource_type: 'User', resource_name: 'known', resource_id: expect.any(String), address: expect.stringMatching(/127\.0\.0\.1$/), client: 'node',
      },
    ]); // prettier-ignore
  });
});

test('sessions are forgotten some days after their time, and not before', async () => {
  const { here } = await pair('forgotten');
  const insert = `insert into sessions (id, user_id, refresh_token_hash, created_at, refreshed_at, expires_at)
    select $1, user_id, '', now(), now(), now() - $2::interval from sessions where id = $3`;
  const [old, young] = [uuidv7(), uuidv7()];
  await app.db.query(insert, [young, '6 days', idOf(here)]);
  await app.db.query(insert, [old, '8 days', idOf(here)]);
  await until(async () => (await app.db.query('select 1 from sessions where id = $1', [old])).length === 0);
  expect(await app.db.query('select 1 from sessions where id = $1', [young])).toHaveLength(1);
});

test('what is done to accounts is written down with it, field by field and without a secret', async () => {
  const { id, here } = await pair('written-down');
  const admin = await app.as('admin');
  const web1 = await instanceId(admin, 'web-1');
  const payload = 'userErrors { code }';
  for (const mutation of [
    `updateUser(input: { userId: $id, displayName: "Wanda", role: USER }) { ${payload} }`,
    `assignInstance(input: { userId: $id, instanceId: "${web1}" }) { ${payload} }`,
    `assignInstance(input: { userId: $id, instanceId: "${web1}" }) { ${payload} }`,
    `unassignInstance(input: { userId: $id, instanceId: "${web1}" }) { ${payload} }`,
    `setUserPassword(input: { userId: $id }) { ${payload} }`,
    `removeUser(input: { userId: $id }) { ${payload} }`,
  ]) {
    await admin.query(`mutation ($id: ID!) { ${mutation} }`, { id });
  }
  await expect(app.as('written-down@keyframe.test', 'wrong')).rejects.toThrow('INVALID_CREDENTIALS');
  const uuid = Buffer.from(id, 'base64url').toString().split(':')[1];
  const rows: any[] = await app.db.query(
    `select action, outcome, actor_role, credential_kind, resource_name, changes from audit_events where resource_id = $1 order by created_at, id`,
    [uuid],
  );
  const change = (field: string, before: unknown, after: unknown) => ({ field, before, after });
  expect(rows.map(({ action, actor_role, changes }) => [action, actor_role, changes])).toEqual([
    ['createUser', 'ADMIN', [change('email', null, 'written-down@keyframe.test'), change('displayName', null, 'written-down'), change('role', null, 'OPERATIONS'), change('status', null, 'INVITED')]],
    ['signIn', 'OPERATIONS', []],
    ['changePassword', 'OPERATIONS', []],
    ['signIn', 'OPERATIONS', []],
    ['updateUser', 'ADMIN', [change('displayName', 'written-down', 'Wanda'), change('role', 'OPERATIONS', 'USER')]],
    ['assignInstance', 'ADMIN', [change('assignedInstances', null, 'web-1')]],
    ['unassignInstance', 'ADMIN', [change('assignedInstances', 'web-1', null)]],
    ['setUserPassword', 'ADMIN', [change('status', 'ACTIVE', 'INVITED')]],
    ['removeUser', 'ADMIN', [change('removedAt', null, expect.any(String))]],
  ]); // prettier-ignore
  for (const row of rows) expect(row).toMatchObject({ outcome: 'SUCCEEDED', credential_kind: 'SESSION' });
  expect(JSON.stringify(rows)).not.toContain(here.refreshToken?.split('.')[2]);
});

test('sign-ins that fail are written down: whose account it was, and of no account nothing that was typed', async () => {
  const { id } = await pair('guessed-at');
  for (const email of ['guessed-at@keyframe.test', 'hunter2@keyframe.test'])
    await expect(app.as(email, 'wrong')).rejects.toThrow('INVALID_CREDENTIALS');
  const rows = await app.db.query(
    `select resource_id, resource_name, code from audit_events where action = 'signIn' and outcome = 'REFUSED' order by created_at desc limit 2`,
  );
  expect(rows).toEqual([
    { resource_id: null, resource_name: null, code: 'INVALID_CREDENTIALS' },
    { resource_id: Buffer.from(id, 'base64url').toString().split(':')[1], resource_name: 'guessed-at', code: 'INVALID_CREDENTIALS' },
  ]); // prettier-ignore
});

describeHeldTransactions(() => app, pair);
describeProcesses(() => app, pair, JWT_SECRET);
