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
    const [minute, counts] = [this.minute, this.current];
    const news = [...counts].filter(([, { used, untold, limit }]) => untold > 0 && used >= limit * NOTICEABLE);
    if (news.length === 0) return;
    const told = new Map(news.map(([key, { untold }]) => [key, untold]));
    const rows = await db.query<{ key: string; used: number }[]>(EXCHANGE, [
      minute,
      [...told.keys()],
      [...told.values()],
    ]);
    for (const { key, used } of rows) {
      const count = counts.get(key);
      if (!count) continue;
      count.untold -= told.get(key) ?? 0;
      count.used = used + count.untold;
    }
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

/** In the order of the keys, so that two processes never wait for one another. */
const EXCHANGE = `
insert into request_counts (minute, key, used)
select $1, key, used from unnest($2::text[], $3::int[]) as t (key, used) order by key
on conflict (minute, key) do update set used = request_counts.used + excluded.used
returning key, used`;
