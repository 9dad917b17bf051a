/** Access tokens: signed, short-lived, pinned to one algorithm, issuer and audience. Refresh tokens are in sessions.ts. */
import { createHash, createPrivateKey, createPublicKey, createSecretKey, type KeyObject } from 'node:crypto';
import { sign, verify, type Algorithm, type JwtPayload } from 'jsonwebtoken';

export const ACCESS_TOKEN_SECONDS = 600;

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
      // RFC 7515: a header that must be understood and is not makes the token invalid; the library lets it pass.
      if ('crit' in header || (header.kid !== undefined && header.kid !== this.keyId)) return null;
      return claimsOf(payload);
    } catch {
      return null;
    }
  }
}

function claimsOf(payload: JwtPayload | string): AccessClaims | null {
  if (typeof payload === 'string') return null;
  const { sub: userId, sid: sessionId } = payload as { sub?: unknown; sid?: unknown };
  const whole =
    typeof userId === 'string' && typeof sessionId === 'string' && UUID.test(userId) && UUID.test(sessionId);
  return whole ? { userId, sessionId } : null;
}

function fingerprint(key: Buffer | string): string {
  return createHash('sha256').update('key id ').update(key).digest('base64url').slice(0, 12);
}
