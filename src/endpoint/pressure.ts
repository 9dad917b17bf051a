/**
 * Overload is refused, not piled up. A request gets its turn when the event loop is on time and nobody waits for a connection of
 * the database's pool. Until then it waits in line; whoever would wait too long is told so at once. So those who get their turn
 * are answered soon, and the process is always as busy as it can be.
 */
import type { Pool } from 'pg';
import type { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { MASKED, Overload, type Report } from './errors';

/**
 * The longest wait for one's turn. A rush may take a moment to be worked off; when the line has stood for longer than that, there
 * is more to do than can be done, and who is let in then is to be answered within a second, work included.
 */
const LONGEST_WAIT_MS = { rush: 2000, standing: 600 };
/** How late the event loop may be when a request begins. */
const LOOP_LATE_MS = 150;
const LOOK_EVERY_MS = 10;
/** So many get their turn at each look even when the loop is late: whatever makes it late, the line goes on. */
const LEAST_TURNS = 2;
/** How long refusals share an id and a line of the log. */
const PERIOD_MS = 1000;

const RETRY_AFTER_SECONDS = 1;

/** The answer that refused requests of the same second share, and the id under which the log says how many they were. */
export interface Refusal {
  status: 429 | 503;
  retryAfterSeconds: number;
  body: string;
  errors: readonly Overload[];
}

/** What is answered to all who are refused for the same reason. */
export function refusalBy(status: 429 | 503, retryAfterSeconds: number, errors: readonly Overload[]): Refusal {
  return { status, retryAfterSeconds, errors, body: JSON.stringify({ errors }) };
}

type Decide = (refusal: Refusal | null) => void;

/** Decides, request by request, whose turn it is. */
export class Pressure {
  /** How many were refused since the start. */
  refused = 0;
  private readonly pool: Pool;
  private readonly line: { since: number; decide: Decide }[] = [];
  /** How long one in the line takes to get its turn, smoothed; as long as nobody had to wait, next to nothing. */
  private paceMs = 0;
  private lastTurnAt = 0;
  /** Since when somebody has been in the line at every moment; that all were refused does not make it move. */
  private standsSince = 0;
  private isStuck = false;
  private lateMs = 0;
  private lookDueAt = 0;
  private looking: NodeJS.Timeout | undefined;
  private period: (Refusal & { id: string; since: number; refusedBefore: number }) | null = null;

  constructor(
    db: DataSource,
    private readonly report: Report,
  ) {
    // TypeORM does not say which driver it was made with.
    this.pool = (db.driver as unknown as { master: Pool }).master;
  }

  start(): void {
    this.pool.on('release', this.onRelease);
    this.lookAgain();
  }

  stop(): void {
    clearTimeout(this.looking);
    this.pool.off('release', this.onRelease);
    for (const { decide } of this.line.splice(0)) decide(null);
    this.endPeriod();
  }

  /** How late the event loop is, and how long a request that came now would wait for its turn. */
  delays(now = performance.now()): { loopMs: number; waitMs: number } {
    const loopMs = Math.max(this.lateMs, now - this.lookDueAt);
    const [first] = this.line;
    return { loopMs, waitMs: first ? Math.max(now - first.since, this.line.length * this.paceMs) : 0 };
  }

  /** Whether somebody waits for their turn. */
  hasLine(): boolean {
    return this.line.length > 0;
  }

  /** Calls `decide` with null when it is the request's turn, or with what to answer instead. */
  turn(decide: Decide): void {
    const now = performance.now();
    if (this.line.length === 0 && this.isFree(now)) {
      this.isStuck = false;
      decide(null);
    } else if (this.line.length * this.paceMs > this.longestWait(now)) decide(this.refuse(now));
    else {
      if (this.line.length === 0) this.lastTurnAt = now;
      if (this.line.length === 0 && !this.isStuck) this.standsSince = now;
      this.line.push({ since: now, decide });
    }
  }

  private isFree(now: number): boolean {
    return this.pool.waitingCount === 0 && this.delays(now).loopMs < LOOP_LATE_MS;
  }

  private longestWait(now: number): number {
    return now - this.standsSince > LONGEST_WAIT_MS.rush ? LONGEST_WAIT_MS.standing : LONGEST_WAIT_MS.rush;
  }

  private readonly onRelease = (): void => this.goOn(1);

  /** Gives the next ones their turn, and refuses those who have waited too long. */
  private goOn(count: number): void {
    const now = performance.now();
    const longest = this.longestWait(now);
    for (let first = this.line[0]; first && now - first.since > longest; first = this.line[0]) {
      this.line.shift();
      first.decide(this.refuse(now));
    }
    const turns = this.isFree(now) ? count : Math.min(count, LEAST_TURNS);
    for (let n = 0; n < turns && this.line.length > 0 && this.pool.waitingCount === 0; n += 1) {
      this.paceMs = 0.9 * this.paceMs + 0.1 * Math.min(now - this.lastTurnAt, LONGEST_WAIT_MS.standing);
      this.lastTurnAt = now;
      this.line.shift()?.decide(null);
      if (this.line.length === 0) this.isStuck = false;
    }
    // What was true of the last rush says nothing of the next.
    if (this.line.length === 0) this.paceMs = 0;
  }

  private lookAgain(): void {
    this.lookDueAt = performance.now() + LOOK_EVERY_MS;
    this.looking = setTimeout(() => {
      const now = performance.now();
      this.lateMs = now - this.lookDueAt;
      // As many as there are connections at rest: none of them has to wait.
      this.goOn(Math.max(1, this.pool.options.max - this.pool.totalCount + this.pool.idleCount));
      if (this.period && now - this.period.since > PERIOD_MS) this.endPeriod();
      this.lookAgain();
    }, LOOK_EVERY_MS).unref();
  }

  private refuse(now: number): Refusal {
    this.period ??= this.newPeriod(now);
    this.refused += 1;
    this.isStuck = true;
    return this.period;
  }

  private newPeriod(now: number): NonNullable<typeof this.period> {
    const id = uuidv7();
    const extensions = { code: 'SERVICE_UNAVAILABLE', correlationId: id };
    const errors = [new Overload(MASKED.SERVICE_UNAVAILABLE, { extensions })];
    return { id, since: now, refusedBefore: this.refused, ...refusalBy(503, RETRY_AFTER_SECONDS, errors) };
  }

  private endPeriod(): void {
    if (!this.period) return;
    const { id, refusedBefore } = this.period;
    this.period = null;
    const what = { correlationId: id, refused: this.refused - refusedBefore, ...this.delays() };
    this.report('error', what, 'requests were refused: there is more to do than this process can');
  }
}
