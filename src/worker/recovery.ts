/**
 * Jobs of processes that died. A queue's lock on a job lasts hours; so each process also holds an advisory lock for each id
 * under which it locks jobs, which the database lets go of the moment the process is gone, and the others look for such.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { requeueOrphans } from '../services/operations';
import type { Parts } from './run';

const LOOK_EVERY_MS = 500;
const RECONNECT_MS = 100;
const STOP_WITHIN_MS = 1000;
const HOLDER_LOCKS = 7_165_203;

export interface RecoveryOptions {
  connect: () => Promise<Client>;
  /** The ids under which this process locks jobs. */
  holderIds: () => string[];
  /** The jobs this process is at. */
  runningJobs: () => string[];
  unlock: (holderIds: string[]) => Promise<void>;
}

export class Recovery {
  private readonly stopping = new AbortController();
  private running: Promise<void> = Promise.resolve();
  /** The ids whose locks the present connection holds. */
  private readonly locked = new Set<string>();

  constructor(
    private readonly parts: Parts,
    private readonly options: RecoveryOptions,
  ) {}

  /** Resolves once the locks of this process are held. */
  async start(): Promise<void> {
    const client = await this.connect();
    this.running = this.keepLooking(client);
  }

  /** Waits for the present look, but not for a database that does not answer it. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await Promise.race([this.running, sleep(STOP_WITHIN_MS, undefined, { ref: false })]);
  }

  private async connect(): Promise<Client> {
    const client = await this.options.connect();
    client.on('error', () => undefined); // the next statement fails, and a new connection is made
    this.locked.clear();
    try {
      await this.lockHolders(client);
      return client;
    } catch (error) {
      await client.end().catch(() => undefined);
      throw error;
    }
  }

  /** A queue that was started again locks jobs under another id. */
  private async lockHolders(client: Client): Promise<void> {
    for (const id of this.options.holderIds()) {
      if (this.locked.has(id)) continue;
      await client.query('select pg_advisory_lock($1, hashtext($2))', [HOLDER_LOCKS, id]);
      this.locked.add(id);
    }
  }

  private async keepLooking(first: Client): Promise<void> {
    let client: Client | null = first;
    // Seen dead twice in a row: a new process, or one that was cut off from the database, takes its lock a moment late.
    let suspects = new Set<string>();
    while (!this.stopping.signal.aborted) {
      let dead: string[] = [];
      try {
        client ??= await this.connect();
        await this.lockHolders(client);
        dead = await this.deadHolders(client);
      } catch (error) {
        this.parts.log('warn', { err: error }, 'looking for dead processes failed');
        await client?.end().catch(() => undefined);
        client = null;
      }
      await this.takeUp(dead.filter((id) => suspects.has(id)));
      suspects = new Set(dead);
      // Without a connection our own locks are free: others would take our jobs for those of a dead process.
      const pause = client ? LOOK_EVERY_MS : RECONNECT_MS;
      await sleep(pause, undefined, { signal: this.stopping.signal }).catch(() => undefined);
    }
    await client?.end().catch(() => undefined);
  }

  /** Apart from the connection that holds the locks, which must not suffer when this fails. */
  private async takeUp(gone: string[]): Promise<void> {
    try {
      const { holderIds, runningJobs, unlock } = this.options;
      const orphans = await requeueOrphans(this.parts.db, holderIds(), runningJobs());
      if (orphans > 0) this.parts.log('warn', { orphans }, 'operations that no job would end are taken up again');
      if (gone.length === 0) return;
      await unlock(gone);
      // Unlocking tells nobody, and a poll would come up to a second later.
      await this.parts.db.query(NUDGE);
      this.parts.log('warn', { holders: gone }, 'jobs of dead processes are taken up again');
    } catch (error) {
      this.parts.log('warn', { err: error }, 'taking up the work of others failed');
    }
  }

  private async deadHolders(client: Client): Promise<string[]> {
    const { rows } = await client.query<{ id: string; free: boolean }>(HOLDERS, [
      HOLDER_LOCKS,
      this.options.holderIds(),
    ]);
    const dead = rows.filter(({ free }) => free).map(({ id }) => id);
    for (const id of dead) await client.query('select pg_advisory_unlock($1, hashtext($2))', [HOLDER_LOCKS, id]);
    return dead;
  }
}

/** By how the queue is told of new jobs; `count` is how many of its workers look. */
const NUDGE = `select pg_notify('jobs:insert', '{"count": 100}')`;

/** Who holds jobs, and whether their advisory lock was free (it is ours then, and must be given back). */
const HOLDERS = `
select id, pg_try_advisory_lock($1, hashtext(id)) as free
from (
  select distinct locked_by as id from graphile_worker._private_jobs where locked_at < now() - interval '1 second'
) holders
where id <> all($2)`;
