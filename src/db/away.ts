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

/** Whether Postgres gave a statement up because it took too long. */
export function wasStopped(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === '57014';
}

/** How long to wait before a database that was away is asked again. */
const ASK_AGAIN_MS = 250;

/** Asks again as long as the database is away, until the signal aborts or so much time has passed. What is asked may be done twice. */
export async function patiently<T>(signal: AbortSignal, ask: () => Promise<T>, forMs = Infinity): Promise<T> {
  const deadline = Date.now() + forMs;
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (signal.aborted || !isDatabaseAway(error) || Date.now() > deadline) throw error;
      await sleep(ASK_AGAIN_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}
