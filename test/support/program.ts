/** The program as a process of its own, the way a person or a supervisor starts it. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readLockFile } from '../../src/embedded/lock-file';
import { isStillAlive, markOf } from '../../src/embedded/processes';
import { TestClient } from './app';
import { createDatabase } from './database';
import { until } from './until';

/** Everything is slower while other suites run on the same machine. */
export const PATIENCE_MS = 60_000;

export interface Program {
  pid: number;
  stdout: () => string;
  stderr: () => string;
  /** Waits for the last line of a start, and gives the address in it. */
  ready: () => Promise<string>;
  /** The exit code; null when a signal ended it. */
  exit: Promise<number | null>;
  /** Sends a signal, and gives the exit code and how long it took. */
  end: (signal?: NodeJS.Signals) => Promise<{ code: number | null; ms: number }>;
}

const undo: (() => Promise<unknown>)[] = [];

/** Ends what a test started, and takes its folders away. */
export async function cleanUp(): Promise<void> {
  for (const step of undo.splice(0).reverse()) await step();
}

/** A folder to throw away; a database that still runs in it is ended first. */
export async function freshFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'keyframe-start-'));
  undo.push(async () => {
    const left = await databaseProcess(folder);
    if (left) await endNow(left);
    await rm(folder, { recursive: true, force: true });
  });
  return folder;
}

/** The process that serves the database embedded in a data folder, if one does. */
export async function databaseProcess(folder: string): Promise<number | null> {
  const lock = await readLockFile(join(folder, 'postgres', 'data'));
  return lock?.isServer ? lock.pid : null;
}

/** Kills a process, and waits until it is gone. */
export async function endNow(pid: number): Promise<void> {
  const mark = markOf(pid);
  if (mark === undefined) return;
  process.kill(pid, 'SIGKILL');
  await until(() => !isStillAlive(pid, mark), PATIENCE_MS, `the end of process ${pid}`);
}

/** Starts it with this environment and nothing of ours; through swc, so that no build has to be at hand. */
export function startProgram(env: Record<string, string>, ...args: string[]): Program {
  const child = spawn(process.execPath, ['-r', '@swc-node/register', 'src/main.ts', ...args], {
    cwd: join(__dirname, '..', '..'),
    env: { PATH: process.env['PATH'], HOME: '/nonexistent', PORT: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('no process');
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => (output[name] += text));
  }
  let running = true;
  const exit = once(child, 'close').then(([code]) => {
    running = false;
    return code as number | null;
  });
  const program: Program = {
    pid,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    exit,
    ready: () =>
      until(
        () => {
          const [, url] = /^Ready at (\S+)\/graphql$/m.exec(output.stdout) ?? [];
          if (!url && !running) throw new Error(`it ended instead of starting:\n${output.stderr}`);
          return url;
        },
        PATIENCE_MS,
        'the program to be ready',
      ),
    end: async (signal = 'SIGTERM') => {
      const since = Date.now();
      child.kill(signal);
      return { code: await exit, ms: Date.now() - since };
    },
  };
  undo.push(async () => {
    if (running && (await program.end()).code !== 0) await program.end('SIGKILL');
  });
  return program;
}

/** A database of its own, as the program's environment names it. */
export async function freshDatabase(options = {}): Promise<{ DATABASE_URL: string; DATABASE_MIGRATION_URL: string }> {
  const { url, migrationUrl, drop } = await createDatabase(options);
  undo.push(drop);
  return { DATABASE_URL: url, DATABASE_MIGRATION_URL: migrationUrl };
}

/** The accounts that a demo start leaves in its data folder. */
export async function demoAccounts(folder: string): Promise<Record<string, { email: string; password: string }>> {
  return JSON.parse(await readFile(join(folder, 'demo-credentials.json'), 'utf8')) as Awaited<
    ReturnType<typeof demoAccounts>
  >;
}

/** Signed in as the demo operator of a data folder. */
export async function signInAsOps(url: string, folder: string): Promise<TestClient> {
  const { ops } = await demoAccounts(folder);
  return TestClient.signIn(url, ops?.email ?? '', ops?.password ?? '');
}

/** The status of an address, or null when the connection is refused. */
export async function statusOf(url: string): Promise<number | null> {
  return fetch(url).then(
    ({ status }) => status,
    () => null,
  );
}

/** What was written to standard error besides the log. */
export const besidesLog = (program: Program): string => program.stderr().replace(/^\{.*\n/gm, '');

/** The names of all snapshots that this person sees. */
export async function snapshotNames(client: TestClient): Promise<string[]> {
  const { snapshots } = await client.query('{ snapshots(first: 100) { nodes { name } } }');
  return snapshots.nodes.map(({ name }: { name: string }) => name);
}
