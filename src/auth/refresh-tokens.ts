/**
 * Refresh tokens: the session's id, a secret that all tokens of its family share, and one of this token alone. Who has the
 * first knows a session; who has both has, or had, one of its tokens. Only hashes are kept.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

export interface RefreshToken {
  sessionId: string;
  family: string;
  secret: string;
}

const SHAPE = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([\w-]{43})\.([\w-]{43})$/;

export function parseRefreshToken(token: string): RefreshToken | null {
  const [, sessionId, family, secret] = SHAPE.exec(token) ?? [];
  return sessionId && family && secret ? { sessionId, family, secret } : null;
}

export function printRefreshToken({ sessionId, family, secret }: RefreshToken): string {
  return `${sessionId}.${family}.${secret}`;
}

/** 256 bits. */
export function newSecret(): string {
  return randomBytes(32).toString('base64url');
}

/** Of a secret that nobody can guess, a plain hash is enough. */
export function hashOf(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

export function isHashOf(hash: Buffer, secret: string): boolean {
  return timingSafeEqual(hash, hashOf(secret));
}
