/** Passwords: argon2id with the library's defaults (OWASP's minimum), and what makes one acceptable by NIST SP 800-63B. */
import { randomBytes } from 'node:crypto';
import { hash, verify } from '@node-rs/argon2';
import { invalidInput } from '../errors';
import { isGuessable } from './guessable';

const LENGTH = { min: 15, max: 128 };
/** Four code points at most become one, each of two code units: what is longer has too many characters in every form. */
const LONGEST_TEXT = 4 * 2 * LENGTH.max + 1;

/** Each takes 19 MiB and a thread for tens of milliseconds, and there are four threads, which files and names need too. */
const AT_ONCE = 2;

/** The same text on every keyboard: a letter with its accent as one character or as two is one letter. */
export const normal = (password: string) => password.slice(0, LONGEST_TEXT).normalize('NFKC');

/** The hash as a PHC string. */
export function hashPassword(password: string): Promise<string> {
  return inTurn(() => hash(normal(password)));
}

/** Takes as long for an account that does not exist (`passwordHash` null) as for one that does. */
export async function passwordFits(passwordHash: string | null, password: string): Promise<boolean> {
  const known = passwordHash ?? (await decoy);
  let fits = false;
  // As it was typed, too: hashes that are older than the normal form were made of that. What is left out was too long to fit.
  const forms = [normal(password), password].map((form) => form.slice(0, 2 * LENGTH.max + 1));
  for (const form of new Set(forms)) fits = (await inTurn(() => verify(known, form))) || fits;
  return passwordHash !== null && fits;
}

/** Throws INVALID_INPUT with a sentence unless it has 15 to 128 characters and is not easily guessed of this person. */
export function judgePassword(password: string, field: string, names: string[]): void {
  const text = normal(password);
  const length = [...text].length;
  if (length < LENGTH.min || length > LENGTH.max) {
    throw invalidInput(field, `A password has ${LENGTH.min} to ${LENGTH.max} characters.`);
  }
  if (isGuessable(text, names)) {
    throw invalidInput(
      field,
      'This password is among the commonly used ones, or made of a few of them or of your own names; choose another.',
    );
  }
}

/** 120 bits in letters and digits, for a password that must be changed at once. */
export function oneTimePassword(): string {
  return randomBytes(15)
    .toString('hex')
    .replace(/(.{6})(?=.)/g, '$1-');
}

let running = 0;
const waiting: (() => void)[] = [];

async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (running < AT_ONCE) running += 1;
  else await new Promise<void>((go) => waiting.push(go));
  try {
    return await work();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else running -= 1;
  }
}

const decoy = hashPassword(randomBytes(32).toString('hex'));
