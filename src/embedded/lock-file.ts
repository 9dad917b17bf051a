// Part of the room `embedded/`, which can be taken away: nothing here is loaded when DATABASE_URL is set.
import { chown, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ifThere, writeAtomically } from './files';
import { hasArgument, markOf } from './processes';

/** What Postgres' own lock file, `postmaster.pid`, says, and whether it is true. */
export interface LockFile {
  readonly pid: number;
  readonly port: number | undefined;
  /** Whether that process lives and serves this folder: after a crash the pid may be anybody's. */
  readonly isServer: boolean;
}

/** Reads the lock file of a cluster, if there is one. */
export async function readLockFile(data: string): Promise<LockFile | undefined> {
  const lines = (await ifThere(readFile(join(data, 'postmaster.pid'), 'utf8')))?.split('\n');
  const pid = Number(lines?.[0]);
  if (lines === undefined || !Number.isInteger(pid) || pid <= 0) return undefined;
  const port = Number(lines[3]);
  return {
    pid,
    port: Number.isInteger(port) && port > 0 ? port : undefined,
    isServer: markOf(pid) !== undefined && (hasArgument(pid, data) ?? true),
  };
}

/**
 * Postgres will not start while the pid in a left-over lock file belongs to anybody. Removing the file would also take
 * away the check for backends that still write; so only the pid is replaced, by ours, which Postgres lets pass as its parent's.
 */
export async function settleStaleLockFile(data: string): Promise<void> {
  const path = join(data, 'postmaster.pid');
  const left = await readLockFile(data);
  if (left === undefined || left.isServer) return;
  const { uid, gid } = await stat(path);
  const [, ...rest] = (await readFile(path, 'utf8')).split('\n');
  await writeAtomically(path, [process.pid, ...rest].join('\n'), 0o600);
  await chown(path, uid, gid);
}
