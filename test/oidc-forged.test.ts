/** Tokens that only look like the external provider's, and some that look odd and are not. */
import { createHmac, createSign } from 'node:crypto';
import { decode } from 'jsonwebtoken';
import { toGlobalId } from '../src/resolvers/global-id';
import { overSse, overWebSocket } from './support/access-streams';
import { startTestApp, TestClient, type TestApp } from './support/app';
import { AUDIENCE, signingPair, TestProvider } from './support/oidc';

const VIEWER = '{ viewer { displayName role } }';
const now = () => Math.floor(Date.now() / 1000);
const b64 = (value: object | string): string => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url'); // prettier-ignore
const as = ({ url }: TestApp, token: string) => new TestClient(url, token, null);

let provider: TestProvider;
beforeAll(async () => {
  provider = await TestProvider.start();
});
afterAll(() => provider.stop());

const startApp = (issuer = provider.issuer): Promise<TestApp> =>
  startTestApp({ env: { OIDC_ISSUER: issuer, OIDC_AUDIENCE: AUDIENCE, OBSERVE_INTERVAL_SECONDS: '3600' } });

describe('a token is refused', () => {
  let app: TestApp;
  beforeAll(async () => {
    app = await startApp();
    expect((await as(app, provider.forge({ sub: 'whole' })).send(VIEWER)).status).toBe(200);
  });
  afterAll(() => app.stop());

  const whole = () => provider.forge({}).split('.');
  const head = (): object => decode(provider.forge({}), { complete: true })?.header ?? {};
  const claims = (): object => decode(provider.forge({})) as object;
  const strange = signingPair('RS256');
  const rsa = () => provider.pair('RS256');
  const publicPem = () => rsa().publicKey.export({ type: 'spki', format: 'pem' }) as string;
  const hmac = (secret: string | Buffer, alg = 'HS256') => {
    const input = `${b64({ alg, kid: rsa().id, typ: 'at+jwt' })}.${b64(claims())}`;
    return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`;
  };
  /** Signed by the provider's own key, with whatever header. */
  const signed = (header: object, payload: object | string = claims(), hash = 'sha256') => {
    const input = `${b64({ alg: 'RS256', kid: rsa().id, ...header })}.${b64(payload)}`;
    return `${input}.${createSign(hash).update(input).sign(rsa().privateKey).toString('base64url')}`;
  };

  test.each<[string, () => string]>([
    ['alg none, without a signature', () => `${b64({ ...head(), alg: 'none' })}.${b64(claims())}.`],
    ['alg None, with the signature of another', () => `${b64({ ...head(), alg: 'None' })}.${whole()[1]}.${whole()[2]}`],
    ['HS256 by the public key as PEM', () => hmac(publicPem())],
    ['HS256 by the public key as DER', () => hmac(rsa().publicKey.export({ type: 'spki', format: 'der' }))],
    ['HS256 that says RS256', () => hmac(publicPem(), 'RS256')],
    ['HS256 by an empty secret', () => hmac('')],
    ['RS384', () => signed({ alg: 'RS384' }, claims(), 'sha384')],
    ['RS512 by the right key', () => signed({ alg: 'RS512' }, claims(), 'sha512')],
    ['ES256 that is signed with RSA', () => signed({ alg: 'ES256' })],
    ['RS256 for the id of the key for ES256', () => signed({ kid: provider.pair('ES256').id })],
    ['a stripped signature', () => `${whole()[0]}.${whole()[1]}.`],
    ['no signature at all', () => `${whole()[0]}.${whole()[1]}`],
    ['a signature of another token', () => `${whole()[0]}.${b64({ ...claims(), sub: 'other' })}.${whole()[2]}`],
    ['changed claims', () => [whole()[0], b64({ ...claims(), roles: ['keyframe-admins'] }), whole()[2]].join('.')],
    [
      'a key that is not the provider’s, under an id of its',
      () => provider.forge({}, { key: { ...strange, id: rsa().id } }),
    ],
    [
      'a key that is not the provider’s, without an id',
      () => provider.forge({}, { key: strange, header: { kid: undefined } }),
    ],
    [
      'a key in the header',
      () => provider.forge({}, { key: strange, header: { jwk: strange.publicKey.export({ format: 'jwk' }) } }),
    ],
    ['a certificate in the header', () => provider.forge({}, { key: strange, header: { x5c: [publicPem()] } })],
    ['an id that is a path', () => provider.forge({}, { header: { kid: '../../../../dev/null' } })],
    ['an id that is a statement', () => provider.forge({}, { header: { kid: `x' or '1'='1` } })],
    ['an id that is a number', () => signed({ kid: 7 })],
    ['an id that is a list', () => signed({ kid: [rsa().id] })],
    ['something critical that nobody knows', () => provider.forge({}, { header: { crit: ['exp'] } })],
    ['an unencoded payload (b64)', () => provider.forge({}, { header: { crit: ['b64'], b64: true } })],
    ['an empty list of what is critical', () => signed({ crit: [] })],
    ['the type of a logout token', () => provider.forge({}, { header: { typ: 'logout+jwt' } })],
    ['the type of a security event', () => provider.forge({}, { header: { typ: 'secevent+jwt' } })],
    ['the type of a DPoP proof', () => provider.forge({}, { header: { typ: 'dpop+jwt' } })],
    ['a type that is no text', () => signed({ typ: ['at+jwt'] })],
    ['a refresh token, as Keycloak calls it', () => provider.forge({ typ: 'Refresh' })],
    [
      'a logout token without a type',
      () => provider.forge({ events: { 'http://schemas.openid.net/event/backchannel-logout': {} } }),
    ],
    ['bound to a key of the client', () => provider.forge({ cnf: { jkt: 'x' } })],
    ['another issuer', () => provider.forge({ iss: 'https://idp.test' })],
    ['an issuer with a slash more', () => provider.forge({ iss: `${provider.issuer}/` })],
    ['an issuer in a list', () => provider.forge({ iss: [provider.issuer] })],
    ['no issuer', () => provider.forge({ iss: undefined })],
    ['our own issuer', () => provider.forge({ iss: 'keyframe', aud: 'keyframe' })],
    ['another audience', () => provider.forge({ aud: 'https://other.test/api' })],
    ['an audience that begins like ours', () => provider.forge({ aud: `${AUDIENCE}/more` })],
    ['no audience', () => provider.forge({ aud: undefined })],
    ['an empty audience', () => provider.forge({ aud: [] })],
    [
      'an ID token of another client that names us too',
      () => provider.forge({ aud: [AUDIENCE, 'evil'], azp: 'evil' }, { header: { typ: 'JWT' } }),
    ],
    [
      'an ID token for several that tells not whose it is',
      () => provider.forge({ aud: [AUDIENCE, 'evil'] }, { header: { typ: 'JWT' } }),
    ],
    ['expired', () => provider.forge({ iat: now() - 400, exp: now() - 60 })],
    ['without an end', () => provider.forge({ exp: undefined })],
    ['an end that is a text', () => signed({}, { ...claims(), exp: String(now() + 60) })],
    ['an end in the year 50,000', () => provider.forge({ exp: 1_515_693_000_000 })],
    ['good for two days', () => provider.forge({ exp: now() + 172_800 })],
    ['not yet good', () => provider.forge({ nbf: now() + 120 })],
    ['a beginning that is a text', () => signed({}, { ...claims(), nbf: 'now' })],
    ['issued in the future', () => provider.forge({ iat: now() + 120 })],
    ['issued at no time', () => provider.forge({ iat: undefined })],
    ['no subject', () => provider.forge({ sub: undefined })],
    ['an empty subject', () => provider.forge({ sub: '' })],
    ['a subject with a null character', () => provider.forge({ sub: 'a\0b' })],
    ['a subject that is a number', () => provider.forge({ sub: 7 })],
    ['a subject without end', () => provider.forge({ sub: 'x'.repeat(256) })],
    ['more than 8 kB', () => provider.forge({ more: 'x'.repeat(9000) })],
    ['a payload that is no object', () => signed({}, '"text"')],
    ['a payload that is no JSON', () => signed({}, 'text')],
    ['a payload that is null', () => signed({}, 'null')],
    ['a header that is null', () => `${b64('null')}.${whole()[1]}.${whole()[2]}`],
    ['five parts', () => `${whole().join('.')}.x.y`],
    ['nothing but dots', () => '..'],
  ])('%s', async (_, forge) => {
    const client = as(app, forge());
    expect(await client.send(VIEWER)).toMatchObject({
      status: 401,
      errors: [{ extensions: { code: 'UNAUTHENTICATED' } }],
    });
    expect((await client.send('{ apiInfo { version } }')).status).toBe(200);
  });

  test.each<[string, () => string]>([
    ['a minute that runs out within the leeway', () => provider.forge({ iat: now() - 60, exp: now() - 10 })],
    ['a clock that is a little ahead', () => provider.forge({ iat: now() + 10, nbf: now() + 10 })],
    ['several audiences of an access token', () => provider.forge({ aud: ['account', AUDIENCE], azp: 'portal' })],
    [
      'several audiences, issued to ours',
      () => provider.forge({ aud: ['account', AUDIENCE], azp: AUDIENCE }, { header: { typ: 'JWT' } }),
    ],
    [
      'headers that point to keys elsewhere, which nobody follows',
      () => provider.forge({}, { header: { jku: 'http://127.0.0.1:1/', x5u: 'http://127.0.0.1:1/' } }),
    ],
    ['no key id, where only one key fits', () => provider.forge({}, { header: { kid: undefined } })],
  ])('but not for %s', async (_, forge) => {
    expect((await as(app, forge()).send(VIEWER)).status).toBe(200);
  });

  test('also over WebSocket and server-sent events', async () => {
    for (const token of [hmac(publicPem()), provider.forge({ aud: 'other' }), provider.forge({}, { key: strange })]) {
      expect((await overWebSocket(as(app, token), VIEWER)).refused).toMatchObject([
        { extensions: { code: 'UNAUTHENTICATED' } },
      ]);
      expect((await overSse(as(app, token), VIEWER)).events).toMatchObject([
        { errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] },
      ]);
    }
  });

  test('without a map, roles are given here, and stay when newer tokens are seen', async () => {
    const seen = async (iat: number) => (await as(app, provider.forge({ sub: 'mia', roles: ['ADMIN'], iat })).query(VIEWER)).viewer; // prettier-ignore
    expect(await seen(now() - 60)).toMatchObject({ role: 'USER' });
    const [{ id }] = await app.db.query(`select id from users where subject = 'mia'`);
    const admin = await app.as('admin');
    await admin.query('mutation ($input: UpdateUserInput!) { updateUser(input: $input) { userErrors { code } } }', { input: { userId: toGlobalId('User', id), role: 'OPERATIONS' } }); // prettier-ignore
    expect(await seen(now() - 30)).toMatchObject({ role: 'OPERATIONS' });
  });

  test('a token of ours is no token of the provider, nor the other way round', async () => {
    const ours = await app.as('alice');
    expect((await ours.query(VIEWER)).viewer.displayName).toBe('Alice Anders');
    const { sub, sid } = decode(ours.token ?? '') as { sub: string; sid: string };
    const { status } = await as(app, provider.forge({ iss: 'keyframe', aud: 'keyframe', sub, sid })).send(VIEWER);
    expect(status).toBe(401);
  });
});
