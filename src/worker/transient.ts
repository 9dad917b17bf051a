import { EngineError } from '../engine/engine';

/** How often an engine may be busy with something else before that is the answer. */
const PATIENCE = 10;

/** The engine refused to begin, for a reason that passes; `attempts` is how often it has been asked. */
export function isTransient(error: unknown, attempts: number): boolean {
  if (!(error instanceof EngineError)) return false;
  return error.code === 'UNAVAILABLE' || (error.code === 'BUSY' && attempts < PATIENCE);
}

/**
 * Thrown by a handler when the act itself was not begun, so that the next attempt need not wonder what came of this one. Any
 * other UNAVAILABLE after the act leaves that question open.
 */
export class NotStarted extends Error {
  constructor(override readonly cause: EngineError) {
    super(cause.message, { cause });
    this.name = 'NotStarted';
  }
}

/** Rethrows a passing refusal of the act as NotStarted; lets everything else go on. */
export function throwIfNotStarted(error: unknown, attempts: number): void {
  if (error instanceof EngineError && isTransient(error, attempts)) throw new NotStarted(error);
}
