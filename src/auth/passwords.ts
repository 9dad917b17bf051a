/** Passwords: argon2id with the library's defaults (OWASP's minimum), and what makes one acceptable. */
import { randomBytes } from 'node:crypto';
import { hash, verify } from '@node-rs/argon2';
import { AppError, UserErrorCode } from '../errors';
import { COMMON_PASSWORDS } from './common-passwords';

const LENGTH = { min: 15, max: 128 };

/** The hash as a PHC string. */
export function hashPassword(password: string): Promise<string> {
  return hash(password);
}

/** Takes as long for an account that does not exist (`passwordHash` null) as for one that does. */
export async function passwordFits(passwordHash: string | null, password: string): Promise<boolean> {
  // A character has up to two code units: what is left out here was too long to fit anything.
  const fits = await verify(passwordHash ?? (await decoy), password.slice(0, 2 * LENGTH.max + 1));
  return passwordHash !== null && fits;
}

/** Throws INVALID_INPUT with a sentence unless it has 15 to 128 characters and is not a common one. */
export function judgePassword(password: string, field: string[]): void {
  const length = [...password].length;
  if (length < LENGTH.min || length > LENGTH.max) {
    throw new AppError(UserErrorCode.INVALID_INPUT, `A password has ${LENGTH.min} to ${LENGTH.max} characters.`, {
      field,
    });
  }
  if (isCommon(password)) {
    throw new AppError(UserErrorCode.INVALID_INPUT, 'This password is among the commonly used ones; choose another.', {
      field,
    });
  }
}

/** 120 bits in letters and digits, for a password that must be changed at once. */
export function oneTimePassword(): string {
  return randomBytes(15)
    .toString('hex')
    .replace(/(.{6})(?=.)/g, '$1-');
}

/** Listed, one character or short word over and over, or a plain run along the alphabet or the digits. */
function isCommon(password: string): boolean {
  const plain = password.toLowerCase().replace(/\s+/g, '');
  const runs = 'abcdefghijklmnopqrstuvwxyz'.repeat(3) + '0123456789'.repeat(6) + '01234567890'.repeat(6);
  return COMMON_PASSWORDS.has(plain) || /^(.{1,8}?)\1+.{0,7}$/s.test(plain) || runs.includes(plain);
}

const decoy = hash(randomBytes(32).toString('hex'));
