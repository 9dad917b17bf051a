/**
 * Keeps rows in step with the engine: its events are a hint where to look, a full look is the truth. One process of all
 * observes at a time; when it goes, another takes over.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { inTransaction } from '../db/transaction';
import { EngineError, type EngineKind as KindOfEngine, type Hint, type InstanceFacts } from '../engine/engine';
import { EngineKind } from '../entities/enums';
import { forgetOldEvents } from '../read/event-log';
import { forgetOldKeys } from '../services/idempotency';
import type { SnapshotDeletion } from '../services/snapshot-deletion';
import { databaseTime, recordAbsences, recordLook, type Look } from './observation';
import type { Parts } from './run';

/** How many instances one transaction brings up to date. */
const BATCH = 100;
/** Events come in bursts: one look serves all that arrive within this time. */
const SETTLE_MS = 50;
const RETRY_MS = 1000;
const STOP_WITHIN_MS = 1000;
const LOOK_DEADLINE_MS = 120_000;
const OBSERVER_LOCK = 7_165_201_002;

export interface ObserverOptions {
  intervalSeconds: number;
  deletion: SnapshotDeletion;
  /** A connection of its own, for the lock that makes it the only observer. */
  connect: () => Promise<Client>;
}

export class Observer {
  private readonly stopping = new AbortController();
  /** Instances to look at, by project and name. */
  private readonly hinted = new Map<string, { project: string; name: string }>();
  private lookEverywhere = true;
  private wake: () => void = () => undefined;
  private running: Promise<void> = Promise.resolve();
  private engineId: string | undefined;
  private failures = 0;

  constructor(
    private readonly parts: Parts,
    private readonly options: ObserverOptions,
  ) {}

  start(): void {
    this.running = this.campaign();
  }

  /** Waits for the present look, but not for an engine or a database that does not answer it. */
  async stop(): Promise<void> {
    this.stopping.abort();
    this.wake();
    await Promise.race([this.running, sleep(STOP_WITHIN_MS, undefined, { ref: false })]);
  }

  /** Observes whenever it holds the lock, which ends with its connection. */
  private async campaign(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      let client: Client | undefined;
      try {
        client = await this.options.connect();
        const lost = new AbortController();
        client.on('error', () => lost.abort());
        client.on('end', () => lost.abort());
        const { rows } = await client.query<{ won: boolean }>('select pg_try_advisory_lock($1) as won', [
          OBSERVER_LOCK,
        ]);
        if (rows[0]?.won) await this.observe(AbortSignal.any([this.stopping.signal, lost.signal]));
      } catch (error) {
        this.parts.log('warn', { err: error }, 'observing was interrupted');
      } finally {
        await client?.end().catch(() => undefined);
      }
      await pause(RETRY_MS, this.stopping.signal);
    }
  }

  private async observe(signal: AbortSignal): Promise<void> {
    this.lookEverywhere = true;
    signal.addEventListener('abort', () => this.wake());
    const watching = this.watch(signal);
    const timer = setInterval(() => this.hint(null), this.options.intervalSeconds * 1000);
    try {
      while (!signal.aborted) {
        await this.lookOnce(signal);
        await this.nextHint(signal);
      }
    } finally {
      clearInterval(timer);
      await watching;
    }
  }

  private async lookOnce(observing: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([observing, AbortSignal.timeout(LOOK_DEADLINE_MS)]);
    try {
      if (this.lookEverywhere) {
        this.lookEverywhere = false;
        this.hinted.clear();
        await this.chores();
        await this.sweep(signal);
      } else {
        await this.lookAtHinted(signal);
      }
      this.failures = 0;
    } catch (error) {
      if (observing.aborted) return;
      this.parts.log('warn', { err: error }, 'a look at the engine failed');
      // The stream of events tells at once when the engine is back; until then it is asked less and less often.
      this.again(null, Math.min(30_000, RETRY_MS * 2 ** this.failures++));
    }
  }

  /** What falls due with time, whether the engine answers or not. */
  private async chores(): Promise<void> {
    try {
      await this.options.deletion.deleteExpired();
      await inTransaction(this.parts.db, forgetOldKeys);
      await forgetOldEvents(this.parts.db);
    } catch (error) {
      this.parts.log('error', { err: error }, 'what is due could not be done; it is tried again');
    }
  }

  /** The whole truth: every instance, then what was not among them. */
  private async sweep(signal: AbortSignal): Promise<void> {
    const { db, engine } = this.parts;
    const batch: InstanceFacts[] = [];
    let seen = 0;
    let look: Look | undefined;
    try {
      look = await this.beginLook(signal);
      for await (const facts of engine.instances(signal)) {
        seen += 1;
        if (batch.push(facts) >= BATCH) await this.record(look, batch.splice(0));
      }
    } catch (error) {
      // One member of a cluster that is down is not the engine; a list that breaks off was true as far as it went.
      if (error instanceof EngineError && seen === 0 && !signal.aborted) await this.markUnavailable();
      throw error;
    } finally {
      if (look) await this.record(look, batch);
    }
    await inTransaction(db, (tx) => recordAbsences(tx, look));
  }

  private async lookAtHinted(signal: AbortSignal): Promise<void> {
    const places = [...this.hinted.values()];
    this.hinted.clear();
    for (const at of places) {
      const look = { engineId: this.engineId ?? '', at: await databaseTime(this.parts.db) };
      const facts = await this.parts.engine.findInstance(at, signal);
      // Deleted, renamed, or another in its place: only a whole look can tell which, and what became of the rest.
      if (facts && !(await this.isAnother(facts))) await this.record(look, [facts]);
      else this.again(null, SETTLE_MS);
    }
  }

  /** Whether a row says that another instance stands where this one was found. */
  private async isAnother({ project, name, uid }: InstanceFacts): Promise<boolean> {
    const rows = await this.parts.db.query<unknown[]>(ANOTHER_THERE, [this.engineId, project, name, uid]);
    return rows.length > 0;
  }

  private async record(look: Look, seen: InstanceFacts[]): Promise<void> {
    if (seen.length === 0) return;
    const busy = await inTransaction(this.parts.db, (tx) => recordLook(tx, look, seen));
    for (const { project, name } of busy) this.again({ project, name });
  }

  /** Notes that the engine answers, and what it is. */
  private async beginLook(signal: AbortSignal): Promise<Look> {
    const { db, engine } = this.parts;
    const facts = await engine.describe(signal);
    const at = await databaseTime(db);
    const [row] = await db.query<{ id: string }[]>(NOTE_ENGINE, [
      uuidv7(),
      KINDS[facts.kind],
      facts.name,
      facts.version,
      facts.capabilities,
      at,
    ]);
    this.engineId = row?.id ?? '';
    return { engineId: this.engineId, at };
  }

  private async markUnavailable(): Promise<void> {
    await this.parts.db.query('update engines set unavailable_since = coalesce(unavailable_since, now())');
  }

  /** Follows the engine's events as long as it can; a lost stream means that anything may have changed. */
  private async watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // A stream says to look everywhere when it opens; only one that was open can have been lost.
      const stream = { open: false };
      try {
        await this.parts.engine.watch((hint) => {
          stream.open = true;
          this.hint(hint);
        }, signal);
      } catch (error) {
        this.parts.log('info', { reason: (error as Error).message }, "the engine's events are interrupted");
        if (stream.open) this.hint(null);
      }
      await pause(RETRY_MS, signal);
    }
  }

  private hint(hint: Hint): void {
    if (hint) this.hinted.set(`${hint.project}/${hint.name}`, hint);
    else this.lookEverywhere = true;
    this.wake();
  }

  private again(hint: Hint, afterMs = RETRY_MS): void {
    setTimeout(() => this.hint(hint), afterMs).unref();
  }

  private async nextHint(signal: AbortSignal): Promise<void> {
    if (!signal.aborted && !this.lookEverywhere && this.hinted.size === 0)
      await new Promise<void>((resolve) => (this.wake = resolve));
    await pause(SETTLE_MS, signal);
  }
}

const KINDS: Record<KindOfEngine, EngineKind> = {
  incus: EngineKind.INCUS,
  lxd: EngineKind.LXD,
  local: EngineKind.LOCAL,
};

/** One engine per deployment: its row is the one there is. */
const NOTE_ENGINE = `
with known as (
  update engines set kind = $2, name = $3, version = $4, capabilities = $5, observed_at = $6, unavailable_since = null
  returning id
), made as (
  insert into engines (id, kind, name, version, capabilities, observed_at)
  select $1, $2, $3, $4, $5, $6 where not exists (select from known) returning id
)
select id from known union all select id from made`;

const ANOTHER_THERE = `
select from instances where engine_id = $1 and project = $2 and name = $3 and uid <> $4 and status <> 'DELETED'`;

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return sleep(ms, undefined, { signal }).catch(() => undefined);
}
