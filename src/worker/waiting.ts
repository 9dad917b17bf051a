/** How long an operation waits, and for how long at all. All of it by the database's clock. */
import type { DataSource } from 'typeorm';
import { EngineAway, isUnavailable } from '../engine/breaker';
import { OperationStatus } from '../entities/enums';
import type { Operation } from '../entities/operation';
import { GIVE_UP_AFTER_SECONDS } from '../services/postponement';
import { databaseTime } from './observation';

const jittered = (seconds: number) => seconds * (0.75 + Math.random() / 2);

/** Seconds until an operation looks by itself whether the engine is back, whose return is going to wake it. */
export const untilWoken = () => jittered(16);

/** What an operation says while it waits. */
export const waitsFor = (cause: Error) => `${cause.message} It is tried again by itself.`;

/** Seconds until the next attempt; null when the operation was never begun, and has waited for the engine for too long. */
export async function nextAttempt(
  db: DataSource,
  operation: Operation,
  cause: unknown,
  notStarted: boolean,
): Promise<number | null> {
  if (!isUnavailable(cause)) {
    delete operation.input.awaySince;
    return jittered(Math.min(15, 0.5 * 2 ** Math.min(operation.attempts, 6)));
  }
  const now = await databaseTime(db);
  operation.input.awaySince ??= now.toISOString();
  operation.attempts -= 1;
  const waited = (now.getTime() - Date.parse(operation.input.awaySince)) / 1000;
  if (waited > GIVE_UP_AFTER_SECONDS && !mayHaveBegun(operation, notStarted)) return null;
  // The return of an engine that is away wakes it. That of one member of a cluster goes unnoticed, and is asked for.
  return cause instanceof EngineAway ? untilWoken() : jittered(Math.min(15, Math.max(0.5, waited / 2)));
}

/** A step that is there may have had an effect, unless it is the running one of an attempt that started nothing. */
export function mayHaveBegun({ steps }: Operation, notStarted: boolean): boolean {
  const left = steps.filter(({ status }) => !(notStarted && status === OperationStatus.RUNNING));
  return left.some(({ name }) => name === 'act');
}
