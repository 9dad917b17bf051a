/** What the benchmarks share: medians, a database server with durability on, and the program on it. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Pool } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { startApp, type App } from '../src/app';
import { readConfig, type ProcessRole } from '../src/config';
import { openDataFolder } from '../src/embedded/data-folder';
import { startPostgres, type EmbeddedPostgres } from '../src/embedded/postgres';
import { Role, UserStatus } from '../src/entities/enums';
import { Audit } from '../src/services/audit';
import { Users } from '../src/services/users';

export function quantile(values: number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? NaN;
}

export const median = (values: number[]) => quantile(values, 0.5);

/** Milliseconds that `work` takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = process.hrtime.bigint();
  await work();
  return Number(process.hrtime.bigint() - start) / 1e6;
}

export interface Bench {
  folder: string;
  postgres: EmbeddedPostgres;
  env: Record<string, string>;
  /** Starts the program in this process. */
  start: (role: ProcessRole) => Promise<App>;
}

/** Runs `work` on a Postgres of its own, with the embedded defaults' settings (fsync on), and leaves nothing behind. */
export async function onPostgres(work: (bench: Bench) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'keyframe-bench-'));
  const owned = await openDataFolder(join(folder, 'database'));
  const postgres = await startPostgres(owned.path, () => undefined);
  const env = {
    DATABASE_URL: postgres.url,
    DATABASE_MIGRATION_URL: postgres.migrationUrl,
    KEYFRAME_DATA_DIR: join(folder, 'data'),
    KEYFRAME_DEMO: '0',
    JWT_SECRET: randomBytes(32).toString('hex'),
    LOG_LEVEL: process.env.LOG_LEVEL ?? 'silent',
    // One account at one address asks as often as it can.
    RATE_LIMIT_PER_MINUTE_ACCOUNT: '0',
    RATE_LIMIT_PER_MINUTE_TOKEN: '0',
    RATE_LIMIT_PER_MINUTE_ADDRESS: '0',
    PORT: '0',
  };
  try {
    await work({ folder, postgres, env, start: (role) => startApp(readConfig(role, env)) });
  } finally {
    await postgres.stop();
    await owned.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** An operator who may sign in at once, and a token of theirs. */
export async function operatorToken(app: Pick<App, 'db' | 'url'>): Promise<string> {
  const password = randomBytes(12).toString('hex');
  if (!app.db) throw new Error('a process without a database');
  const author = { actor: null, correlationId: 'bench', origin: { address: null, client: 'bench' } };
  await new Users(app.db, new Audit(null)).insert(
    author,
    { email: 'bench@keyframe.test', role: Role.OPERATIONS },
    password,
    UserStatus.ACTIVE,
  );
  const body = await post(
    app.url ?? '',
    null,
    'mutation ($p: String!) { signIn(input: { email: "bench@keyframe.test", password: $p }) { accessToken } }',
    { p: password },
  );
  return body.data.signIn.accessToken;
}

/** Migrates, and gives the token of an operator; nothing runs afterwards. */
export async function firstOperator(start: Bench['start']): Promise<string> {
  await (await start('migrate')).stop();
  const first = await start('api');
  const token = await operatorToken(first);
  await first.stop();
  return token;
}

export async function post(url: string, token: string | null, query: string, variables: object = {}): Promise<any> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ query, variables }),
  });
  return response.json();
}

export interface Process {
  pid: number;
  /** Of a process with an API. */
  url: string;
  /** Asks it to end; gives the exit code. */
  end: (signal?: NodeJS.Signals) => Promise<number | null>;
}

/** Starts the program as a process of its own, and waits until it is ready (an API) or runs (a worker). */
export async function startProcess(
  env: Record<string, string>,
  role: ProcessRole,
  directory = join(__dirname, '..'),
): Promise<Process> {
  const child = spawn(process.execPath, ['-r', '@swc-node/register', 'src/main.ts', '--role', role], {
    cwd: directory,
    env: { PATH: process.env.PATH, HOME: '/nonexistent', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  process.once('exit', () => child.kill()); // whatever becomes of the bench, nothing stays behind
  const exit = once(child, 'exit').then(([code]) => code as number | null);
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
  const address = () => /^Ready at (\S+)\/graphql$/m.exec(said)?.[1] ?? '';
  while (role !== 'worker' && role !== 'migrate' && !address() && child.exitCode === null)
    await Promise.race([once(child.stdout, 'data'), exit]);
  if (role === 'migrate') await exit;
  if (child.exitCode) throw new Error(`--role ${role} ended instead of starting`);
  return {
    pid: child.pid ?? 0,
    url: address(),
    end: (signal = 'SIGTERM') => {
      if (child.exitCode === null) child.kill(signal);
      return exit;
    },
  };
}

/** Instances without an engine behind them, each with so many snapshots. */
export async function insertInstances(pool: Pool, count: number, snapshotsEach = 0): Promise<string[]> {
  const engine = uuidv7();
  await pool.query(
    `insert into engines (id, kind, name, version, capabilities, observed_at) values ($1, 'LOCAL', $2, '1', '{}', now())`,
    [engine, `bench ${engine}`],
  );
  const ids = Array.from({ length: count }, () => uuidv7());
  await pool.query(
    `insert into instances (id, engine_id, uid, name, project, type, status, created_at, configuration, stateful_obstacles, observed_at)
     select id, $2, id::text, 'i-' || id, 'default', 'CONTAINER', 'RUNNING', now(), '{}', '{}', now() from unnest($1::uuid[]) id`,
    [ids, engine],
  );
  await pool.query(
    `insert into snapshots (id, instance_id, name, stateful, status, origin, created_at)
     select gen_random_uuid(), id, 's-' || n, false, 'AVAILABLE', 'MANUAL', now() - n * interval '1 hour'
     from unnest($1::uuid[]) id, generate_series(1, $2::int) n`,
    [ids, snapshotsEach],
  );
  return ids;
}
