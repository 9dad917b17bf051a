/** Part of the `local` engine, which can be taken away (see local.ts): copies that are whole and writes that are atomic. */
import { randomBytes } from 'node:crypto';
import { constants, type Dirent, type Stats } from 'node:fs';
import {
  chmod,
  copyFile,
  lstat,
  lutimes,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  symlink,
  utimes,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Files of one directory that are copied side by side: enough to share a disk's flushes, too few to run out of handles. */
const BATCH = 16;

/** Whether a failure of the file system has one of these codes. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && codes.includes(String(error.code));
}

/** What a look gives, or null when there is nothing to look at. */
export async function orNull<T>(look: Promise<T>): Promise<T | null> {
  try {
    return await look;
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return null;
    throw error;
  }
}

/** The entries of a directory in order of their names; none when it is not there. */
export async function entries(path: string): Promise<Dirent[]> {
  const found = (await orNull(readdir(path, { withFileTypes: true }))) ?? [];
  return found.sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** A name for what is still being built: hidden from lists, and swept away when the engine opens. */
export const temporaryName = (): string => `.new-${randomBytes(6).toString('hex')}`;

/**
 * Copies a tree as it is (links as links, modes, times), sharing blocks where the file system can, and says how many
 * bytes its files hold. What vanishes while it is copied is left out; pipes, sockets and devices are too.
 */
export async function copyTree(from: string, to: string, signal: AbortSignal): Promise<number> {
  const facts = await lstat(from);
  await mkdir(to, { mode: 0o700 });
  let bytes = 0;
  const found = await entries(from);
  const inner = found.filter((entry) => entry.isDirectory());
  const rest = found.filter((entry) => !entry.isDirectory());
  for (let start = 0; start < rest.length; start += BATCH) {
    signal.throwIfAborted();
    const copies = rest.slice(start, start + BATCH).map(({ name }) => copyOne(join(from, name), join(to, name)));
    // All of them must have ended before a failure is passed on, or they would write into what is being removed.
    for (const copy of await Promise.allSettled(copies)) {
      if (copy.status === 'rejected') throw copy.reason;
      bytes += copy.value;
    }
  }
  for (const { name } of inner) {
    signal.throwIfAborted();
    bytes += (await orNull(copyTree(join(from, name), join(to, name), signal))) ?? 0;
  }
  await syncFolder(to);
  await chmod(to, facts.mode);
  await utimes(to, facts.atime, facts.mtime);
  return bytes;
}

async function copyOne(from: string, to: string): Promise<number> {
  const facts = await orNull(lstat(from));
  if (facts === null) return 0;
  if (facts.isSymbolicLink()) return (await orNull(copyLink(from, to, facts))) ?? 0;
  return facts.isFile() ? ((await orNull(copyFileWith(from, to, facts))) ?? 0) : 0;
}

async function copyLink(from: string, to: string, facts: Stats): Promise<number> {
  await symlink(await readlink(from), to);
  await lutimes(to, facts.atime, facts.mtime);
  return 0;
}

async function copyFileWith(from: string, to: string, facts: Stats): Promise<number> {
  await copyFile(from, to, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
  const handle = await open(to, 'r');
  try {
    await handle.chmod(facts.mode);
    await handle.utimes(facts.atime, facts.mtime);
    await handle.sync();
    return (await handle.stat()).size;
  } finally {
    await handle.close();
  }
}

/** Removes a tree, also where its directories are write-protected; succeeds when it is not there. */
export async function removeTree(path: string): Promise<void> {
  const options = { recursive: true, force: true, maxRetries: 3 };
  try {
    await rm(path, options);
  } catch (error) {
    if (!hasCode(error, 'EACCES', 'EPERM')) throw error;
    await openUp(path);
    await rm(path, options);
  }
}

async function openUp(folder: string): Promise<void> {
  await chmod(folder, 0o700);
  for (const entry of await entries(folder)) if (entry.isDirectory()) await openUp(join(folder, entry.name));
}

/** The file's JSON; null when it is missing or is no JSON. */
export async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    if (error instanceof SyntaxError || hasCode(error, 'ENOENT', 'ENOTDIR', 'EISDIR')) return null;
    throw error;
  }
}

/** Writes a new file and waits until it is on the disk. */
export async function writeFlushed(path: string, text: string): Promise<void> {
  const handle = await open(path, 'w');
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** JSON for people: they read and edit these files. */
export const printJson = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** Replaces a file in two steps: the first may fail and changes nothing, the second is one rename. */
export async function prepareFile(
  path: string,
  text: string,
): Promise<{ commit(): Promise<void>; drop(): Promise<void> }> {
  const fresh = join(dirname(path), `${temporaryName()}-${basename(path)}`);
  const drop = (): Promise<void> => rm(fresh, { force: true });
  try {
    await writeFlushed(fresh, text);
  } catch (error) {
    await drop();
    throw error;
  }
  const commit = async (): Promise<void> => {
    await rename(fresh, path);
    await syncFolder(dirname(path));
  };
  return { commit, drop };
}

/**
 * Makes the names in a folder last. It never fails: what it follows has been done, and calling that undone would be
 * worse than a power cut that undoes it.
 */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r').catch(() => null);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}
