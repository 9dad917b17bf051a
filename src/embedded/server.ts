// Part of the room `embedded/`, which can be taken away: nothing here is loaded when DATABASE_URL is set.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, DatabaseError } from 'pg';
import type { Cluster } from './cluster';
import { ifThere } from './files';
import { readLockFile, settleStaleLockFile } from './lock-file';
import { isStillAlive, markOf } from './processes';
import { CLEAN_ENVIRONMENT, EmbeddedPostgresError } from './runner';

const ANSWER_MS = 60_000;
const LOG_FILE_LIMIT_BYTES = 4_000_000;
const LOOK_AGAIN_MS = 50;

/** What each server is started with. Durability is left as Postgres has it: what was accepted is on the disk. */
const SETTINGS: Record<string, string> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '', // a socket's path ends at 107 bytes, a data folder's does not
  dynamic_shared_memory_type: 'mmap', // containers often have only 64 MB of /dev/shm
  shared_buffers: '64MB',
  max_connections: '100',
  max_wal_size: '256MB',
  io_method: 'sync', // no helper processes
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_min_messages: 'log', // a refused row is the caller's to report, and its values stay out of the file
  log_checkpoints: 'off',
};

/** A Postgres server that accepted connections when we last looked. */
export interface Server {
  readonly pid: number;
  /** What tells it from a later process with the same pid. */
  readonly mark: string;
  readonly port: number;
  /** Resolves when the server is no more. */
  readonly gone: Promise<void>;
}

/** Starts a server and waits until it answers; when it does not, nothing is left running. */
export async function launch(
  cluster: Cluster,
  port: number,
  extraSettings: Record<string, string>,
  signal: AbortSignal,
): Promise<Server> {
  await settleStaleLockFile(cluster.data);
  const logFrom = await trimLog(cluster.logFile);
  const server = await spawnServer(cluster, port, extraSettings);
  try {
    let deadline = Date.now() + ANSWER_MS;
    for (;;) {
      const answer = await ask(cluster, port);
      if (!isStillAlive(server.pid, server.mark)) throw new EmbeddedPostgresError(await complaint(cluster, logFrom));
      if (answer === 'ready') return server;
      signal.throwIfAborted();
      if (answer === 'starting') deadline = Date.now() + ANSWER_MS; // recovery takes the time it takes
      if (Date.now() > deadline) throw new EmbeddedPostgresError(await complaint(cluster, logFrom));
      await sleep(LOOK_AGAIN_MS);
    }
  } catch (error) {
    await end(server);
    throw error;
  }
}

/** A server that a killed process of ours left running, if there is one. */
export async function adopt(cluster: Cluster): Promise<Server | undefined> {
  const deadline = Date.now() + ANSWER_MS;
  for (;;) {
    const left = await readLockFile(cluster.data);
    if (left === undefined || !left.isServer) return undefined;
    const { pid, port } = left;
    const mark = markOf(pid);
    if (mark !== undefined && port !== undefined && (await ask(cluster, port)) === 'ready') {
      return { pid, mark, port, gone: untilGone(pid, mark) };
    }
    if (Date.now() > deadline) {
      throw new EmbeddedPostgresError(
        `Process ${pid} holds the embedded database in ${cluster.data} but does not answer. End it and start again.`,
      );
    }
    await sleep(LOOK_AGAIN_MS);
  }
}

/** Ends a server: politely, then firmly; the write-ahead log makes good whatever the firm ways cut short. */
export async function end(server: Server): Promise<void> {
  const steps = [
    ['SIGINT', 6_000],
    ['SIGQUIT', 2_000],
    ['SIGKILL', 2_000],
  ] as const;
  for (const [signal, ms] of steps) {
    if (!isStillAlive(server.pid, server.mark)) return;
    process.kill(server.pid, signal);
    const patience = new AbortController();
    const gaveUp = sleep(ms, true, { signal: patience.signal }).catch(() => true);
    const over = await Promise.race([server.gone.then(() => true), gaveUp.then(() => false)]);
    patience.abort();
    if (over) return;
  }
}

/** A connection as superuser; what could lead elsewhere is given, so that no PG… variable of the operator's steps in. */
export function superuserClient(cluster: Cluster, port: number, database: string): Client {
  const client = new Client({
    host: '127.0.0.1',
    port,
    database,
    user: 'postgres',
    password: cluster.passwords.superuser,
    ssl: false,
    application_name: 'keyframe supervisor',
    connectionTimeoutMillis: 5_000,
  });
  client.on('error', () => undefined); // the server's end is seen by whoever waits for `gone`
  return client;
}

/** Asks for the folder too, since the port may have become another server's. */
async function ask(cluster: Cluster, port: number): Promise<'ready' | 'starting' | 'silent'> {
  const client = superuserClient(cluster, port, 'postgres');
  try {
    await client.connect();
    const { rows } = await client.query<{ data: string }>(`SELECT current_setting('data_directory') AS data`);
    return resolve(rows[0]?.data ?? '') === cluster.data ? 'ready' : 'silent';
  } catch (error) {
    return error instanceof DatabaseError && error.code === '57P03' ? 'starting' : 'silent';
  } finally {
    await client.end().catch(() => undefined);
  }
}

/**
 * In a process group of its own: an interrupt from the terminal reaches the whole group in front, and we still need
 * the database while we finish what is in flight.
 */
async function spawnServer(cluster: Cluster, port: number, extraSettings: Record<string, string>): Promise<Server> {
  const { binaries, data, logFile, user } = cluster;
  const settings = Object.entries({ ...SETTINGS, port: String(port), ...extraSettings });
  const log = await open(logFile, 'a', 0o600);
  try {
    if (user !== undefined) await log.chown(user.uid, user.gid);
    const child = spawn(
      binaries.postgres,
      ['-D', data, ...settings.flatMap(([name, value]) => ['-c', `${name}=${value}`])],
      {
        ...(user === undefined ? {} : { uid: user.uid, gid: user.gid }),
        cwd: '/',
        env: CLEAN_ENVIRONMENT,
        stdio: ['ignore', log.fd, log.fd],
        detached: true,
        windowsHide: true,
      },
    );
    const gone = new Promise<void>((done) => child.once('exit', () => done()));
    await once(child, 'spawn');
    child.unref();
    const pid = child.pid ?? 0;
    return { pid, mark: markOf(pid) ?? '', port, gone };
  } finally {
    await log.close();
  }
}

async function untilGone(pid: number, mark: string): Promise<void> {
  while (isStillAlive(pid, mark)) await sleep(200, undefined, { ref: false });
}

/** Keeps the log from growing for ever; gives the place where the next lines will stand. */
async function trimLog(path: string): Promise<number> {
  const size = (await ifThere(stat(path)))?.size ?? 0;
  if (size <= LOG_FILE_LIMIT_BYTES) return size;
  await rm(`${path}.old`, { force: true });
  await rename(path, `${path}.old`);
  return 0;
}

async function complaint(cluster: Cluster, from: number): Promise<string> {
  const written = (await ifThere(readFile(cluster.logFile)))?.subarray(from).toString() ?? '';
  const reason = /(?:FATAL|PANIC): +(.*)/.exec(written)?.[1] ?? written.trim().split('\n').at(-1) ?? '';
  return `The embedded Postgres did not start: ${reason || 'no answer'} (its log is ${cluster.logFile}).`;
}
