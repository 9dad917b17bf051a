import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode, sign } from 'jsonwebtoken';
import { startApp, type App } from '../../src/app';
import { readConfig } from '../../src/config';
import { TestClient, type TestApp } from './app';

const PAIRS = {
  RS256: () => texts(generateKeyPairSync('rsa', { modulusLength: 2048 })),
  ES256: () => texts(generateKeyPairSync('ec', { namedCurve: 'P-256' })),
};

function texts({ publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject }) {
  return {
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

/** A process of role `api` that signs with key files, on the database of the app. */
export function describeKeyFiles(app: () => TestApp): void {
  describe.each(Object.entries(PAIRS))('a key pair for %s', (algorithm, generate) => {
    const { publicKey, privateKey } = generate();
    let api: App;
    let folder: string;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'keyframe-keys-'));
      const [JWT_PRIVATE_KEY, JWT_PUBLIC_KEY] = [join(folder, 'private.pem'), join(folder, 'public.pem')];
      await writeFile(JWT_PRIVATE_KEY, privateKey, { mode: 0o600 });
      await writeFile(JWT_PUBLIC_KEY, publicKey);
      const environment = {
        DATABASE_URL: app().database.url,
        KEYFRAME_DATA_DIR: folder,
        LOG_LEVEL: 'silent',
        PORT: '0',
      };
      api = await startApp(readConfig('api', { ...environment, JWT_PRIVATE_KEY, JWT_PUBLIC_KEY }));
    });
    afterAll(async () => {
      await api.stop();
      await rm(folder, { recursive: true });
    });

    test('signs tokens, and none that were signed otherwise are good', async () => {
      const url = api.url ?? '';
      const { email, password } = await anAccount(app());
      const client = await TestClient.signIn(url, email, password);
      const { header, payload } = decode(client.token ?? '', { complete: true }) ?? {};
      expect(header?.alg).toBe(algorithm);
      const status = async (token: string) => (await new TestClient(url, token, null).send('{ viewer { id } }')).status;
      expect(await status(client.token ?? '')).toBe(200);

      const claims = payload as object;
      const keyid = header?.kid ?? '';
      const signed = (key: string, alg: 'RS256' | 'ES256' | 'HS256') => sign(claims, key, { algorithm: alg, keyid, allowInvalidAsymmetricKeyTypes: true }); // prettier-ignore
      expect(await status(signed(privateKey, algorithm as keyof typeof PAIRS))).toBe(200);
      // The public key is known to everyone: taken for a secret, it would sign anything.
      expect(await status(hmac(claims, keyid, publicKey))).toBe(401);
      for (const other of ['RS256', 'ES256'] as const)
        expect(await status(signed(PAIRS[other]().privateKey, other))).toBe(401);
      expect(await status((await TestClient.signIn(app().url, email, password)).token ?? '')).toBe(401);
    });
  });
}

/** Processes of role `api` on the database of the app, each with keys of its own, as a restart with other keys gives them. */
export function describeRotation(app: () => TestApp, secret: string): void {
  const started = async (keys: Record<string, string>, work: (url: string) => Promise<void>) => {
    const environment = { DATABASE_URL: app().database.url, LOG_LEVEL: 'silent', PORT: '0' };
    const api = await startApp(readConfig('api', { ...environment, ...keys }));
    try {
      await work(api.url ?? '');
    } finally {
      await api.stop();
    }
  };
  const status = async (url: string, token: string | null) =>
    (await new TestClient(url, token, null).send('{ viewer { id } }')).status;
  const kid = (token: string | null) => decode(token ?? '', { complete: true })?.header.kid;

  test('with a new key, what older ones signed stays good, and no longer when they are taken away', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'keyframe-keys-'));
    try {
      const { publicKey, privateKey } = PAIRS.ES256();
      const [JWT_PRIVATE_KEY, JWT_PUBLIC_KEY] = [join(folder, 'private.pem'), join(folder, 'public.pem')];
      await writeFile(JWT_PRIVATE_KEY, privateKey, { mode: 0o600 });
      await writeFile(JWT_PUBLIC_KEY, publicKey);
      const { email, password } = await anAccount(app());
      const oldest = await TestClient.signIn(app().url, email, password);
      let older = oldest;
      await started({ JWT_PRIVATE_KEY, JWT_PUBLIC_KEY, JWT_PREVIOUS_SECRETS: ` ${secret} ` }, async (url) => {
        older = await TestClient.signIn(url, email, password);
        expect([await status(url, oldest.token), await status(url, older.token)]).toEqual([200, 200]);
      });
      const JWT_SECRET = 'another secret of more than thirty-two characters';
      const previous = { JWT_PREVIOUS_SECRETS: secret, JWT_PREVIOUS_PUBLIC_KEYS: JWT_PUBLIC_KEY };
      await started({ JWT_SECRET, ...previous }, async (url) => {
        const { refreshSession } = await new TestClient(url, null, null).query('mutation ($t: String!) { refreshSession(input: { refreshToken: $t }) { accessToken } }', { t: older.refreshToken }); // prettier-ignore
        const newest: string = refreshSession.accessToken;
        expect(new Set([oldest.token, older.token, newest].map(kid)).size).toBe(3);
        for (const token of [oldest.token, older.token, newest]) expect(await status(url, token)).toBe(200);
        // Each key with its own algorithm only, whatever the header says.
        expect(await status(url, hmac(decode(newest) as object, kid(older.token) ?? '', publicKey))).toBe(401);
        expect(await status(url, hmac(decode(newest) as object, 'of no key', JWT_SECRET))).toBe(401);
        expect(await status(url, hmac(decode(newest) as object, undefined, JWT_SECRET))).toBe(401);
        expect(await status(url, hmac(decode(newest) as object, kid(newest), JWT_SECRET))).toBe(200);
      });
      await started({ JWT_SECRET }, async (url) => {
        expect([await status(url, oldest.token), await status(url, older.token)]).toEqual([401, 401]);
      });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
}

let made: Promise<{ email: string; password: string }> | undefined;

function anAccount(app: TestApp): Promise<{ email: string; password: string }> {
  return (made ??= (async () => {
    const email = 'keys@keyframe.test';
    const admin = await app.as('admin');
    const { createUser } = await admin.query('mutation ($email: String!) { createUser(input: { email: $email, role: USER }) { oneTimePassword } }', { email }); // prettier-ignore
    return { email, password: createUser.oneTimePassword };
  })());
}

/** HS256 with a PEM text for its secret, which the library itself refuses to make. */
function hmac(claims: object, kid: string | undefined, secret: string): string {
  const parts = [{ alg: 'HS256', typ: 'JWT', kid }, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString('base64url'),
  );
  const signature = createHmac('sha256', secret).update(parts.join('.')).digest('base64url');
  return [...parts, signature].join('.');
}
