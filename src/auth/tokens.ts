/** Access tokens: signed, short-lived, pinned to one algorithm, issuer and audience. Refresh tokens are in sessions.ts. */
import { createHash, createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import { sign, verify, type Algorithm, type JwtHeader, type JwtPayload } from 'jsonwebtoken';

export const ACCESS_TOKEN_SECONDS = 600;

/** By how much the clocks of two processes of ours may differ. */
const CLOCKS_DIFFER_SECONDS = 60;

export interface TokenSettings {
  /** A secret for HS256, or a PEM key pair: RSA for RS256, a P-256 curve for ES256. */
  key: { secret: Buffer | string } | { privateKey: Buffer; publicKey: Buffer };
  issuer: string;
  audience: string;
}

export interface AccessClaims {
  userId: string;
  sessionId: string;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

export class Tokens {
  private readonly algorithm: Algorithm;
  private readonly signingKey: KeyObject;
  private readonly verifyingKey: KeyObject;
  private readonly keyId: string;

  constructor(private readonly settings: TokenSettings) {
    const { key } = settings;
    if ('secret' in key) {
      this.algorithm = 'HS256';
      // A ready key: given text, the library first tries whether it is a public one, which costs more than the rest.
      this.signingKey = this.verifyingKey = createSecretKey(Buffer.from(key.secret));
      this.keyId = fingerprint(key.secret);
    } else {
      const publicKey = createPublicKey(key.publicKey);
      this.algorithm = publicKey.asymmetricKeyType === 'ec' ? 'ES256' : 'RS256';
      this.signingKey = createPrivateKey(key.privateKey);
      this.verifyingKey = publicKey;
      this.keyId = fingerprint(key.publicKey);
    }
  }

  signAccess({ userId, sessionId }: AccessClaims, role: string): { token: string; expiresAt: Date } {
    const { issuer, audience } = this.settings;
    const expires = Math.floor(Date.now() / 1000) + ACCESS_TOKEN_SECONDS;
    const token = sign({ sid: sessionId, role, exp: expires }, this.signingKey, {
      algorithm: this.algorithm,
      keyid: this.keyId,
      subject: userId,
      issuer,
      audience,
    });
    return { token, expiresAt: new Date(expires * 1000) };
  }

  /** Null for every token that is not whole, ours, for us and in time. Nobody is told which. */
  verifyAccess(token: string | undefined): AccessClaims | null {
    if (!token) return null;
    try {
      const { issuer, audience } = this.settings;
      const { header, payload } = verify(token, this.verifyingKey, {
        complete: true,
        algorithms: [this.algorithm],
        issuer,
        audience,
        maxAge: ACCESS_TOKEN_SECONDS,
      });
      return header.kid === this.keyId && hasOurHeader(header) ? claimsOf(payload) : null;
    } catch {
      return null;
    }
  }
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
