/**
 * The signing keys of an OpenID provider, found by its discovery document. They are kept while the provider is away, and
 * strangers who make up key ids cannot have it asked more often than once in a few seconds. (The limiter of jwks-rsa counts them
 * against everybody: who floods it keeps known keys from being renewed, and all out.)
 */
import { createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto';
import type { Algorithm } from 'jsonwebtoken';
import { z } from 'zod';
import { RequestError } from '../errors';

/** What is accepted; everything else that the provider may offer is as if it were not there. */
export type SigningAlgorithm = Extract<Algorithm, 'RS256' | 'ES256'>;

interface SigningKey {
  id: string | undefined;
  algorithm: SigningAlgorithm;
  key: KeyObject;
}

/** Asked again in the background when they are older. */
const FRESH_MS = 10 * 60_000;
/** Trusted without a word from the provider for so long at most. */
const TRUSTED_MS = 24 * 3_600_000;
/** Between two questions, whatever is asked for. */
const PAUSE_MS = 5000;
/** For both documents together: a request may be waiting. */
const PATIENCE_MS = 5000;
const MAX_BYTES = 256 * 1024;

const discovery = z.object({ issuer: z.string(), jwks_uri: z.url() });
const keySet = z.object({ keys: z.array(z.record(z.string(), z.unknown())).max(100) });

export class ProviderKeys {
  private keys: readonly SigningKey[] = [];
  private fetchedAt = -Infinity;
  private askedAt = -Infinity;
  private asking: Promise<void> | null = null;

  constructor(
    private readonly issuer: string,
    /** Keys have gone: what was verified with them must be verified again. */
    private readonly onGone: () => void,
    private readonly onTrouble: (error: Error) => void,
  ) {}

  /** Sees to it that keys which the provider has withdrawn are soon known to be; does not wait for it. */
  freshen(): void {
    if (Date.now() - this.fetchedAt > FRESH_MS) void this.ask();
  }

  /** Null when the provider has no such key; SERVICE_UNAVAILABLE when it cannot be asked whether it has. */
  async find(id: string | undefined, algorithm: SigningAlgorithm): Promise<KeyObject | null> {
    const known = this.known(id, algorithm);
    if (known) return known;
    await this.ask();
    if (this.fetchedAt < this.askedAt) throw new RequestError('SERVICE_UNAVAILABLE', AWAY);
    return this.known(id, algorithm);
  }

  /** A token without a key id is for the only key that fits. */
  private known(id: string | undefined, algorithm: SigningAlgorithm): KeyObject | null {
    if (Date.now() - this.fetchedAt > TRUSTED_MS) return null;
    const fitting = this.keys.filter((key) => key.algorithm === algorithm && (id === undefined || key.id === id));
    return (fitting.length === 1 && fitting[0]?.key) || null;
  }

  private ask(): Promise<void> {
    if (this.asking || Date.now() - this.askedAt < PAUSE_MS) return this.asking ?? Promise.resolve();
    this.askedAt = Date.now();
    this.asking = this.fetch()
      .catch((error: unknown) => this.onTrouble(error as Error))
      .finally(() => (this.asking = null));
    return this.asking;
  }

  private async fetch(): Promise<void> {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const where = `${this.issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const { issuer, jwks_uri } = discovery.parse(await readJson(where, signal));
    if (issuer !== this.issuer) throw new Error(`${where} tells of another issuer, ${JSON.stringify(issuer)}`);
    if (!jwks_uri.startsWith('https://') && new URL(jwks_uri).origin !== new URL(this.issuer).origin)
      throw new Error(`${where} names keys that are not served over https`);
    const keys = keySet.parse(await readJson(jwks_uri, signal)).keys.flatMap(signingKey);
    const gone = this.keys.some((old) => !keys.some(({ key }) => key.equals(old.key)));
    this.keys = keys;
    this.fetchedAt = Date.now();
    if (gone) this.onGone();
  }
}

const AWAY = 'The identity provider cannot be asked whether this token is good; try again in a moment.';

/** Redirects are not followed: neither document has a reason to be elsewhere. */
async function readJson(url: string, signal: AbortSignal): Promise<unknown> {
  const response = await fetch(url, { signal, redirect: 'error', headers: { accept: 'application/json' } });
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) throw new Error(`${url} answers with more than ${MAX_BYTES} bytes`);
    chunks.push(chunk);
  }
  if (!response.ok) throw new Error(`${url} answers with status ${response.status}`);
  return JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

/** None, when it is not for signatures or not of a kind that is accepted: RSA of at least 2048 bits, or EC on P-256. */
function signingKey({ kty, use, alg, kid, n, e, crv, x, y }: Record<string, unknown>): SigningKey[] {
  const algorithm = ({ RSA: 'RS256', EC: 'ES256' } as const)[String(kty)];
  if (!algorithm || (use ?? 'sig') !== 'sig' || (alg ?? algorithm) !== algorithm) return [];
  try {
    const jwk = (algorithm === 'RS256' ? { kty, n, e } : { kty, crv, x, y }) as JsonWebKey;
    const key = createPublicKey({ key: jwk, format: 'jwk' });
    const { modulusLength = 0, namedCurve } = key.asymmetricKeyDetails ?? {};
    const fits = algorithm === 'RS256' ? modulusLength >= 2048 : namedCurve === 'prime256v1';
    return fits ? [{ id: typeof kid === 'string' ? kid : undefined, algorithm, key }] : [];
  } catch {
    return [];
  }
}
