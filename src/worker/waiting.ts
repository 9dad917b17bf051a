/** How long an operation waits, and for how long at all. All of it by the database's clock. */
import type { DataSource } from 'typeorm';
import { EngineAway, isUnavailable } from '../engine/breaker';
import { OperationStatus } from '../entities/enums';
import type { Operation } from '../entities/operation';
import { databaseTime } from './observation';

/** Whoever asked has gone by then; what was not begun may as well be asked for again. */
const GIVE_UP_SECONDS = 24 * 3600;

/** Seconds until the next attempt; null when the operation was never begun, and has waited for the engine for too long. */
export async function nextAttempt(
  db: DataSource,
  operation: Operation,
  cause: unknown,
  notStarted: boolean,
): Promise<number | null> {
  const jitter = 0.75 + Math.random() / 2;
  if (!isUnavailable(cause)) {
    delete operation.input.awaySince;
    return Math.min(15, 0.5 * 2 ** Math.min(operation.attempts, 6)) * jitter;
  }
  const now = await databaseTime(db);
  operation.input.awaySince ??= now.toISOString();
  operation.attempts -= 1;
  const waited = (now.getTime() - Date.parse(operation.input.awaySince)) / 1000;
  // A step that is there may have had an effect, unless it is the running one of an attempt that started nothing.
  const left = operation.steps.filter(({ status }) => !(notStarted && status === OperationStatus.RUNNING));
  if (waited > GIVE_UP_SECONDS && !left.some(({ name }) => name === 'act')) return null;
  // The return of an engine that is away wakes it. That of one member of a cluster goes unnoticed, and is asked for.
  return cause instanceof EngineAway ? 16 * jitter : Math.min(15, Math.max(0.5, waited / 2)) * jitter;
}
