/**
 * Keeps rows in step with the engine: its events are a hint where to look, a full look is the truth. One process of all
 * observes at a time; when it goes, another takes over.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { inTransaction } from '../db/transaction';
import type { Hint, InstanceFacts } from '../engine/engine';
import { forgetOldEvents } from '../read/event-log';
import { forgetOldCounts } from '../services/housekeeping';
import { forgetOldKeys } from '../services/idempotency';
import { forgetOldSessions } from '../services/session-rows';
import type { SnapshotDeletion } from '../services/snapshot-deletion';
import { noteAway, noteEngine, noteRun } from './engine-row';
import { EngineRuns } from './engine-runs';
import { databaseTime, recordAbsences, recordLook, type Look } from './observation';
import type { Parts } from './run';

/** How many instances one transaction brings up to date. */
const BATCH = 100;
/** Events come in bursts: one look serves all that arrive within this time. */
const SETTLE_MS = 50;
const RETRY_MS = 1000;
const STOP_WITHIN_MS = 1000;
const OBSERVER_LOCK = 7_165_201_002;

export interface ObserverOptions {
  intervalSeconds: number;
  deletion: SnapshotDeletion;
  /** Since when the engine is away, as this process sees it; null while it answers. */
  awaySince: () => Date | null;
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
  private engine: Pick<Look, 'engineId' | 'restarted'> = { engineId: '', restarted: false };
  private readonly runs = new EngineRuns();
  private failures = 0;
  private observing = false;
  private noted: Promise<unknown> = Promise.resolve();

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

  /** The engine went away, or is back: the process that observes says so to all, and looks. */
  engineChanged(): void {
    if (!this.observing) return;
    void this.noteAvailability();
    if (!this.options.awaySince()) this.hint(null);
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
    this.runs.forget();
    this.observing = true;
    signal.addEventListener('abort', () => this.wake());
    const watching = this.watch(signal);
    const timer = setInterval(() => this.hint(null), this.options.intervalSeconds * 1000);
    try {
      while (!signal.aborted) {
        await this.lookOnce(signal);
        await this.nextHint(signal);
      }
    } finally {
      this.observing = false;
      clearInterval(timer);
      await watching;
    }
  }

  private async lookOnce(signal: AbortSignal): Promise<void> {
    try {
      if (this.lookEverywhere || (await this.mayHaveRestarted(signal))) {
        this.lookEverywhere = false;
        this.hinted.clear();
        await this.chores();
        await this.sweep(signal);
      } else {
        await this.lookAtHinted(signal);
      }
      this.failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      if (this.options.awaySince()) await this.noteAvailability();
      this.parts.log('warn', { err: error }, 'a look at the engine failed');
      // The stream of events tells at once when the engine is back; until then it is asked less and less often.
      this.again(null, Math.min(30_000, RETRY_MS * 2 ** this.failures++));
    }
  }

  /** What falls due with time, whether the engine answers or not. One that fails keeps none of the others waiting. */
  private async chores(): Promise<void> {
    const { db, log } = this.parts;
    const due: (() => Promise<unknown>)[] = [
      () => this.options.deletion.deleteExpired(),
      () => inTransaction(db, forgetOldKeys),
      () => inTransaction(db, forgetOldSessions),
      () => forgetOldEvents(db),
      () => forgetOldCounts(db),
    ];
    for (const chore of due)
      await chore().catch((error: unknown) => {
        log('error', { err: error }, 'what is due could not be done; it is tried again');
      });
  }

  /** The whole truth: every instance, then what was not among them. */
  private async sweep(signal: AbortSignal): Promise<void> {
    const { db, engine } = this.parts;
    const batch: InstanceFacts[] = [];
    let look: Omit<Look, 'atWork'> | undefined;
    const there = new Set<string>();
    try {
      look = await this.beginLook(signal);
      for await (const facts of engine.instances(signal)) {
        there.add(facts.uid);
        if (batch.push(facts) >= BATCH) await this.record(look, batch.splice(0), signal);
      }
    } finally {
      // A list that breaks off was true as far as it went.
      if (look) await this.record(look, batch, signal);
    }
    await inTransaction(db, (tx) => recordAbsences(tx, look));
    this.engine = { ...look, restarted: false };
    const done = this.runs.end(there);
    if (done) await noteRun(db, done.judged);
  }

  /** Whether the failure of the last look was that of a daemon which is another one by now: then one instance is not enough. */
  private async mayHaveRestarted(signal: AbortSignal): Promise<boolean> {
    return this.failures > 0 && this.runs.isAnother((await this.parts.engine.describe(signal)).run);
  }

  private async lookAtHinted(signal: AbortSignal): Promise<void> {
    const places = [...this.hinted.values()];
    this.hinted.clear();
    for (const at of places) {
      const look = { ...this.engine, at: await databaseTime(this.parts.db) };
      const facts = await this.parts.engine.findInstance(at, signal);
      // Deleted, renamed, or another in its place: only a whole look can tell which, and what became of the rest.
      if (facts && !(await this.isAnother(facts))) await this.record(look, [facts], signal);
      else this.again(null, SETTLE_MS);
    }
  }

  /** Whether a row says that another instance stands where this one was found. */
  private async isAnother({ project, name, uid }: InstanceFacts): Promise<boolean> {
    const rows = await this.parts.db.query<unknown[]>(ANOTHER_THERE, [this.engine.engineId, project, name, uid]);
    return rows.length > 0;
  }

  private async record(look: Omit<Look, 'atWork'>, seen: InstanceFacts[], signal: AbortSignal): Promise<void> {
    if (seen.length === 0) return;
    // Asked after the instances were shown: what ended in between is whole.
    const atWork = await this.parts.engine.atWork(signal);
    for (const restarted of [true, false]) {
      const those = seen.filter(({ uid }) => (look.restarted || this.runs.isLeft(uid)) === restarted);
      if (those.length === 0) continue;
      const again = await inTransaction(this.parts.db, (tx) => recordLook(tx, { ...look, atWork, restarted }, those));
      for (const { project, name } of again) this.again({ project, name });
      // Whoever is at work there now was not when the daemon went down: that is judged when it can be seen.
      const uids = (of: InstanceFacts[]) => of.map(({ uid }) => uid);
      this.runs.saw(uids(those), restarted ? uids(again) : []);
    }
  }

  /** Notes that the engine answers, and what it is. */
  private async beginLook(signal: AbortSignal): Promise<Omit<Look, 'atWork'>> {
    const { db, engine } = this.parts;
    const facts = await engine.describe(signal);
    const at = await databaseTime(db);
    const { id, restarted } = await noteEngine(db, facts, at);
    this.engine = { engineId: id, restarted: this.runs.begin(facts.run, restarted) };
    await this.noteAvailability();
    return { ...this.engine, at };
  }

  /** One write after the other, each of what is true when it is made: the last one is right, whatever changed meanwhile. */
  private noteAvailability(): Promise<unknown> {
    const write = () => noteAway(this.parts.db, this.options.awaySince());
    this.noted = this.noted.then(write).catch((error: unknown) => {
      // The next look notes it again.
      this.parts.log('warn', { err: error }, 'whether the engine answers could not be noted');
    });
    return this.noted;
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

const ANOTHER_THERE = `
select from instances where engine_id = $1 and project = $2 and name = $3 and uid <> $4 and status <> 'DELETED'`;

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return sleep(ms, undefined, { signal }).catch(() => undefined);
}
