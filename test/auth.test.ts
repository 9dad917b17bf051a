import { randomBytes } from 'node:crypto';
import { decode, sign, type JwtHeader, type SignOptions } from 'jsonwebtoken';
import { v7 as uuidv7 } from 'uuid';
import { overSse, overWebSocket } from './support/access-streams';
import { statementsOf, told } from './support/access-world';
import { somewhere } from './support/addresses';
import { startTestApp, TestClient, type GraphqlResponse, type TestApp } from './support/app';
import { describeKeyFiles, describeRotation } from './support/auth-keys';
import { describePasswords } from './support/auth-passwords';

const SECRET = randomBytes(32).toString('hex');
const SIGN_IN = `mutation ($email: String!, $password: String!) { signIn(input: { email: $email, password: $password }) {
  accessToken refreshToken expiresAt viewer { id displayName } userErrors { code message field } } }`;
const REFRESH = `mutation ($token: String!) { refreshSession(input: { refreshToken: $token }) {
  accessToken refreshToken expiresAt viewer { displayName } userErrors { code message field } } }`;

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp({ env: { JWT_SECRET: SECRET, TRUST_PROXY: '1', OBSERVE_INTERVAL_SECONDS: '3600' } });
});
afterAll(() => app.stop());

const codes = ({ errors }: GraphqlResponse) => errors?.map(({ extensions }) => extensions['code']);
const viewer = (client: TestClient) => client.send('{ viewer { displayName } }');
const withToken = (token: string | null) => new TestClient(app.url, token, null);

/** An account with a password of its own that no other test uses. */
async function account(name: string): Promise<{ id: string; email: string; password: string }> {
  const admin = await app.as('admin');
  const email = `${name}@keyframe.test`;
  const { createUser } = await admin.query('mutation ($email: String!) { createUser(input: { email: $email, role: USER }) { user { id } oneTimePassword } }', { email }); // prettier-ignore
  const password = randomBytes(12).toString('hex');
  const client = await app.as(email, createUser.oneTimePassword);
  await client.query('mutation ($a: String!, $b: String!) { changePassword(input: { currentPassword: $a, newPassword: $b }) { viewer { id } } }', { a: createUser.oneTimePassword, b: password }); // prettier-ignore
  return { id: createUser.user.id, email, password };
}

describe('signing in', () => {
  test('asks for the e-mail address in any case, and gives tokens for ten minutes at most', async () => {
    const { email, password } = await account('case');
    for (const spelling of [email, email.toUpperCase(), `  ${email.replace('case', 'CaSe')}\n`]) {
      const { signIn } = await app.anonymous.query(SIGN_IN, { email: spelling, password });
      expect(signIn).toMatchObject({ viewer: { displayName: 'case' }, userErrors: [] });
      const { iat, exp } = decode(signIn.accessToken) as { iat: number; exp: number };
      expect(exp - iat).toBeLessThanOrEqual(600);
      expect(Date.parse(signIn.expiresAt)).toBe(exp * 1000);
      expect((await viewer(withToken(signIn.accessToken))).data.viewer.displayName).toBe('case');
    }
  });

  test('says the same of a wrong password, an unknown, a locked and a removed account', async () => {
    const [known, locked, removed] = [await account('known'), await account('locked'), await account('removed')];
    const admin = await app.as('admin');
    await admin.query('mutation ($id: ID!) { updateUser(input: { userId: $id, status: LOCKED }) { user { id } } }', { id: locked.id }); // prettier-ignore
    await admin.query('mutation ($id: ID!) { removeUser(input: { userId: $id }) { user { id } } }', { id: removed.id });
    const attempts = [
      { ...known, password: `${known.password}x` },
      { email: 'nobody@keyframe.test', password: known.password },
      { email: 'no address\0', password: '' },
      locked,
      removed,
    ];
    const asked = new Set<string>();
    for (const { email, password } of attempts) {
      const { result, statements } = await statementsOf(app, () =>
        app.anonymous.send(SIGN_IN, { email, password }, somewhere()),
      );
      expect(asked.add(statements.join(';')).size).toBe(1); // the same of all
      expect(told(result)).toEqual({ status: 200, extensions: { cost: expect.anything() }, data: { signIn: {
        accessToken: null, refreshToken: null, expiresAt: null, viewer: null,
        userErrors: [{ code: 'INVALID_CREDENTIALS', message: 'The e-mail address or the password is wrong.', field: null }],
      } } }); // prettier-ignore
    }
  });
});

describe('an access token', () => {
  const bearer = (token: string) => `Bearer ${token}`;
  let claims: { sub: string; sid: string };
  let keyid: string;
  let ended: string;
  beforeAll(async () => {
    const [alice, gone] = [await app.as('alice'), await app.as('alice')];
    await gone.query('mutation { signOut { userErrors { code } } }');
    ended = gone.token ?? '';
    const { header, payload } = decode(alice.token ?? '', { complete: true }) as { header: JwtHeader; payload: any };
    claims = { sub: payload.sub, sid: payload.sid };
    keyid = header.kid ?? '';
  });

  const made = (options: SignOptions = {}, payload: object = {}, secret = SECRET) =>
    sign({ ...claims, ...payload }, secret, { algorithm: 'HS256', issuer: 'keyframe', audience: 'keyframe', keyid, expiresIn: 60, ...options }); // prettier-ignore
  const unsigned = () => `${[{ alg: 'none', typ: 'JWT' }, { ...claims, iss: 'keyframe', aud: 'keyframe', iat: now(), exp: now() + 60 }].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.`; // prettier-ignore
  const now = () => Math.floor(Date.now() / 1000);
  const header = (more: object) => ({ header: { alg: 'HS256', kid: keyid, ...more } as JwtHeader });
  const tampered = () => {
    const [head, body, signature] = made().split('.');
    const other = { ...JSON.parse(Buffer.from(body ?? '', 'base64url').toString()), role: 'ADMIN' };
    return [head, Buffer.from(JSON.stringify(other)).toString('base64url'), signature].join('.');
  };

  test('that is made as ours are made is good, so that what follows fails for its fault alone', async () => {
    expect(await viewer(withToken(made()))).toMatchObject({ status: 200, data: { viewer: { displayName: 'Alice Anders' } } }); // prettier-ignore
  });

  test.each<[string, () => string]>([
    ['that is no token', () => bearer('garbage')],
    ['that is missing', () => 'Bearer'],
    ['by another scheme', () => `Basic ${made()}`],
    ['followed by something else', () => `${bearer(made())} and more`],
    ['that has expired', () => bearer(made({ expiresIn: -1 }))],
    ['that would live for hours', () => bearer(made({ expiresIn: 9999 }, { iat: now() - 700 }))],
    ['that is not good yet', () => bearer(made({ notBefore: 60 }))],
    ['signed with another secret', () => bearer(made({}, {}, `${SECRET}x`))],
    ['that is not signed', () => bearer(unsigned())],
    ['that was changed after it was signed', () => bearer(tampered())],
    ['signed by another algorithm with our secret', () => bearer(made({ algorithm: 'HS512' }))],
    ['of another issuer', () => bearer(made({ issuer: 'somebody' }))],
    ['for another audience', () => bearer(made({ audience: 'somebody' }))],
    ['with a header that must be understood', () => bearer(made(header({ crit: ['exp'], exp: now() + 60 })))],
    ['with an unknown header that must be understood', () => bearer(made(header({ crit: ['b64'], b64: true })))],
    ['of another key', () => bearer(made({ keyid: 'another' }))],
    ['without a session', () => bearer(made({}, { sid: undefined }))],
    ['of no session', () => bearer(made({}, { sid: uuidv7() }))],
    ['of a session that is no id', () => bearer(made({}, { sid: "' or 1=1" }))],
    ["of another person's session", () => bearer(made({}, { sub: uuidv7() }))],
    ['of a session that has ended', () => bearer(ended)],
  ])('%s is refused, but ignored by what is open to everyone', async (_, authorization) => {
    const headers = { authorization: authorization() };
    for (const accept of ['application/json', 'application/graphql-response+json']) {
      const answer = await app.anonymous.send('{ viewer { id } }', {}, { ...headers, accept });
      expect([answer.status, codes(answer)]).toEqual([401, ['UNAUTHENTICATED']]);
      expect(answer).not.toHaveProperty('data');
    }
    const { password } = await known();
    const answers = [
      await app.anonymous.send('{ apiInfo { version } }', {}, headers),
      await app.anonymous.send(SIGN_IN, { email: 'known-to-all@keyframe.test', password }, headers),
      await app.anonymous.send(REFRESH, { token: 'nonsense' }, headers),
    ];
    for (const answer of answers) expect([answer.status, codes(answer)]).toEqual([200, undefined]);
    expect(answers[1]?.data.signIn.viewer).toMatchObject({ displayName: 'known-to-all' });
  }); // prettier-ignore

  test('that is bad is refused over WebSocket and server-sent events as well', async () => {
    const bad = withToken('garbage');
    const [overSocket, overEvents] = [await overWebSocket(bad, '{ viewer { id } }'), await overSse(bad, '{ viewer { id } }')]; // prettier-ignore
    const errors = [...overSocket.refused, ...overEvents.events.flatMap((event) => event.errors ?? [])];
    expect(errors).toMatchObject([1, 2].map(() => ({ path: ['viewer'], extensions: { code: 'UNAUTHENTICATED' } })));
    expect((await overWebSocket(bad, '{ apiInfo { version } }')).events).toMatchObject([{ data: { apiInfo: {} } }]);
  });

  let shared: Promise<{ password: string }> | undefined;
  const known = () => (shared ??= account('known-to-all'));
});

describe('a session', () => {
  const refresh = async (token: string | null) => (await app.anonymous.query(REFRESH, { token })).refreshSession;
  const refusal = {
    accessToken: null,
    refreshToken: null,
    viewer: null,
    userErrors: [{ code: 'INVALID_CREDENTIALS' }],
  };

  test('goes on with new tokens, and a refresh token that is used again ends all of it', async () => {
    const first = await app.as('bob');
    const second = await refresh(first.refreshToken);
    expect(second).toMatchObject({ viewer: { displayName: 'Bob Brandt' }, userErrors: [] });
    expect(second.refreshToken).not.toBe(first.refreshToken);
    const third = await refresh(second.refreshToken);
    expect((await viewer(withToken(third.accessToken))).status).toBe(200);

    expect(await refresh(first.refreshToken)).toMatchObject(refusal);
    expect(await refresh(third.refreshToken)).toMatchObject(refusal);
    for (const token of [first.token, second.accessToken, third.accessToken]) {
      expect((await viewer(withToken(token))).status).toBe(401);
    }
  });

  test('refreshed twice at once with one token goes on at most once, and then has ended', async () => {
    const bob = await app.as('bob');
    const both = await Promise.all([refresh(bob.refreshToken), refresh(bob.refreshToken)]);
    const renewed = both.filter(({ accessToken }) => accessToken !== null);
    expect(renewed).toHaveLength(1);
    expect((await viewer(withToken(renewed[0].accessToken))).status).toBe(401);
    expect(await refresh(renewed[0].refreshToken)).toMatchObject(refusal);
  });

  test('is not ended by a refresh token that is none, and each says no more than that', async () => {
    const bob = await app.as('bob');
    const [id = '', family = '', secret = ''] = bob.refreshToken?.split('.') ?? [];
    const other = randomBytes(32).toString('base64url');
    const guesses = [[uuidv7(), family, secret], [id, other, secret], [id, secret, family], [id, other, other], [id, secret], [id]]; // prettier-ignore
    for (const token of [
      '',
      'garbage',
      '\0',
      bob.token,
      `${bob.refreshToken}x`,
      ...guesses.map((guess) => guess.join('.')),
    ]) {
      expect(await refresh(token)).toEqual({ ...refusal, expiresAt: null, userErrors: [{ code: 'INVALID_CREDENTIALS', message: 'This refresh token is no longer good; sign in again.', field: null }] }); // prettier-ignore
    }
    expect((await viewer(bob)).status).toBe(200);
  });

  test('ends at once with signOut, with its refresh token, and no other session with it', async () => {
    const [here, there] = [await app.as('bob'), await app.as('bob')];
    expect(await here.query('mutation { signOut { userErrors { code } } }')).toEqual({ signOut: { userErrors: [] } });
    expect(codes(await viewer(here))).toEqual(['UNAUTHENTICATED']);
    expect(await refresh(here.refreshToken)).toMatchObject(refusal);
    expect((await viewer(there)).status).toBe(200);
  });
});

describeKeyFiles(() => app);
describeRotation(() => app, SECRET);
describePasswords(() => app, account);
