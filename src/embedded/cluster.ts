// Part of the room `embedded/`, which can be taken away: nothing here is loaded when DATABASE_URL is set.
import { createHash, randomBytes } from 'node:crypto';
import { chmod, chown, mkdir, mkdtemp, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packagedBinaries, removeDrafts, usableBinaries, type Binaries } from './binaries';
import { ifThere, syncFolder, writeAtomically } from './files';
import { EmbeddedPostgresError, run, unprivilegedUser, userOf, type RunAs } from './runner';

/** Where root keeps a cluster whose data folder lets nobody else through. */
const SHARED_PLACE = '/var/lib/keyframe';

/** The passwords of the three roles; made before the cluster and kept beside it. */
export interface Passwords {
  readonly superuser: string;
  readonly owner: string;
  readonly serving: string;
}

/** A database cluster on disk, ready to be served. */
export interface Cluster {
  readonly data: string;
  readonly logFile: string;
  readonly user: RunAs | undefined;
  readonly binaries: Binaries;
  readonly passwords: Passwords;
}

/** Finds the cluster of a data folder, and makes it at the first start. */
export async function openCluster(dataFolder: string, log: (line: string) => void): Promise<Cluster> {
  const folder = await realpath(dataFolder);
  const newcomer = await unprivilegedUser();
  const place = await placeOf(folder, newcomer, log);
  await removeDrafts(place);
  const data = join(place, 'data');
  const kept = await ifThere(stat(data));
  // Whoever owns the cluster must run it, also when root takes over what an ordinary user began.
  const user = newcomer !== undefined && kept !== undefined ? await userOf(kept.uid, kept.gid) : newcomer;
  const binaries = await usableBinaries(packagedBinaries(), place, user);
  const passwords = await readOrMakePasswords(place, kept !== undefined);
  if (kept === undefined) {
    log('embedded Postgres: making the database, once');
    await makeCluster(place, data, binaries, passwords, user);
  }
  return { data, logFile: join(place, 'postgres.log'), user, binaries, passwords };
}

/** The folder `postgres` in the data folder, unless its user cannot get there: then a note there says where. */
async function placeOf(folder: string, user: RunAs | undefined, log: (line: string) => void): Promise<string> {
  const inside = join(folder, 'postgres');
  const note = join(folder, 'postgres-is-elsewhere');
  const elsewhere = await ifThere(readFile(note, 'utf8'));
  if (elsewhere !== undefined) return placeNotedIn(note, elsewhere.trim());
  await mkdir(inside, { recursive: true, mode: 0o700 });
  if (user === undefined || (await ifThere(stat(join(inside, 'data')))) !== undefined) return inside;
  await letThrough(folder, user);
  await letThrough(inside, user);
  if ((await run('test', ['-x', inside], user)).ok) return inside;
  const place = await placeForAll(folder, user);
  log(`embedded Postgres: user ${user.name} cannot reach ${inside}, so the database is kept in ${place}`);
  await writeAtomically(note, `${place}\n`, 0o644);
  return place;
}

/** Opens a folder that is root's alone to the user's group, and to nobody else, as far as to pass through it. */
async function letThrough(folder: string, user: RunAs): Promise<void> {
  const { mode, uid } = await stat(folder);
  if (uid !== 0 || (mode & 0o077) !== 0) return; // a group that has rights keeps them
  await chown(folder, uid, user.gid);
  await chmod(folder, (mode & 0o7777) | 0o010);
}

async function placeNotedIn(note: string, place: string): Promise<string> {
  if ((await ifThere(stat(place))) !== undefined) return place;
  throw new EmbeddedPostgresError(
    `The embedded database is gone: ${note} says that it is in ${place}. Put it back, or remove the note to begin anew.`,
  );
}

/** The random end keeps a data folder that was thrown away and made anew apart from its predecessor. */
async function placeForAll(folder: string, user: RunAs): Promise<string> {
  const name = createHash('sha256').update(folder).digest('hex').slice(0, 12);
  if ((await mkdir(SHARED_PLACE, { recursive: true })) !== undefined) await chmod(SHARED_PLACE, 0o755);
  const place = await mkdtemp(join(SHARED_PLACE, `${name}-`));
  await letThrough(place, user);
  return place;
}

async function readOrMakePasswords(place: string, clusterExists: boolean): Promise<Passwords> {
  const path = join(place, 'passwords.json');
  const kept = await ifThere(readFile(path, 'utf8'));
  if (kept !== undefined) return JSON.parse(kept) as Passwords;
  if (clusterExists) {
    throw new EmbeddedPostgresError(
      `The passwords of the embedded database are gone: ${path} is missing. Put it back.`,
    );
  }
  const password = (): string => randomBytes(24).toString('hex');
  const passwords = { superuser: password(), owner: password(), serving: password() };
  await writeAtomically(path, `${JSON.stringify(passwords)}\n`, 0o600);
  return passwords;
}

/** initdb works in a draft that is renamed at the end, so a start that was cut short leaves no half cluster. */
async function makeCluster(
  place: string,
  data: string,
  binaries: Binaries,
  passwords: Passwords,
  user: RunAs | undefined,
): Promise<void> {
  const draft = await mkdtemp(join(place, 'draft-'));
  try {
    const passwordFile = join(draft, 'password');
    await writeFile(passwordFile, passwords.superuser, { mode: 0o600 });
    if (user !== undefined) for (const path of [draft, passwordFile]) await chown(path, user.uid, user.gid);
    const made = await run(
      binaries.initdb,
      [
        `--pgdata=${join(draft, 'data')}`,
        '--username=postgres',
        `--pwfile=${passwordFile}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        '--locale=C',
        '--locale-provider=builtin', // sorts and folds Unicode without any locale of the system
        '--builtin-locale=C.UTF-8',
        '--set=dynamic_shared_memory_type=mmap',
        '--no-instructions',
      ],
      user,
    );
    if (!made.ok) throw new EmbeddedPostgresError(`The embedded database could not be made: ${lastLines(made.output)}`);
    await rename(join(draft, 'data'), data);
    await syncFolder(place);
  } finally {
    await rm(draft, { recursive: true, force: true, maxRetries: 3 });
  }
}

function lastLines(output: string): string {
  return output.split('\n').slice(-3).join(' ');
}
