/** What a snapshot may be called. Stricter than any engine: some names destroy a daemon's folders or can never be deleted. */
import { AppError, UserErrorCode } from '../errors';

const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/;

const RULE =
  'A name has 1 to 64 letters, digits, dots, dashes and underscores, begins and ends with a letter or a digit, and has no two dots in a row.';

/** Throws NAME_INVALID unless a snapshot may be given this name. */
export function judgeName(name: string, field = 'name'): void {
  if (!NAME.test(name) || name.includes('..')) {
    throw new AppError(UserErrorCode.NAME_INVALID, RULE, {
      field: [field],
      remediation: 'Choose another name, for example before-upgrade.',
    });
  }
}

/**
 * Whether the engine can be asked to act on a snapshot of this name, which may have been found there. Incus and LXD decode a
 * path twice, so `%`, `/`, `?` and `#` never reach the snapshot they name, and dots alone would leave its folder.
 */
export function canActOn(name: string): boolean {
  return name !== '' && !/[%/\\?#\u0000-\u001f\u007f]/.test(name) && !/^\.+$/.test(name) && !name.includes('..');
}
