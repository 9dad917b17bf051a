// Part of the room `embedded/`, which can be taken away: nothing here is loaded when DATABASE_URL is set.
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';

/** Embedded Postgres cannot be had; the message is a sentence for the operator. */
export class EmbeddedPostgresError extends Error {}

/** The user that Postgres' programs run as; undefined means: as we do. */
export interface RunAs {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** Nothing of the operator's locale, time zone or PG… variables may reach the programs. */
export const CLEAN_ENVIRONMENT = { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/bin:/bin' };

/** Postgres refuses to run as root, so root hands it to `postgres`, else to `nobody`. */
export async function unprivilegedUser(): Promise<RunAs | undefined> {
  if (process.geteuid?.() !== 0) return undefined;
  const users = await knownUsers();
  const user =
    users.find(({ name, uid }) => name === 'postgres' && uid !== 0) ?? users.find(({ name }) => name === 'nobody');
  if (user !== undefined) return user;
  throw new EmbeddedPostgresError(
    'Postgres does not run as root, and this machine has neither a user "postgres" nor "nobody" to run it as. ' +
      'Start Keyframe as an ordinary user, or set DATABASE_URL.',
  );
}

/** The user with this number, to go on with a cluster that belongs to it. */
export async function userOf(uid: number, gid: number): Promise<RunAs> {
  const known = (await knownUsers()).find((user) => user.uid === uid);
  return known ?? { name: String(uid), uid, gid };
}

/** Runs one of Postgres' programs to its end and gives its output, both streams together. */
export function run(
  program: string,
  args: string[],
  user: RunAs | undefined,
): Promise<{ ok: boolean; output: string }> {
  const identity = user === undefined ? {} : { uid: user.uid, gid: user.gid };
  const options = { ...identity, cwd: '/', env: CLEAN_ENVIRONMENT, windowsHide: true };
  return new Promise((resolve) => {
    execFile(program, args, options, (error, stdout, stderr) => {
      const output = `${stdout}${stderr}`.trim();
      resolve({ ok: error === null, output: output === '' && error !== null ? error.message : output });
    });
  });
}

async function knownUsers(): Promise<RunAs[]> {
  const lines = (await readFile('/etc/passwd', 'utf8').catch(() => '')).split('\n');
  return lines.flatMap((line) => {
    const [name, , uid, gid] = line.split(':');
    return name === undefined || uid === undefined || gid === undefined
      ? []
      : [{ name, uid: Number(uid), gid: Number(gid) }];
  });
}
