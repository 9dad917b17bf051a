/** The product as it is run: a database, an API, workers, an engine; and a person who asks for things. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pool } from 'pg';
import { openDataFolder } from '../../../src/embedded/data-folder';
import { startPostgres } from '../../../src/embedded/postgres';
import { TestClient } from '../../support/app';
import { until } from '../../support/until';
import type { Ground } from './ground';
import { Program } from './processes';

/** Access tokens live for ten minutes. */
const SIGN_IN_EVERY_MS = 5 * 60_000;

export interface World {
  ground: Ground;
  api: Program;
  workers: Program[];
  /** The laboratory's own connections. */
  db: Pool;
  /** GraphQL ids of instances by name. */
  ids: Map<string, string>;
  /** What the program said, for whoever looks into a violation. */
  logFile: string;
  /** The address of the API, and who asks. */
  client: () => Promise<TestClient>;
  databasePid: () => Promise<number | null>;
  close: () => Promise<void>;
}

export interface WorldOptions {
  preload: string;
  /** Brings the engine up, given a folder to use. */
  ground: (folder: string) => Promise<Ground>;
  workers: number;
}

/** Starts all of it; `close` leaves neither process nor file behind, but for the log where something was wrong. */
export async function openWorld({ preload, ground: openGround, workers: count }: WorldOptions): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), 'keyframe-world-'));
  await chmod(folder, 0o711); // the database's own user must get through
  const logFile = `${folder}.log`;
  const undo: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })];
  const close = async () => {
    for (const step of undo.splice(0).reverse()) await step().catch((error: unknown) => console.error(error));
  };
  try {
    const owned = await openDataFolder(join(folder, 'database'));
    undo.push(() => owned.close());
    const postgres = await startPostgres(owned.path, () => undefined);
    undo.push(() => postgres.stop());
    const ground = await openGround(join(folder, 'engine'));
    undo.push(() => ground.close());
    const common = {
      DATABASE_URL: postgres.url,
      DATABASE_MIGRATION_URL: postgres.migrationUrl,
      JWT_SECRET: randomBytes(32).toString('hex'),
      LOG_LEVEL: 'info',
    };
    const program = (name: string, role: string, env: Record<string, string>) => {
      const made = new Program(name, preload, role, { ...common, ...env }, logFile);
      undo.push(() => made.end());
      return made;
    };
    const migrating = program('migrate', 'migrate', {});
    migrating.start();
    await migrating.died(60_000);
    const api = program('api', 'api', {
      KEYFRAME_DEMO: '1',
      KEYFRAME_DATA_DIR: join(folder, 'api'),
      PORT: String(await freePort()),
    });
    const workers = Array.from({ length: count }, (_, index) =>
      program(`worker ${index + 1}`, 'worker', { OBSERVE_INTERVAL_SECONDS: '1', ...ground.env }),
    );
    const db = new Pool({ connectionString: postgres.url, max: 4, application_name: 'laboratory' });
    db.on('error', () => undefined);
    undo.push(() => db.end());
    for (const each of [api, ...workers]) each.start();
    const world: World = {
      ground,
      api,
      workers,
      db,
      logFile,
      ids: new Map(),
      client: clients(join(folder, 'api/demo-credentials.json'), api),
      databasePid: () => serverOf(db),
      close,
    };
    await findInstances(world);
    return world;
  } catch (error) {
    await close();
    throw error;
  }
}

/** The server's process is the parent of each connection's; null when it cannot be asked. */
async function serverOf(db: Pool): Promise<number | null> {
  try {
    const { rows } = await db.query<{ pid: number }>('select pg_backend_pid() as pid');
    const parent = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${rows[0]?.pid ?? 0}/status`, 'utf8'))?.[1];
    return Number(parent);
  } catch {
    return null;
  }
}

/** A port that stays the same when the API is started again. */
async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  await new Promise((closed) => probe.close(closed));
  return port;
}

/** Signs in now and then, for tokens age. */
function clients(credentials: string, api: Program): () => Promise<TestClient> {
  let signedIn: { client: TestClient; at: number } | null = null;
  return async () => {
    if (signedIn && Date.now() - signedIn.at < SIGN_IN_EVERY_MS) return signedIn.client;
    const url = await api.ready();
    const { ops } = JSON.parse(await readFile(credentials, 'utf8')) as { ops: { email: string; password: string } };
    signedIn = { client: await TestClient.signIn(url, ops.email, ops.password), at: Date.now() };
    return signedIn.client;
  };
}

async function findInstances({ client, ids, ground }: World): Promise<void> {
  const person = await client();
  await until(
    async () => {
      const { instances } = await person.query('{ instances(first: 100) { nodes { id name } } }');
      for (const { id, name } of instances.nodes as { id: string; name: string }[]) ids.set(name, id);
      return ground.places.every(({ name }) => ids.has(name));
    },
    60_000,
    'all instances to be shown',
  );
}
