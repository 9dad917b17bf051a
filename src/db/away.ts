import { setTimeout as sleep } from 'node:timers/promises';

/**
 * SQLSTATEs and socket errors of a database that is away, overloaded, no longer the primary (25006), or gave a statement or
 * an idle transaction up: a passing thing.
 */
const CODES = /^(08|53|57P0[1-3]|57014$|25006$|25P03$)|^E(CONNREFUSED|CONNRESET|PIPE|TIMEDOUT|HOSTUNREACH|NOTFOUND)$/;
// TypeORM calls a connection "already released" that it lost in the middle of a transaction.
const TEXTS =
  /Connection terminated|timeout exceeded when trying to connect|Query read timeout|is not queryable|already released/;

/** Whether an error says that the database could not be asked just now, and nothing about what it was asked. */
export function isDatabaseAway(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown };
  return (typeof code === 'string' && CODES.test(code)) || (error instanceof Error && TEXTS.test(error.message));
}

/** A restart of the database takes a second or two. */
const PATIENCE_MS = 10_000;
const AGAIN_MS = 250;

/** Does it again while the database is away, for some seconds. Only for what may be done twice: the first may have gone through unheard. */
export async function throughAbsence<T>(work: () => Promise<T>, stop?: AbortSignal): Promise<T> {
  for (const deadline = Date.now() + PATIENCE_MS; ;) {
    try {
      return await work();
    } catch (error) {
      if (!isDatabaseAway(error) || Date.now() > deadline || stop?.aborted) throw error;
    }
    await sleep(AGAIN_MS);
  }
}
