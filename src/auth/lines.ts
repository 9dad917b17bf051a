import { RequestError } from '../errors';

/** Whoever comes when so many stand in one line would wait for longer than they are ready to. */
const LONGEST_LINE = 250;

/** Work of one key is done one after the other, in the order in which it came. */
export class Lines {
  private readonly lines = new Map<string, { last: Promise<unknown>; length: number }>();

  async inTurn<T>(key: string, work: () => Promise<T>): Promise<T> {
    const line = this.lines.get(key) ?? { last: Promise.resolve(), length: 0 };
    if (line.length >= LONGEST_LINE) {
      throw new RequestError('RATE_LIMITED', 'Too many do this at the same time. Try again in a moment.', {
        retryAfterSeconds: 5,
      });
    }
    this.lines.set(key, line);
    line.length += 1;
    const done = line.last.then(work);
    line.last = done.catch(() => undefined);
    try {
      return await done;
    } finally {
      line.length -= 1;
      if (line.length === 0) this.lines.delete(key);
    }
  }
}
