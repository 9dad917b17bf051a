/** An OpenID provider, people who sign in there by its form, and tokens that are signed with its keys but are none of its own. */
import { fork, type ChildProcess } from 'node:child_process';
import { generateKeyPairSync, randomUUID, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { sign, type SignOptions } from 'jsonwebtoken';

export const AUDIENCE = 'https://keyframe.test/api';
const BACK = 'https://portal.test/back';

export interface SigningPair {
  id: string;
  algorithm: 'RS256' | 'ES256';
  privateKey: KeyObject;
  publicKey: KeyObject;
}

/** A key as a provider has it; of another size than one should have, if told so. */
export function signingPair(
  algorithm: 'RS256' | 'ES256',
  id: string = randomUUID(),
  size?: number | string,
): SigningPair {
  const pair =
    algorithm === 'RS256'
      ? generateKeyPairSync('rsa', { modulusLength: Number(size ?? 2048) })
      : generateKeyPairSync('ec', { namedCurve: String(size ?? 'P-256') });
  return { id, algorithm, ...pair };
}

export interface ProviderTokens {
  accessToken: string;
  idToken: string;
}

/** Clients of the provider: by the algorithm their tokens are signed with, and whether these tell the login. */
export type ProviderClient = 'RS256' | 'ES256' | 'with-sid';

export class TestProvider {
  private child: ChildProcess | undefined;
  private port = 0;
  private readonly people = new Map<string, object>();

  private constructor(public keys: SigningPair[]) {}

  static async start(): Promise<TestProvider> {
    const provider = new TestProvider([signingPair('RS256'), signingPair('ES256')]);
    await provider.start();
    return provider;
  }

  get issuer(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  pair(algorithm: 'RS256' | 'ES256'): SigningPair {
    const found = this.keys.find((key) => key.algorithm === algorithm);
    if (!found) throw new Error(`the provider has no key for ${algorithm}`);
    return found;
  }

  /** On the same port again, after `stop`; it remembers people, and nothing else. */
  async start(): Promise<void> {
    const script = join(__dirname, 'oidc-provider.mjs');
    this.child = fork(script, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'], execArgv: ['--no-warnings'] });
    const keys = this.keys.map(({ id, algorithm, privateKey }) => ({
      ...privateKey.export({ format: 'jwk' }),
      kid: id,
      alg: algorithm,
      use: 'sig',
    }));
    const clients = (['RS256', 'ES256', 'with-sid'] as const).map((id) => ({
      client_id: id,
      client_secret: 'not secret here',
      redirect_uris: [BACK],
      grant_types: ['authorization_code', 'client_credentials'],
      id_token_signed_response_alg: id === 'ES256' ? 'ES256' : 'RS256',
    }));
    this.child.send({ port: this.port, keys, clients, audience: AUDIENCE });
    const gone = once(this.child, 'exit').then(() => Promise.reject(new Error('the provider ended at its start')));
    const [{ issuer }] = (await Promise.race([once(this.child, 'message'), gone])) as [{ issuer: string }];
    gone.catch(() => undefined);
    this.port = Number(new URL(issuer).port);
    for (const [account, claims] of this.people) await this.know(account, claims);
  }

  async stop(): Promise<void> {
    if (!this.child || this.child.exitCode !== null) return;
    const gone = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await gone;
  }

  /** What tokens that are issued from now on say of a person. */
  async know(account: string, claims: object): Promise<void> {
    this.people.set(account, claims);
    const known = once(this.child as ChildProcess, 'message');
    this.child?.send({ account, claims });
    await known;
  }

  /** Somebody at a browser. */
  visitor(account: string, client: ProviderClient = 'RS256'): Visitor {
    return new Visitor(this.issuer, account, client);
  }

  async clientToken(client: ProviderClient): Promise<string> {
    const answer = await askForTokens(this.issuer, client, { grant_type: 'client_credentials', resource: AUDIENCE });
    return answer.access_token;
  }

  /** A token as the provider makes them, but for what is given; `undefined` leaves a claim out. */
  forge(
    claims: object,
    { key = this.pair('RS256'), header = {} }: { key?: SigningPair; header?: object } = {},
  ): string {
    const now = Math.floor(Date.now() / 1000);
    const whole = { iss: this.issuer, aud: AUDIENCE, sub: 'forged', iat: now, exp: now + 300, ...claims };
    const payload = JSON.parse(JSON.stringify(whole)) as object;
    const options = { algorithm: key.algorithm, header: { alg: key.algorithm, kid: key.id, typ: 'at+jwt', ...header } };
    return sign(payload, key.privateKey, { ...options, noTimestamp: !('iat' in payload) } as SignOptions);
  }
}

/** A browser's cookies, and the forms that it fills in. */
class Visitor {
  private readonly cookies = new Map<string, string>();

  constructor(
    private readonly issuer: string,
    private readonly account: string,
    private readonly client: ProviderClient,
  ) {}

  /** Signs in; again, when the provider does not remember. Each time with new tokens. */
  async signIn(): Promise<ProviderTokens> {
    const asked = new URLSearchParams({ client_id: this.client, response_type: 'code', redirect_uri: BACK, scope: 'openid use', resource: AUDIENCE }); // prettier-ignore
    let at = new URL(`${this.issuer}/auth?${asked.toString()}`);
    for (let steps = 0; at.origin === this.issuer; steps += 1) {
      if (steps > 12) throw new Error(`the provider leads nowhere: ${at.href}`);
      at = await this.step(at);
    }
    const code = at.searchParams.get('code');
    if (!code) throw new Error(`no code: ${at.href}`);
    const answer = await askForTokens(this.issuer, this.client, { grant_type: 'authorization_code', code, redirect_uri: BACK, resource: AUDIENCE }); // prettier-ignore
    return { accessToken: answer.access_token, idToken: answer.id_token };
  }

  /** Where a page leads: by itself, or when its form is filled in. */
  private async step(at: URL): Promise<URL> {
    let response = await this.visit(at);
    if (response.status === 200) {
      const prompt = /name="prompt" value="(\w+)"/.exec(await response.text())?.[1];
      if (!prompt) throw new Error(`a page without a form at ${at.href}`);
      response = await this.visit(at, new URLSearchParams({ prompt, login: this.account, password: 'any' }));
    }
    const next = response.headers.get('location');
    if (!next) throw new Error(`${response.status} at ${at.href}: ${await response.text()}`);
    return new URL(next, at);
  }

  private async visit(at: URL, form?: URLSearchParams): Promise<Response> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(at, { redirect: 'manual', headers: { cookie }, ...(form && { method: 'POST', body: form }) }); // prettier-ignore
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      this.cookies.set(name, value);
    }
    return response;
  }
}

async function askForTokens(
  issuer: string,
  client: string,
  form: Record<string, string>,
): Promise<{ access_token: string; id_token: string }> {
  const response = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${Buffer.from(`${client}:not+secret+here`).toString('base64')}` },
    body: new URLSearchParams(form),
  });
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  return (await response.json()) as { access_token: string; id_token: string };
}
