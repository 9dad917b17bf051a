/** Keys of the external provider that come and go, and a provider that is away. */
import { sign } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { decode } from 'jsonwebtoken';
import { OidcTokens } from '../src/auth/oidc';
import { startTestApp, TestClient, type TestApp } from './support/app';
import { AUDIENCE, signingPair, TestProvider, type SigningPair } from './support/oidc';
import { until } from './support/until';

const VIEWER = '{ viewer { displayName role } }';
const b64 = (value: object | string): string => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url'); // prettier-ignore
const as = ({ url }: TestApp, token: string) => new TestClient(url, token, null);

let provider: TestProvider;
beforeAll(async () => {
  provider = await TestProvider.start();
});
afterAll(() => provider.stop());

const startApp = (issuer = provider.issuer): Promise<TestApp> =>
  startTestApp({ env: { OIDC_ISSUER: issuer, OIDC_AUDIENCE: AUDIENCE, OBSERVE_INTERVAL_SECONDS: '3600' } });

describe('keys', () => {
  test('that are new are found, and tokens by those that are gone are refused, also ones that were accepted before', async () => {
    const app = await startApp();
    try {
      const old = provider.forge({ sub: 'kim' });
      expect((await as(app, old).send(VIEWER)).status).toBe(200);
      await provider.stop();
      provider.keys = [signingPair('RS256'), provider.pair('ES256')];
      await provider.start();
      await until(async () => (await as(app, provider.forge({ sub: 'kim' })).send(VIEWER)).status === 200, 15_000);
      expect((await as(app, old).send(VIEWER)).status).toBe(401);
      expect((await as(app, provider.forge({ sub: 'kim' }, { key: provider.pair('ES256') })).send(VIEWER)).status).toBe(200); // prettier-ignore
    } finally {
      await app.stop();
    }
  });

  test('that are known go on working while the provider is away; others are answered at once, and none with a guess', async () => {
    const app = await startApp();
    try {
      expect((await as(app, provider.forge({ sub: 'leo' })).send(VIEWER)).status).toBe(200);
      await provider.stop();
      expect((await as(app, provider.forge({ sub: 'leonie' })).send(VIEWER)).status).toBe(200);
      const unknown = as(app, provider.forge({ sub: 'leo' }, { key: signingPair('RS256') }));
      const seen = await until(async () => {
        const answer = await unknown.send(VIEWER);
        return answer.status === 503 && answer;
      }, 15_000);
      expect(seen.errors).toMatchObject([
        { extensions: { code: 'SERVICE_UNAVAILABLE', correlationId: expect.any(String) } },
      ]);
      const closed = new Promise((resolve) => {
        const socket = unknown.socket({ onClosed: ({ code }) => resolve(code) });
        socket.subscribe(
          { query: VIEWER },
          { next: () => undefined, error: () => undefined, complete: () => undefined },
        );
      });
      expect(await closed).toBe(1013);
    } finally {
      await app.stop();
      await provider.start();
    }
  });

  test('are not asked for by strangers without end', async () => {
    let asked = 0;
    const proxy = await serving((path) => {
      asked += 1;
      return path.endsWith('openid-configuration')
        ? { issuer: origin(proxy), jwks_uri: `${origin(proxy)}/keys` }
        : { keys: [] };
    });
    const app = await startApp(origin(proxy));
    try {
      const tokens = Array.from({ length: 200 }, () => provider.forge({ iss: origin(proxy) }, { header: { kid: Math.random().toString() } })); // prettier-ignore
      const answers = await Promise.all(tokens.map((token) => as(app, token).send(VIEWER)));
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401]));
      expect(asked).toBeLessThanOrEqual(6);
    } finally {
      await app.stop();
      await closing(proxy);
    }
  });
});

describe('a provider', () => {
  test('that is away at the start keeps nobody waiting, and is found when it is there', async () => {
    await provider.stop();
    const app = await startApp();
    try {
      const token = provider.forge({ sub: 'early' });
      expect((await (await app.as('alice')).send(VIEWER)).status).toBe(200);
      expect((await as(app, token).send(VIEWER)).status).toBe(503);
      await provider.start();
      await until(async () => (await as(app, token).send(VIEWER)).status === 200, 15_000);
    } finally {
      await app.stop();
    }
  });

  const jwk = ({ publicKey, id } = provider.pair('RS256')) => ({ ...publicKey.export({ format: 'jwk' }), kid: id });
  /** What a process answers that trusts the provider at this address. */
  const verified = (server: Server, token: string) => new OidcTokens({ issuer: origin(server), audiences: [AUDIENCE], roleClaim: 'roles', roles: null }, () => undefined, () => undefined).verify(token); // prettier-ignore
  const documents = (server: Server) => ({ issuer: origin(server), jwks_uri: `${origin(server)}/keys` });
  const away = { code: 'SERVICE_UNAVAILABLE' };

  test.each<[string, (self: Server) => unknown, () => unknown, object]>([
    ['is as it should be', documents, () => ({ keys: [jwk()] }), { subject: 'forged' }],
    [
      'has keys of other kinds too',
      documents,
      () => ({ keys: [{ kty: 'new' }, { kty: 'RSA' }, {}, jwk()] }),
      { subject: 'forged' },
    ],
    [
      'tells of another issuer',
      (self) => ({ ...documents(self), issuer: `${origin(self)}/` }),
      () => ({ keys: [jwk()] }),
      away,
    ],
    [
      'has its keys at a place without TLS',
      (self) => ({ ...documents(self), jwks_uri: 'http://keys.test/' }),
      () => ({ keys: [jwk()] }),
      away,
    ],
    ['answers with text', () => 'text', () => ({ keys: [jwk()] }), away],
    ['answers without end', documents, () => ({ keys: [jwk()], more: 'x'.repeat(300_000) }), away],
    [
      'sends elsewhere',
      (self) => ({ ...documents(self), jwks_uri: `${origin(self)}/moved` }),
      () => ({ keys: [jwk()] }),
      away,
    ],
    ['never answers', () => null, () => ({ keys: [jwk()] }), away],
  ])('that %s', async (_, document, keys, expected) => {
    const server = await serving((path) => (path.endsWith('openid-configuration') ? document(server) : keys()));
    try {
      const began = Date.now();
      const token = provider.forge({ iss: origin(server) });
      expect(await verified(server, token).catch((error: unknown) => error)).toMatchObject(expected);
      expect(Date.now() - began).toBeLessThan(8000);
    } finally {
      await closing(server);
    }
  });

  test.each<[string, SigningPair, object]>([
    ['too short', signingPair('RS256', 'k', 1024), {}],
    ['on another curve', signingPair('ES256', 'k', 'P-384'), {}],
    ['for encryption', signingPair('RS256'), { use: 'enc' }],
    ['for another algorithm', signingPair('RS256'), { alg: 'RS512' }],
    ['under an id that two have', signingPair('RS256', 'k'), { twice: true }],
  ])('gives nobody a way in by a key that is %s', async (_, key, more) => {
    const keys = [{ ...jwk(key), ...more }, ...('twice' in more ? [jwk(signingPair('RS256', 'k'))] : [])];
    const server = await serving((path) => (path.endsWith('openid-configuration') ? documents(server) : { keys }));
    try {
      const [head, body] = [{ alg: key.algorithm, kid: key.id }, decode(provider.forge({ iss: origin(server) })) as object].map(b64); // prettier-ignore
      const signature = sign('sha256', Buffer.from(`${head}.${body}`), {
        key: key.privateKey,
        dsaEncoding: 'ieee-p1363',
      });
      expect(await verified(server, `${head}.${body}.${signature.toString('base64url')}`)).toBeNull();
    } finally {
      await closing(server);
    }
  });
});

const origin = (server: Server): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

/** A provider's two documents: JSON for an object, no answer at all for null, and a redirect at /moved. */
async function serving(answer: (path: string) => unknown): Promise<Server> {
  const server = createServer(({ url = '' }, response) => {
    if (url === '/moved') return void response.writeHead(302, { location: '/keys' }).end();
    const given = answer(url);
    if (given !== null) response.end(typeof given === 'string' ? given : JSON.stringify(given));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return server;
}

async function closing(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
