import { EngineError } from './engine';

const NEW_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/;

/**
 * The last wall before the wire: the engine itself takes `..` for a snapshot's name and then deletes the run
 * directories of every instance, so nothing that was not judged may be sent to it as a new name.
 */
export function assertNewSnapshotName(name: string): void {
  if (NEW_NAME.test(name) && !name.includes('..')) return;
  throw new EngineError(
    'REJECTED',
    `${quoted(name)} cannot be the name of a snapshot: use 1 to 64 letters, digits, dots, dashes and underscores, ` +
      'with a letter or digit at both ends and no two dots in a row.',
  );
}

/** Whether a name that was found on the engine can stand in a URL to it; the engine decodes paths twice. */
export function isReachable(name: string): boolean {
  // Control characters would stand as a range of themselves in a pattern, so their class is named instead.
  return name !== '' && name !== '.' && name !== '..' && !/[\p{Cc}%/\\?#]/u.test(name);
}

/** Refuses an act on something whose name the engine's API cannot address. */
export function assertReachable(name: string, what: 'snapshot' | 'instance' | 'project'): void {
  if (isReachable(name)) return;
  throw new EngineError(
    'REJECTED',
    `The engine's API cannot address the ${what} ${quoted(name)}: its name holds characters that do not survive ` +
      'in a URL. It can only be dealt with on the engine itself.',
  );
}

/** `/1.0/instances/{name}/…?project=…`; every part is escaped here and nowhere else. */
export function urlOf(at: { project: string; name: string }, below?: 'snapshots', snapshot = '', query = ''): string {
  const parts = [at.name, below, snapshot].filter((part) => part !== undefined && part !== '');
  const path = parts.map((part) => encodeURIComponent(part ?? '')).join('/');
  return `/1.0/instances/${path}?${scopeOf(at.project)}${query === '' ? '' : `&${query}`}`;
}

/** The query that says which project is meant. */
export function scopeOf(project: string): string {
  return `project=${encodeURIComponent(project)}`;
}

function quoted(name: string): string {
  return JSON.stringify(name.length > 40 ? `${name.slice(0, 40)}…` : name);
}
