/**
 * How often something happened within the last minute, counted in memory, so that asking costs two look-ups in maps. What other
 * processes counted is exchanged through one table, at most once a second and for the keys that matter.
 */
import type { DataSource } from 'typeorm';

const MINUTE_MS = 60_000;
const EXCHANGE_MS = 1000;
/** More keys than this are strangers with many addresses: the oldest are forgotten, as each of them is far from any limit. */
const MOST_KEYS = 50_000;
/** A key is told to others from this part of its limit on: until then they cannot be wrong by more. */
const NOTICEABLE = 0.01;

interface Count {
  /** In this minute, in all processes as far as known. */
  used: number;
  /** What of it is yet to be told to the others. */
  untold: number;
  limit: number;
}

export class Usage {
  private minute = 0;
  private current = new Map<string, Count>();
  /** The minute before, of which the part counts that is less than a minute ago. */
  private previous = new Map<string, Count>();
  private timer: NodeJS.Timeout | undefined;
  private exchanging: Promise<void> | undefined;

  constructor(private readonly clock: () => number = Date.now) {}

  /** Counts one more of `key` unless that would be more than `limit` a minute: then the seconds until it may be tried again. */
  take(key: string, limit: number): number | null {
    const wait = this.wait(key, limit);
    if (wait === null) this.add(key, limit);
    return wait;
  }

  /** The seconds until one more of `key` may be; null: now. */
  wait(key: string, limit: number): number | null {
    const part = this.turnTo(this.clock());
    const used = (this.current.get(key)?.used ?? 0) + 1;
    const before = this.previous.get(key)?.used ?? 0;
    if (before * (1 - part) + used <= limit) return null;
    // With this minute's alone too many, what is used up now must become the minute before, and that a part of itself.
    const free = used > limit ? 1 + (1 - (limit - 1) / (used - 1)) : 1 - (limit - used) / before;
    return Math.max(1, Math.ceil((free - part) * (MINUTE_MS / 1000)));
  }

  add(key: string, limit: number): void {
    const count = this.current.get(key);
    if (count) {
      count.used += 1;
      count.untold += 1;
      return;
    }
    this.current.set(key, { used: 1, untold: 1, limit });
    if (this.current.size <= MOST_KEYS) return;
    const [oldest = key] = this.current.keys();
    this.current.delete(oldest);
  }

  /** Begins to exchange with the other processes on this database. While it is away each counts alone. */
  share(db: DataSource): void {
    this.timer = setInterval(() => {
      this.exchanging ??= this.exchange(db)
        .catch(() => undefined)
        .finally(() => (this.exchanging = undefined));
    }, EXCHANGE_MS).unref();
  }

  async stop(): Promise<void> {
    clearInterval(this.timer);
    await this.exchanging;
  }

  private async exchange(db: DataSource): Promise<void> {
    this.turnTo(this.clock());
    const news = [...this.news(this.minute - 1, this.previous), ...this.news(this.minute, this.current)];
    if (news.length === 0) return;
    const told = news.map(({ count }) => count.untold);
    const totals = await db.query<{ minute: number; key: string; used: number }[]>(EXCHANGE, [
      news.map(({ minute }) => minute),
      news.map(({ key }) => key),
      told,
    ]);
    news.forEach(({ count }, at) => (count.untold -= told[at] ?? 0));
    for (const { minute, key, used } of totals) this.learn(minute, key, used);
  }

  private news(minute: number, counts: Map<string, Count>): { minute: number; key: string; count: Count }[] {
    return [...counts]
      .filter(([, { used, untold, limit }]) => untold > 0 && used >= limit * NOTICEABLE)
      .map(([key, count]) => ({ minute, key, count }));
  }

  /** What all have used, but for what we did not tell yet. */
  private learn(minute: number, key: string, used: number): void {
    if (minute === this.minute - 1 && !this.previous.has(key)) this.previous.set(key, { used, untold: 0, limit: 0 });
    const count = (minute === this.minute ? this.current : this.previous).get(key);
    if (count && minute >= this.minute - 1) count.used = Math.max(count.used, used + count.untold);
  }

  /** Begins a new minute when it is time; gives the part of the present one that is over. */
  private turnTo(now: number): number {
    const minute = Math.floor(now / MINUTE_MS);
    if (minute !== this.minute) {
      this.previous = minute === this.minute + 1 ? this.current : new Map<string, Count>();
      this.current = new Map();
      this.minute = minute;
    }
    return (now % MINUTE_MS) / MINUTE_MS;
  }
}

/** In the order of the keys, so that two processes never wait for one another. Of each, the minute before is told as well. */
const EXCHANGE = `
with told as (
  insert into request_counts (minute, key, used)
  select minute, key, used from unnest($1::int[], $2::text[], $3::int[]) as t (minute, key, used) order by minute, key
  on conflict (minute, key) do update set used = request_counts.used + excluded.used
  returning minute, key, used
)
select minute, key, used from told
union all
select b.minute, b.key, b.used from request_counts b join told on b.minute = told.minute - 1 and b.key = told.key`;
