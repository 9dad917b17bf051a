/** Access tokens: signed, short-lived, pinned to one algorithm, issuer and audience. Refresh tokens are in refresh-tokens.ts. */
import { createHash, createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import { sign, verify, type Algorithm, type JwtHeader, type JwtPayload } from 'jsonwebtoken';

export const ACCESS_TOKEN_SECONDS = 600;
/** Ours have about 400 characters; nothing longer is looked at. */
const LONGEST_TOKEN = 4096;

interface Secret {
  /** For HS256. */
  secret: Buffer | string;
}

interface PublicKey {
  /** A PEM: RSA for RS256, a P-256 curve for ES256. */
  publicKey: Buffer;
}

/** By how much the clocks of two processes of ours may differ. */
const CLOCKS_DIFFER_SECONDS = 60;

export interface TokenSettings {
  /** Signs, and verifies what it signed. */
  key: Secret | (PublicKey & { privateKey: Buffer });
  /** Those that signed before it: what they signed stays good until it expires. */
  previous?: readonly (Secret | PublicKey)[];
  issuer: string;
  audience: string;
}

export interface AccessClaims {
  userId: string;
  sessionId: string;
}

/** A key with the only algorithm it is good for. */
interface Verifier {
  id: string;
  algorithm: Algorithm;
  key: KeyObject;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export class Tokens {
  private readonly signer: Verifier;
  /** By key id. */
  private readonly verifiers: ReadonlyMap<string, Verifier>;

  constructor(private readonly settings: TokenSettings) {
    const { key, previous = [] } = settings;
    const verifier = verifierOf(key);
    this.signer = 'privateKey' in key ? { ...verifier, key: createPrivateKey(key.privateKey) } : verifier;
    this.verifiers = new Map([...previous.map(verifierOf), verifier].map((each) => [each.id, each]));
  }

  signAccess({ userId, sessionId }: AccessClaims, role: string): { token: string; expiresAt: Date } {
    const { issuer, audience } = this.settings;
    const expires = Math.floor(Date.now() / 1000) + ACCESS_TOKEN_SECONDS;
    const token = sign({ sid: sessionId, role, exp: expires }, this.signer.key, {
      algorithm: this.signer.algorithm,
      keyid: this.signer.id,
      subject: userId,
      issuer,
      audience,
    });
    return { token, expiresAt: new Date(expires * 1000) };
  }

  /** Null for every token that is not whole, ours, for us and in time. Nobody is told which. */
  verifyAccess(token: string | undefined): AccessClaims | null {
    if (!token || token.length > LONGEST_TOKEN) return null;
    try {
      const verifier = this.verifiers.get(keyIdOf(token));
      if (!verifier) return null;
      const { issuer, audience } = this.settings;
      const { header, payload } = verify(token, verifier.key, {
        complete: true,
        algorithms: [verifier.algorithm],
        issuer,
        audience,
        maxAge: ACCESS_TOKEN_SECONDS,
      });
      return hasOurHeader(header) ? claimsOf(payload) : null;
    } catch {
      return null;
    }
  }
}

function verifierOf(key: Secret | PublicKey): Verifier {
  if ('secret' in key) {
    // A ready key: given text, the library first tries whether it is a public one, which costs more than the rest.
    return { id: fingerprint(key.secret), algorithm: 'HS256', key: createSecretKey(Buffer.from(key.secret)) };
  }
  const publicKey = createPublicKey(key.publicKey);
  const algorithm = publicKey.asymmetricKeyType === 'ec' ? 'ES256' : 'RS256';
  return { id: fingerprint(key.publicKey), algorithm, key: publicKey };
}

/** What a token that nobody has verified yet says of its key: good for nothing but choosing one of ours. */
function keyIdOf(token: string): string {
  const header = Buffer.from(token.slice(0, token.indexOf('.')), 'base64url').toString();
  return (JSON.parse(header) as { kid: string }).kid;
}

/** Ours have nothing else in it: neither a key nor a place to fetch one, nor what must be understood first (RFC 7515, 8725). */
function hasOurHeader(header: JwtHeader): boolean {
  return header.typ === 'JWT' && Object.keys(header).every((name) => ['alg', 'typ', 'kid'].includes(name));
}

/** The library judges a time only where there is one, and none that is too far off. */
function isInTime({ iat, exp }: JwtPayload): boolean {
  if (iat === undefined || exp === undefined) return false;
  return exp - iat <= ACCESS_TOKEN_SECONDS && iat <= Date.now() / 1000 + CLOCKS_DIFFER_SECONDS;
}

function claimsOf(payload: JwtPayload | string): AccessClaims | null {
  if (typeof payload === 'string' || !isInTime(payload)) return null;
  const { sub: userId, sid: sessionId } = payload as { sub?: unknown; sid?: unknown };
  const whole =
    typeof userId === 'string' && typeof sessionId === 'string' && UUID.test(userId) && UUID.test(sessionId);
  return whole ? { userId, sessionId } : null;
}

function fingerprint(key: Buffer | string): string {
  return createHash('sha256').update('key id ').update(key).digest('base64url').slice(0, 12);
}
