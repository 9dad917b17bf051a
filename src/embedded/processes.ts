// Part of the room `embedded/`, which can be taken away: nothing here is loaded when DATABASE_URL is set.
import { readFileSync } from 'node:fs';
import { codeOf } from './files';

const UNKNOWN = 'unknown';

/**
 * Tells a living process from a later one that got the same pid: its start time and the boot it belongs to, where
 * /proc says so. Undefined when no such process lives.
 */
export function markOf(pid: number): string | undefined {
  if (!answersSignals(pid)) return undefined;
  const stat = readIfPossible(`/proc/${pid}/stat`);
  if (stat === undefined) return UNKNOWN;
  // The second field is the program's name in brackets and may itself hold spaces and brackets.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (fields[0] === 'Z' || fields[0] === 'X') return undefined; // killed, only not yet waited for
  const boot = readIfPossible('/proc/sys/kernel/random/boot_id')?.slice(0, 8) ?? UNKNOWN;
  return `${fields[19] ?? UNKNOWN}-${boot}`;
}

/** Whether the process that once had this pid and mark is still alive; in doubt it is. */
export function isStillAlive(pid: number, mark: string): boolean {
  const current = markOf(pid);
  return current !== undefined && (current === mark || current === UNKNOWN || mark === UNKNOWN);
}

/** Whether a living process was started with this argument; undefined where the machine does not tell. */
export function hasArgument(pid: number, argument: string): boolean | undefined {
  return readIfPossible(`/proc/${pid}/cmdline`)?.split('\0').includes(argument);
}

function answersSignals(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === 'EPERM'; // it lives, but is another user's
  }
}

function readIfPossible(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
