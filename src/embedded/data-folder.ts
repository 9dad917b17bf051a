// Part of the room `embedded/`, which can be taken away: nothing here is loaded when DATABASE_URL is set.
import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, readdir, realpath, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, ifThere, writeAtomically } from './files';
import { isStillAlive, markOf } from './processes';

const SECRET_BYTES = 32;
const RIVAL_PATIENCE_MS = 2_000;

/** The data folder cannot be used; the message is a sentence for the operator. */
export class DataFolderError extends Error {}

/** The folder that holds everything the embedded defaults keep, owned by one process at a time. */
export interface DataFolder {
  readonly path: string;
  /** 32 random bytes, made at the first call and the same ever after. */
  secret(name: string): Promise<Buffer>;
  /** Lets the next process have the folder. */
  close(): Promise<void>;
}

/** Makes the folder where it is missing and takes it for this process, or says in a sentence why not. */
export async function openDataFolder(path: string): Promise<DataFolder> {
  const folder = await inPlainWords(path, () => makeFolder(path));
  const lock = await inPlainWords(folder, () => takeLock(folder));
  const secrets = new Map<string, Promise<Buffer>>();
  return {
    path: folder,
    secret: (name) => {
      const known = secrets.get(name) ?? inPlainWords(folder, () => readOrMakeSecret(folder, name));
      secrets.set(name, known);
      return known;
    },
    close: () => removeFile(lock),
  };
}

async function makeFolder(path: string): Promise<string> {
  // Postgres never runs as root: the folders above root's data must let its own user through.
  const aboveMode = process.geteuid?.() === 0 ? 0o755 : 0o700;
  await mkdir(dirname(resolve(path)), { recursive: true, mode: aboveMode });
  await mkdir(resolve(path), { recursive: true, mode: 0o700 });
  const folder = await realpath(path);
  await mkdir(join(folder, 'secrets'), { recursive: true, mode: 0o700 });
  await mkdir(join(folder, 'lock'), { recursive: true, mode: 0o755 });
  return folder;
}

/**
 * Each process that wants the folder first leaves a file named after itself, then looks for others: nobody owns the
 * folder who has not looked after leaving the file, so two can never both miss each other. The name says all there is
 * to know, so a dead process's file may be removed by anyone at any time, and there is no take-over to race for.
 */
async function takeLock(folder: string): Promise<string> {
  const locks = join(folder, 'lock');
  const mark = markOf(process.pid) ?? '';
  const own = `${process.pid}.${mark}`;
  await leaveFile(join(locks, own), folder);
  try {
    const patience = Date.now() + RIVAL_PATIENCE_MS;
    for (;;) {
      const rivals = await livingRivals(locks, own);
      const [rival] = rivals;
      if (rival === undefined) return join(locks, own);
      // Of two that start at once the lower pid stays and the other goes at once; against an owner both lose.
      if (rivals.some((pid) => pid < process.pid) || Date.now() > patience) throw inUse(folder, rival);
      await sleep(20);
    }
  } catch (error) {
    await removeFile(join(locks, own));
    throw error;
  }
}

/** The locks of this process. A file of our name that is not among them is a dead process's that had our pid. */
const held = new Set<string>();

async function leaveFile(path: string, folder: string): Promise<void> {
  if (held.has(path)) throw inUse(folder, process.pid);
  held.add(path);
  try {
    await (await open(path, 'w', 0o644)).close();
  } catch (error) {
    held.delete(path);
    throw error;
  }
}

async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true });
  held.delete(path);
}

async function livingRivals(locks: string, own: string): Promise<number[]> {
  const living: number[] = [];
  for (const name of await readdir(locks)) {
    const [, pid, mark] = /^(\d+)\.(.*)$/.exec(name) ?? [];
    if (name === own || pid === undefined || mark === undefined) continue;
    if (isStillAlive(Number(pid), mark)) living.push(Number(pid));
    else await rm(join(locks, name), { force: true });
  }
  return living;
}

async function readOrMakeSecret(folder: string, name: string): Promise<Buffer> {
  if (!/^[a-z0-9][a-z0-9._-]*$/.test(name)) throw new Error(`"${name}" cannot name a secret`);
  const path = join(folder, 'secrets', name);
  const kept = await ifThere(readFile(path));
  if (kept === undefined) {
    const secret = randomBytes(SECRET_BYTES);
    await writeAtomically(path, secret, 0o600);
    return secret;
  }
  if (kept.length === SECRET_BYTES) return kept;
  throw new DataFolderError(`The secret ${path} is damaged. Remove the file and start again: a new one is made.`);
}

function inUse(folder: string, pid: number): DataFolderError {
  return new DataFolderError(
    `The data folder ${folder} is already in use by process ${pid}. ` +
      'Stop that process, or set KEYFRAME_DATA_DIR to another folder.',
  );
}

/** Turns what the system says into a sentence that names the way out. */
async function inPlainWords<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = codeOf(error);
    if (error instanceof DataFolderError || code === undefined) throw error;
    throw new DataFolderError(
      `The data folder ${folder} cannot be written (${REASONS[code] ?? code}). ` +
        'Set KEYFRAME_DATA_DIR to a folder that this user may write.',
      { cause: error },
    );
  }
}

const REASONS: Record<string, string | undefined> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'a part of its path is a file',
  EEXIST: 'a part of its path is a file',
  ENOENT: 'a part of its path cannot be made',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  ENAMETOOLONG: 'its path is too long',
};
