/** Access tokens made by hand, so that every part of them can be as a test wants it, and the processes that must not take them. */
import { createHmac, generateKeyPairSync, sign as signWith, type KeyObject } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode, type JwtHeader, type JwtPayload } from 'jsonwebtoken';
import { startApp } from '../../src/app';
import { readConfig } from '../../src/config';
import { startTestApp, TestClient, type TestApp } from './app';

export type Algorithm = 'HS256' | 'RS256' | 'ES256';

/** A running process with what an attacker knows of it, and with the key that an attacker does not have. */
export interface Target {
  name: Algorithm;
  url: string;
  /** Of somebody who is signed in here. */
  good: string;
  refreshToken: string;
  header: JwtHeader;
  claims: JwtPayload;
  /** Signs as the process does. */
  sign: Signer;
  /** PEM; null where there is only a secret. */
  publicKey: string | null;
  stop: () => Promise<void>;
}

export type Signer = (input: string) => string;

export const base64url = (data: string | Buffer): string => Buffer.from(data).toString('base64url');
export const now = (): number => Math.floor(Date.now() / 1000);
export const hmac = (secret: string | Buffer, digest = 'sha256'): Signer => (input) => createHmac(digest, secret).update(input).digest('base64url'); // prettier-ignore
export const rsa = (key: KeyObject, digest = 'sha256', more: object = {}): Signer => (input) => base64url(signWith(digest, Buffer.from(input), { key, ...more })); // prettier-ignore
export const ecdsa = (key: KeyObject, dsaEncoding: 'der' | 'ieee-p1363' = 'ieee-p1363'): Signer => (input) => base64url(signWith('sha256', Buffer.from(input), { key, dsaEncoding })); // prettier-ignore

/** A token of these parts; a text stands for itself, an object for its JSON. */
export function token(header: object | string, payload: object | string | Buffer, sign: Signer): string {
  const text = (part: object | string | Buffer) =>
    base64url(typeof part === 'string' || Buffer.isBuffer(part) ? part : JSON.stringify(part));
  const input = `${text(header)}.${text(payload)}`;
  return `${input}.${sign(input)}`;
}

/** As the target makes its own, but for what is given; `undefined` leaves a member out. */
export function forged(of: Target, { header = {}, claims = {}, sign = of.sign }: Forgery = {}): string {
  const fresh = { iat: now(), exp: now() + 60 };
  return token({ ...of.header, ...header }, { ...of.claims, ...fresh, ...claims }, sign);
}

export interface Forgery {
  header?: object;
  claims?: object;
  sign?: Signer;
}

export const rsaPair = () => generateKeyPairSync('rsa', { modulusLength: 2048 });
export const ecPair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' });

/** One with a secret, and on its database one for each kind of key pair. */
export async function startTargets(): Promise<Target[]> {
  const secret = 'a secret that only this installation knows';
  const app = await startTestApp({ env: { JWT_SECRET: secret, TRUST_PROXY: '1', OBSERVE_INTERVAL_SECONDS: '3600' } });
  const client = await app.as('alice');
  const { email, password } = await ownAccount(app);
  const [rs, es] = [rsaPair(), ecPair()];
  return [
    describedAs('HS256', client, hmac(secret), null, () => app.stop()),
    await withKeys('RS256', app, rs, rsa(rs.privateKey), { email, password }),
    await withKeys('ES256', app, es, ecdsa(es.privateKey), { email, password }),
  ];
}

async function withKeys(
  name: Algorithm,
  app: TestApp,
  { publicKey, privateKey }: { publicKey: KeyObject; privateKey: KeyObject },
  sign: Signer,
  { email, password }: { email: string; password: string },
): Promise<Target> {
  const folder = await mkdtemp(join(tmpdir(), 'keyframe-forge-'));
  const [JWT_PRIVATE_KEY, JWT_PUBLIC_KEY] = [join(folder, 'private.pem'), join(folder, 'public.pem')];
  const publicPem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  await writeFile(JWT_PRIVATE_KEY, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  await writeFile(JWT_PUBLIC_KEY, publicPem);
  const environment = {
    DATABASE_URL: app.database.url,
    KEYFRAME_DATA_DIR: folder,
    LOG_LEVEL: 'silent',
    PORT: '0',
    TRUST_PROXY: '1',
  };
  const api = await startApp(readConfig('api', { ...environment, JWT_PRIVATE_KEY, JWT_PUBLIC_KEY }));
  const client = await TestClient.signIn(api.url ?? '', email, password);
  return describedAs(name, client, sign, publicPem, async () => {
    await api.stop();
    await rm(folder, { recursive: true });
  });
}

function describedAs(
  name: Algorithm,
  { url, token: good, refreshToken }: TestClient,
  sign: Signer,
  publicKey: string | null,
  stop: () => Promise<void>,
): Target {
  const decoded = good && decode(good, { complete: true });
  if (!decoded || typeof decoded.payload === 'string') throw new Error('signing in gave no token');
  const { header, payload } = decoded;
  return { name, url, good, refreshToken: refreshToken ?? '', header, claims: payload, sign, publicKey, stop };
}

async function ownAccount(app: TestApp): Promise<{ email: string; password: string }> {
  const email = 'keys@keyframe.test';
  const admin = await app.as('admin');
  const { createUser } = await admin.query('mutation ($email: String!) { createUser(input: { email: $email, role: USER }) { oneTimePassword } }', { email }); // prettier-ignore
  return { email, password: createUser.oneTimePassword };
}
