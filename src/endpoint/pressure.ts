/**
 * Overload is refused, not piled up. What counts is how long things wait, not how many there are: for their turn in the event
 * loop, and for a connection of the database's pool.
 */
import type { FastifyInstance } from 'fastify';
import { GraphQLError } from 'graphql';
import type { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { MASKED, type Report } from './errors';

const LOOK_EVERY_MS = 20;
/** These raise the alarm. A single long task is no overload: it is seen at one look only, and does not count as the pool's. */
const ALARM = { loopMs: 100, poolMs: 200, looks: 3 };
/** Until the alarm is over, a request is refused while one of these is exceeded. */
const TARGET = { loopMs: 50, poolMs: 100 };
/** The alarm is over when nothing had to be refused for this long; also how long refusals share an id and a line of the log. */
const CALM_MS = 1000;
/** After a connection could not be had at all: the database is away, which is not ours to find out again and again. */
const AWAY_PAUSE_MS = 250;

/** How long something waits. What is still waiting counts with what it has waited so far. */
class Wait {
  private lastMs = 0;
  private since = Infinity;

  begin(at: number): void {
    this.since = at;
  }

  end(now: number): void {
    this.lastMs = Math.max(0, now - this.since);
    this.since = Infinity;
  }

  ms(now: number): number {
    return Math.max(this.lastMs, now - this.since);
  }
}

/** Is said as it is: it has its id, and is a line in the log with all others of its second. */
export class Overload extends GraphQLError {}

/** The answer that refused requests of the same second share, and the id under which the log says how many they were. */
export interface Refusal {
  body: string;
  errors: readonly Overload[];
}

/** Decides, request by request, whether there is room for it. */
export class Pressure {
  /** How many were refused since the start. */
  refused = 0;
  private readonly loop = new Wait();
  private readonly pool = new Wait();
  /** How much of what the pool is waited for was the loop's delay. */
  private loopMsOfPool = 0;
  private looksInARow = 0;
  private isAlarmed = false;
  private lastRefusal = 0;
  private period: (Refusal & { id: string; since: number; refusedBefore: number }) | null = null;
  private looking: NodeJS.Timeout | undefined;
  private asking: NodeJS.Timeout | undefined;
  private isStopped = false;

  constructor(
    private readonly db: DataSource,
    private readonly report: Report,
  ) {}

  start(): void {
    this.lookAgain();
    void this.ask();
  }

  stop(): void {
    this.isStopped = true;
    clearTimeout(this.looking);
    clearTimeout(this.asking);
    this.endPeriod();
  }

  /** The two delays at this moment, in milliseconds. */
  delays(now = performance.now()): { loopMs: number; poolMs: number } {
    return { loopMs: this.loop.ms(now), poolMs: this.pool.ms(now) };
  }

  /** Null when the request may go on; else what to answer. */
  refusal(): Refusal | null {
    const now = performance.now();
    const { loopMs, poolMs } = this.delays(now);
    if (poolMs - this.loopMsOfPool - loopMs > ALARM.poolMs) this.raiseAlarm(now); // in an overloaded loop the next look may be far away
    if (!this.isAlarmed || (loopMs <= TARGET.loopMs && poolMs <= TARGET.poolMs)) return null;
    this.refused += 1;
    this.lastRefusal = now;
    return (this.period ??= this.newPeriod(now));
  }

  private raiseAlarm(now: number): void {
    if (!this.isAlarmed) this.lastRefusal = now;
    this.isAlarmed = true;
  }

  private lookAgain(): void {
    this.loop.begin(performance.now() + LOOK_EVERY_MS);
    this.looking = setTimeout(() => {
      this.look(performance.now());
      this.lookAgain();
    }, LOOK_EVERY_MS).unref();
  }

  private look(now: number): void {
    this.loop.end(now);
    this.loopMsOfPool += this.loop.ms(now);
    this.looksInARow = this.loop.ms(now) > ALARM.loopMs ? this.looksInARow + 1 : 0;
    if (this.looksInARow >= ALARM.looks) this.raiseAlarm(now);
    if (this.isAlarmed && now - this.lastRefusal > CALM_MS) this.isAlarmed = false;
    if (this.period && now - this.period.since > CALM_MS) this.endPeriod();
  }

  /** Waits in the same line as every request does, one at a time. */
  private async ask(): Promise<void> {
    this.pool.begin(performance.now());
    this.loopMsOfPool = 0;
    const runner = this.db.createQueryRunner();
    const had = await runner.connect().then(
      () => true,
      () => false,
    );
    await runner.release();
    this.pool.end(performance.now());
    if (this.isStopped) return;
    this.asking = setTimeout(() => void this.ask(), had ? LOOK_EVERY_MS : AWAY_PAUSE_MS).unref();
  }

  private newPeriod(now: number): NonNullable<typeof this.period> {
    const id = uuidv7();
    const extensions = { code: 'SERVICE_UNAVAILABLE', correlationId: id };
    const errors = [new Overload(MASKED.SERVICE_UNAVAILABLE, { extensions })];
    return { id, since: now, refusedBefore: this.refused - 1, errors, body: JSON.stringify({ errors }) };
  }

  private endPeriod(): void {
    if (!this.period) return;
    const { id, refusedBefore } = this.period;
    this.period = null;
    const what = { correlationId: id, refused: this.refused - refusedBefore, ...this.delays() };
    this.report('error', what, 'requests were refused: there is more to do than this process can');
  }
}

/** Seconds after which a refused client may try again. */
export const RETRY_AFTER = '1';
const GRAPHQL = /^\/graphql\/?(\?|$)/;

/** Refuses requests to `/graphql` before anything of them is looked at; health and metrics are always answered. */
export function shedLoad(server: FastifyInstance, pressure: Pressure): void {
  server.addHook('onRequest', ({ url, headers }, reply, next) => {
    const refusal = GRAPHQL.test(url) ? pressure.refusal() : null;
    if (!refusal) {
      next();
      return;
    }
    // Past every other hook and serializer: refusing must cost next to nothing, or it is what overloads us.
    reply.hijack();
    const modern = headers.accept?.includes('application/graphql-response+json') ?? false;
    reply.raw
      .writeHead(503, {
        'content-type': `application/${modern ? 'graphql-response+' : ''}json; charset=utf-8`,
        'content-length': refusal.body.length,
        'cache-control': 'no-store',
        'retry-after': RETRY_AFTER,
      })
      .end(refusal.body);
  });
}
