/**
 * The process's worker: it takes jobs from the queue (graphile-worker), recovers those of dead processes, and observes the
 * engine. This is the only file that imports the queue, and can be replaced with it.
 */
import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger, makeWorkerUtils, run, runMigrations, type Runner, type WorkerEvents } from 'graphile-worker';
import { Client, Pool } from 'pg';
import { patiently } from '../db/away';
import { guarded } from '../engine/guard';
import { wakeWaiting } from '../services/postponement';
import type { SnapshotDeletion } from '../services/snapshot-deletion';
import { Observer } from './observer';
import { Recovery } from './recovery';
import { runOperation, type Parts } from './run';

/** How long running operations get to end by themselves when the process stops. */
const DRAIN_MS = 7000;
/** After the engine's return, waiting operations are looked for again. */
const AGAIN_MS = 1000;
/** So long a running operation is kept while the database is away. */
const GO_ON_MS = 60_000;
/** How long to wait before a runner that gave up is followed by another. */
const RESTART_MS = 1000;

export interface WorkerOptions {
  url: string;
  concurrency: number;
  observeIntervalSeconds: number;
  deletion: SnapshotDeletion;
}

export interface RunningWorker {
  stop: () => Promise<void>;
}

/** Brings the queue's own tables up to date; its role owns them. */
export async function installQueue(url: string): Promise<void> {
  await runMigrations({ connectionString: url, logger: silent() });
}

export async function startWorker(given: Parts, options: WorkerOptions): Promise<RunningWorker> {
  const ended = new AbortController();
  const wake = async () => {
    if (ended.signal.aborted) return;
    // Where it fails, they are taken up after their pauses.
    await wakeWaiting(given.db).catch((error: unknown) => given.log('warn', { err: error }, 'nothing could be woken'));
  };
  const engine = guarded(given.engine, {
    until: ended.signal,
    onAway: () => {
      given.log('warn', { err: engine.away }, 'the engine is away');
      observer.engineChanged();
    },
    onReturn: () => {
      given.log('info', {}, 'the engine is back');
      observer.engineChanged();
      void wake();
      // What found it away a moment ago may be going to sleep only now.
      setTimeout(() => void wake(), AGAIN_MS).unref();
    },
  });
  const parts = { ...given, engine, away: () => engine.away };
  // A pool of ours: the queue's own would lose its listener for errors before its last connection is closed.
  const pool = new Pool({
    connectionString: options.url,
    max: options.concurrency + 4,
    application_name: 'keyframe queue',
  });
  const lost = (error: Error) => parts.log('warn', { err: error }, 'a connection of the queue was lost');
  pool.on('error', lost); // of a connection that rests
  pool.on('connect', (client) => client.on('error', lost)); // of one in use
  const utils = await makeWorkerUtils({ pgPool: pool, logger: silent() });
  const queue = new Queue(parts, pool, options.concurrency);
  const connect = () => connectTo(options.url);
  const recovery = new Recovery(parts, {
    connect,
    holderIds: () => [...queue.holderIds],
    runningJobs: () => [...queue.runningJobs],
    unlock: (ids) => utils.forceUnlockWorkers(ids),
  });
  const observer = new Observer(parts, {
    connect,
    intervalSeconds: options.observeIntervalSeconds,
    deletion: options.deletion,
    awaySince: () => engine.away?.since ?? null,
  });
  const stop = async () => {
    ended.abort();
    await observer.stop();
    await queue.stop();
    await recovery.stop();
    await utils.release();
    await pool.end();
  };
  try {
    await queue.start();
    await recovery.start();
    observer.start();
    return { stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The queue's runner. One that gives up, as it may when the database is restarted, is followed by another. */
class Queue {
  /** Under what this process locks jobs: the queue takes the id of the pool, not of the worker in it. */
  readonly holderIds = new Set<string>();
  readonly runningJobs = new Set<string>();
  private readonly stopping = new AbortController();
  private readonly cutOff = new AbortController();
  private runner: Runner | undefined;
  private restarting: Promise<void> = Promise.resolve();

  constructor(
    private readonly parts: Parts,
    private readonly pool: Pool,
    private readonly concurrency: number,
  ) {}

  async start(): Promise<void> {
    const events = new EventEmitter() as unknown as WorkerEvents;
    events.on('pool:create', ({ workerPool }) => void this.holderIds.add(workerPool.id));
    // It shuts itself down when it cannot record the end of a job, as when the database is away, and may not come to an end.
    const givesUp = new Promise<void>((resolve) => events.once('pool:gracefulShutdown', () => resolve()));
    const runner = await run({
      pgPool: this.pool,
      concurrency: this.concurrency,
      // Unlocking the jobs of the dead sends no notification; everything else is found by LISTEN.
      pollInterval: 1000,
      noHandleSignals: true,
      logger: forwarding(this.parts.log),
      events,
      // Ending a job in batches is what the queue retries when the database is away; one by one it lets the process die.
      preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
      taskList: {
        operation: async (payload, { job }) => {
          this.runningJobs.add(job.id);
          try {
            // The job is this process's for as long as it is at it; another would find it only many seconds later.
            const { id } = payload as { id: string };
            const stop = this.cutOff.signal;
            await patiently(stop, () => runOperation(this.parts, id, job.id, stop), GO_ON_MS);
          } finally {
            this.runningJobs.delete(job.id);
          }
        },
      },
    });
    this.runner = runner;
    if (this.stopping.signal.aborted) return runner.stop();
    const ended = runner.promise.catch(() => undefined);
    void Promise.race([ended, givesUp])
      .then(() => this.followUp(runner))
      .catch(() => undefined);
  }

  /** Lets running operations end; what takes longer is cut off, and goes on elsewhere or after the next start. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.restarting;
    const timer = setTimeout(() => this.cutOff.abort(), DRAIN_MS);
    try {
      await this.runner?.stop();
    } catch {
      // It had ended by itself.
    } finally {
      clearTimeout(timer);
    }
  }

  private async followUp(ended: Runner): Promise<void> {
    while (!this.stopping.signal.aborted && this.runner === ended) {
      this.parts.log('error', {}, 'the queue gave up, and is started again');
      await sleep(RESTART_MS, undefined, { signal: this.stopping.signal });
      this.restarting = this.start().catch((error: unknown) => {
        this.parts.log('error', { err: error }, 'the queue does not start');
      });
      await this.restarting;
    }
  }
}

async function connectTo(url: string): Promise<Client> {
  const client = new Client({
    connectionString: url,
    application_name: 'keyframe worker',
    keepAlive: true,
    connectionTimeoutMillis: 10_000,
    query_timeout: 60_000,
  });
  await client.connect();
  return client;
}

function silent(): Logger {
  return new Logger(() => () => undefined);
}

/** What of the queue's own log is worth a line in ours. */
const LEVELS: Partial<Record<string, 'warn' | 'error'>> = { warning: 'warn', error: 'error' };

function forwarding(log: Parts['log']): Logger {
  return new Logger(() => (level, message, meta) => {
    const known = LEVELS[level];
    if (known) log(known, meta ?? {}, message);
  });
}
