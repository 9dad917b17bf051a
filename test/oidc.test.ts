/** People of an external OpenID provider: how they come in, what they may, and how they are kept out. */
import { decode } from 'jsonwebtoken';
import { overSse, overWebSocket } from './support/access-streams';
import { makeToken } from './support/api-tokens';
import { startTestApp, TestClient, type TestApp } from './support/app';
import { Follower, TRANSPORTS } from './support/event-stream';
import { AUDIENCE, TestProvider } from './support/oidc';
import { uuidOf } from './support/rows';
import { until } from './support/until';

const VIEWER = '{ viewer { id displayName email role status assignedInstances { totalCount } } }';
const SIGN_OUT = 'mutation { signOut { userErrors { code } } }';
const UPDATE =
  'mutation ($input: UpdateUserInput!) { updateUser(input: $input) { user { role } userErrors { code } } }';
const REMOVE = 'mutation ($id: ID!) { removeUser(input: { userId: $id }) { userErrors { code } } }';

let provider: TestProvider;
let app: TestApp;
beforeAll(async () => {
  provider = await TestProvider.start();
  app = await startTestApp({
    env: {
      OIDC_ISSUER: provider.issuer,
      OIDC_AUDIENCE: `${AUDIENCE}, RS256, ES256`,
      OIDC_ROLE_CLAIM: 'realm.roles',
      OIDC_ROLE_MAP: 'keyframe-admins=ADMIN, keyframe-ops=OPERATIONS',
      OBSERVE_INTERVAL_SECONDS: '3600',
    },
  });
});
afterAll(async () => {
  await app.stop();
  await provider.stop();
});

const as = (token: string) => new TestClient(app.url, token, null);
const viewer = async (token: string) => (await as(token).query(VIEWER)).viewer;
const status = async (token: string) => (await as(token).send(VIEWER)).status;
const usersOf = (subject: string) => app.db.query<any[]>('select * from users where subject = $1', [subject]);
const actionsOn = async (userId: string) => {
  const rows = await app.db.query<any[]>('select action, actor_id, changes from audit_events where resource_id = $1 order by created_at', [uuidOf(userId)]); // prettier-ignore
  return rows.map(({ action, actor_id: by, changes }) => [action, by === uuidOf(userId), ...changes]);
};
/** A claim of when a token was issued, seconds before now. */
const ago = (seconds: number) => ({ iat: Math.floor(Date.now() / 1000) - seconds });
const roles = (...names: string[]) => ({ realm: { roles: names } });

describe('whoever has signed in at the provider', () => {
  test.each(['RS256', 'ES256'] as const)(
    'comes in with access and ID token (%s), on every transport',
    async (client) => {
      const account = `olga-${client}`;
      await provider.know(account, { email: `Olga-${client}@Partner.Test`, name: 'Olga Outside' });
      const { accessToken, idToken } = await provider.visitor(account, client).signIn();
      expect([accessToken, idToken].map((token) => decode(token, { complete: true })?.header.alg)).toEqual([
        client,
        client,
      ]);

      for (const token of [accessToken, idToken]) {
        const expected = { displayName: 'Olga Outside', email: `olga-${client.toLowerCase()}@partner.test`, role: 'USER', status: 'ACTIVE', assignedInstances: { totalCount: 0 } }; // prettier-ignore
        expect(await viewer(token)).toMatchObject(expected);
        expect((await overWebSocket(as(token), VIEWER)).events).toMatchObject([{ data: { viewer: expected } }]);
        expect((await overSse(as(token), VIEWER)).events).toMatchObject([{ data: { viewer: expected } }]);
      }
      expect(await usersOf(account)).toHaveLength(1);
    },
  );

  test('is one person, however many of their requests come first', async () => {
    const tokens = Array.from({ length: 12 }, (_, at) => provider.forge({ sub: 'twelve', jti: String(at), email: 'twelve@partner.test' })); // prettier-ignore
    const ids = await Promise.all([...tokens, ...tokens].map(async (token) => (await viewer(token)).id));
    expect(new Set(ids).size).toBe(1);
    expect((await actionsOn(ids[0])).filter(([action]) => action === 'externalUserCreated')).toHaveLength(1);
  });

  test('sees what is assigned to them, and nothing before', async () => {
    const token = provider.forge({ sub: 'assigned' });
    const { id } = await viewer(token);
    const names = async () => (await as(token).query('{ instances { nodes { name } } }')).instances.nodes;
    expect(await names()).toEqual([]);
    const admin = await app.as('admin');
    const { instance } = await admin.query('{ instance(name: "web-1") { id } }');
    await admin.query('mutation ($input: AssignInstanceInput!) { assignInstance(input: $input) { userErrors { code } } }', { input: { userId: id, instanceId: instance.id } }); // prettier-ignore
    expect(await names()).toEqual([{ name: 'web-1' }]);
  });

  test('may be a program too, which has no e-mail address', async () => {
    expect(await viewer(await provider.clientToken('RS256'))).toMatchObject({ role: 'USER', email: expect.stringMatching(/@no-address\.invalid$/) }); // prettier-ignore
  });

  test('is told by apiInfo where to sign in', async () => {
    const { apiInfo } = await app.anonymous.query('{ apiInfo { externalIdentity { issuer } } }');
    expect(apiInfo.externalIdentity).toEqual({ issuer: provider.issuer });
  });
});

describe('an e-mail address', () => {
  test('that an account of ours has stays with it: the two are never one', async () => {
    const { viewer: ours } = await (await app.as('alice')).query(VIEWER);
    const theirs = await viewer(provider.forge({ sub: 'not-alice', email: 'ALICE@keyframe.test', email_verified: true, name: 'Alice Anders' })); // prettier-ignore
    expect(theirs.id).not.toBe(ours.id);
    expect(theirs).toMatchObject({ email: expect.stringMatching(/@no-address\.invalid$/), assignedInstances: { totalCount: 0 } }); // prettier-ignore
    expect((await (await app.as('alice')).query(VIEWER)).viewer).toEqual(ours);
  });

  test('that the provider has not verified is not taken; a verified one that comes later is', async () => {
    const unverified = { sub: 'late', email: 'late@partner.test', ...ago(60) };
    expect((await viewer(provider.forge({ ...unverified, email_verified: false }))).email).toMatch(
      /@no-address\.invalid$/,
    );
    expect((await viewer(provider.forge({ ...unverified, ...ago(30), email_verified: 'false' }))).email).toMatch(/@no-address\.invalid$/); // prettier-ignore
    expect((await viewer(provider.forge({ ...unverified, ...ago(10), email_verified: true }))).email).toBe(
      'late@partner.test',
    );
  });

  test.each(['no address', 'two@@signs', 'nul\0@partner.test', 'rtl\u202e@partner.test', 7, ['a@b.test']])(
    '%j is none',
    async (email) => {
      const sub = `odd-${JSON.stringify(email).length}-${typeof email}`;
      expect((await viewer(provider.forge({ sub, email, name: '\u202eevil\0 name ' })))).toMatchObject({ displayName: 'evil name', email: expect.stringMatching(/@no-address\.invalid$/) }); // prettier-ignore
    },
  );
});

describe('a password', () => {
  test('opens no external account, and cannot be changed here', async () => {
    const token = provider.forge({ sub: 'pat', email: 'pat@partner.test' });
    await viewer(token);
    for (const password of ['', 'null', 'a password that is long enough'])
      await expect(app.as('pat@partner.test', password)).rejects.toThrow('INVALID_CREDENTIALS');
    const { changePassword } = await as(token).query('mutation { changePassword(input: { currentPassword: "", newPassword: "" }) { userErrors { code message } } }'); // prettier-ignore
    expect(changePassword.userErrors).toEqual([{ code: 'INVALID_INPUT', message: `This account has no password here; it signs in at ${provider.issuer}. Change the password there.` }]); // prettier-ignore
  });

  test('cannot be put on an external account, not even in the database', async () => {
    await viewer(provider.forge({ sub: 'quinn' }));
    await expect(app.db.query(`update users set password_hash = 'x' where subject = 'quinn'`)).rejects.toThrow('external_user_has_no_password'); // prettier-ignore
  });
});

describe('a role', () => {
  test.each<[string, object, string]>([
    ['a list', roles('unknown', 'keyframe-ops'), 'OPERATIONS'],
    ['the highest of several', roles('keyframe-ops', 'keyframe-admins', 'keyframe-ops'), 'ADMIN'],
    ['a string', { realm: { roles: 'keyframe-admins' } }, 'ADMIN'],
    ['a claim with a dot in its name', { 'realm.roles': ['keyframe-ops'] }, 'OPERATIONS'],
    ['nothing that is mapped', roles('Keyframe-Admins', 'ADMIN', 'constructor'), 'USER'],
    ['no claim', {}, 'USER'],
    ['a path that leads elsewhere', { realm: 'keyframe-admins' }, 'USER'],
    ['something odd', { realm: { roles: [{ name: 'keyframe-admins' }, null, 7] } }, 'USER'],
    ['our own claim', { role: 'ADMIN', roles: ['keyframe-admins'] }, 'USER'],
  ])('is given by the claim: %s', async (what, claims, role) => {
    expect(await viewer(provider.forge({ sub: what, ...claims }))).toMatchObject({ role });
  });

  test('changes with what the provider says, for whoever it concerns at once, and is written down', async () => {
    await provider.know('rolf', { name: 'Rolf', ...roles('keyframe-ops') });
    const before = (await provider.visitor('rolf').signIn()).accessToken;
    const { id } = await viewer(before);
    const followers = await Promise.all(TRANSPORTS.map((transport) => new Follower(as(before), transport).caughtUp()));

    await provider.know('rolf', { name: 'Rolf' });
    await until(async () => (await viewer((await provider.visitor('rolf').signIn()).accessToken)).role === 'USER');
    expect(await viewer(before)).toMatchObject({ id, role: 'USER' }); // the same token, and the same answer of nobody's memory
    await until(() => followers[0]?.closed === 4403, 5000, 'the end of the socket');
    await Promise.all(followers.map((follower) => follower.leave()));
    expect(await actionsOn(id)).toEqual(
      expect.arrayContaining([
        ['externalUserCreated', false, { field: 'role', before: null, after: 'OPERATIONS' }],
        ['externalRoleChanged', false, { field: 'role', before: 'OPERATIONS', after: 'USER' }],
        ['externalSignIn', true],
      ]),
    );
  });

  test('is not given back by an older token that is shown only now', async () => {
    const older = provider.forge({ sub: 'rosa', ...ago(60), ...roles('keyframe-admins') });
    expect(await viewer(provider.forge({ sub: 'rosa', ...ago(30) }))).toMatchObject({ role: 'USER' });
    expect(await viewer(older)).toMatchObject({ role: 'USER' });
  });
});

test('whom the provider has not vouched for in a week is not let in by an API token either', async () => {
  const sub = 'gone';
  const { client } = await makeToken(as(provider.forge({ sub, ...ago(60) })));
  const told = async () => (await client.send(VIEWER)).status;
  expect(await told()).toBe(200);
  await app.db.query(`update users set vouched_at = now() - interval '8 days' where subject = $1`, [sub]);
  expect(await told()).toBe(401);
  expect(await status(provider.forge({ sub, ...ago(30) }))).toBe(200);
  expect(await told()).toBe(200);
});

describe('who is kept out here', () => {
  test('a locked one, also with new tokens, until they are unlocked and sign in anew', async () => {
    const admin = await app.as('admin');
    const token = provider.forge({ sub: 'lars', ...ago(60) });
    const { id } = await viewer(token);
    const follower = await new Follower(as(token), 'WebSocket').caughtUp();
    await admin.query(UPDATE, { input: { userId: id, status: 'LOCKED' } });
    expect(await status(token)).toBe(401);
    expect(await status(provider.forge({ sub: 'lars', ...roles('keyframe-admins') }))).toBe(401);
    await until(() => follower.closed === 4403, 5000, 'the end of the socket');
    await follower.leave();

    await admin.query(UPDATE, { input: { userId: id, status: 'ACTIVE' } });
    expect(await status(token)).toBe(401);
    await until(async () => (await status(provider.forge({ sub: 'lars' }))) === 200);
    expect(await viewer(provider.forge({ sub: 'lars' }))).toMatchObject({ id, role: 'USER' });
  });

  test('a removed one, who is not made again', async () => {
    const token = provider.forge({ sub: 'rita', email: 'rita@partner.test', ...ago(60) });
    const { id } = await viewer(token);
    await (await app.as('admin')).query(REMOVE, { id });
    for (const each of [token, provider.forge({ sub: 'rita', email: 'rita@partner.test' })]) {
      expect(await status(each)).toBe(401);
      expect((await overWebSocket(as(each), VIEWER)).refused).toMatchObject([
        { extensions: { code: 'UNAUTHENTICATED' } },
      ]);
    }
    expect(await usersOf('rita')).toHaveLength(1);
  });
});

describe('signing out', () => {
  test('ends the login: all its tokens so far are refused; one that is issued later begins another', async () => {
    const visitor = provider.visitor('sven', 'with-sid');
    const [first, second] = [(await visitor.signIn()).accessToken, (await visitor.signIn()).accessToken];
    expect(await status(first)).toBe(200);
    const follower = await new Follower(as(first), 'WebSocket').caughtUp();
    await as(first).query(SIGN_OUT);
    expect([await status(first), await status(second)]).toEqual([401, 401]);
    await until(() => follower.closed === 4403, 5000, 'the end of the socket');
    await follower.leave();

    const later = await until(async () => {
      const { accessToken } = await visitor.signIn();
      return (await status(accessToken)) === 200 && accessToken;
    });
    expect((decode(later) as any).sid).toBe((decode(first) as any).sid);
    expect([await status(first), await status(second), await status(later)]).toEqual([401, 401, 200]);
  });

  test('ends a token that tells no login, also when it is signed otherwise but as well', async () => {
    const token = provider.forge({ sub: 'mallory' }, { key: provider.pair('ES256') });
    const other = twin(token);
    expect([await status(token), await status(other)]).toEqual([200, 200]);
    await as(token).query(SIGN_OUT);
    expect([await status(token), await status(other), await status(twin(other))]).toEqual([401, 401, 401]);
    expect(await status(provider.forge({ sub: 'mallory', jti: 'another' }))).toBe(200);
  });

  test('nobody goes on with a refresh token that was never given', async () => {
    const token = provider.forge({ sub: 'rene' });
    const { id } = await viewer(token);
    const [{ id: sessionId }] = await app.db.query('select id from sessions where user_id = $1', [uuidOf(id)]);
    const { refreshSession } = await app.anonymous.query('mutation ($token: String!) { refreshSession(input: { refreshToken: $token }) { accessToken userErrors { code } } }', { token: `${sessionId}.${'A'.repeat(43)}` }); // prettier-ignore
    expect(refreshSession).toEqual({ accessToken: null, userErrors: [{ code: 'INVALID_CREDENTIALS' }] });
  });
});

/** Of each ECDSA signature (r, s) there is a second one, (r, n − s), that anybody can make and that is as good. */
function twin(token: string): string {
  const [head, body, signature = ''] = token.split('.');
  const bytes = Buffer.from(signature, 'base64url');
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const s = order - BigInt(`0x${bytes.subarray(32).toString('hex')}`);
  const turned = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')]);
  return `${head}.${body}.${turned.toString('base64url')}`;
}
