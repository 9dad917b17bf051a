/**
 * The process's worker: it takes jobs from the queue (graphile-worker), recovers those of dead processes, and observes the
 * engine. This is the only file that imports the queue, and can be replaced with it.
 */
import { EventEmitter } from 'node:events';
import { Logger, makeWorkerUtils, run, runMigrations, type Runner, type WorkerEvents } from 'graphile-worker';
import { Client } from 'pg';
import type { SnapshotDeletion } from '../services/snapshot-deletion';
import { Observer } from './observer';
import { Recovery } from './recovery';
import { runOperation, type Parts } from './run';

/** How long running operations get to end by themselves when the process stops. */
const DRAIN_MS = 7000;

export interface WorkerOptions {
  url: string;
  concurrency: number;
  observeIntervalSeconds: number;
  deletion: SnapshotDeletion;
}

export interface RunningWorker {
  observer: Observer;
  stop: () => Promise<void>;
}

/** Brings the queue's own tables up to date; its role owns them. */
export async function installQueue(url: string): Promise<void> {
  await runMigrations({ connectionString: url, logger: silent() });
}

export async function startWorker(parts: Parts, options: WorkerOptions): Promise<RunningWorker> {
  const stopping = new AbortController();
  // The queue locks jobs under the id of the pool, not of the worker in it that works on them.
  const holderIds = new Set<string>();
  const events = new EventEmitter() as unknown as WorkerEvents;
  events.on('pool:create', ({ workerPool }) => void holderIds.add(workerPool.id));
  const runner = await run({
    connectionString: options.url,
    concurrency: options.concurrency,
    // Unlocking the jobs of the dead sends no notification; everything else is found by LISTEN.
    pollInterval: 1000,
    maxPoolSize: options.concurrency + 2,
    noHandleSignals: true,
    logger: forwarding(parts.log),
    events,
    taskList: {
      operation: async (payload, { job }) => {
        await runOperation(parts, (payload as { id: string }).id, job.id, stopping.signal);
      },
    },
  });
  const connect = () => connectTo(options.url);
  const utils = await makeWorkerUtils({ connectionString: options.url, logger: silent() });
  const recovery = new Recovery(parts.log, {
    connect,
    holderIds: () => [...holderIds],
    unlock: (ids) => utils.forceUnlockWorkers(ids),
  });
  await recovery.start();
  const observer = new Observer(parts, {
    connect,
    intervalSeconds: options.observeIntervalSeconds,
    deletion: options.deletion,
  });
  observer.start();
  return {
    observer,
    stop: async () => {
      await observer.stop();
      await drain(runner, stopping);
      await recovery.stop();
      await utils.release();
    },
  };
}

/** Lets running operations end; what takes longer is cut off, and goes on elsewhere or after the next start. */
async function drain(runner: Runner, stopping: AbortController): Promise<void> {
  const timer = setTimeout(() => stopping.abort(), DRAIN_MS);
  try {
    await runner.stop();
  } finally {
    clearTimeout(timer);
  }
}

async function connectTo(url: string): Promise<Client> {
  const client = new Client({ connectionString: url, application_name: 'keyframe worker', keepAlive: true });
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
