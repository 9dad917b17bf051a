/** What the benchmarks share: medians, a database server with durability on, and the program on it. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startApp, type App } from '../src/app';
import { readConfig, type ProcessRole } from '../src/config';
import { openDataFolder } from '../src/embedded/data-folder';
import { startPostgres, type EmbeddedPostgres } from '../src/embedded/postgres';
import { Role, UserStatus } from '../src/entities/enums';
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
  await new Users(app.db).insert({ email: 'bench@keyframe.test', role: Role.OPERATIONS }, password, UserStatus.ACTIVE);
  const body = await post(
    app.url ?? '',
    null,
    'mutation ($p: String!) { signIn(input: { email: "bench@keyframe.test", password: $p }) { accessToken } }',
    { p: password },
  );
  return body.data.signIn.accessToken;
}

export async function post(url: string, token: string | null, query: string, variables: object = {}): Promise<any> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify({ query, variables }),
  });
  return response.json();
}
