/** Which of an engine's errors are no answer yet. */
import { EngineError } from '../engine/engine';

/** How often an engine may be busy with something else, or leave an outcome open, before that is the answer. */
const PATIENCE = 100;

/**
 * Worth another attempt: nothing was started for a reason that passes, or nobody saw how it ended and the next attempt can
 * look. `attempts` is how often the operation has been taken up; in vain because the engine was away does not count.
 */
export function isTransient(error: unknown, attempts: number): boolean {
  if (!(error instanceof EngineError)) return false;
  return (
    error.code === 'UNAVAILABLE' || ((error.code === 'BUSY' || error.code === 'OUTCOME_UNKNOWN') && attempts < PATIENCE)
  );
}

/**
 * Thrown by a handler when the act itself was not begun, so that the next attempt need not wonder what came of this one. Any
 * other error after the act leaves that question open.
 */
export class NotStarted extends Error {
  constructor(override readonly cause: EngineError) {
    super(cause.message, { cause });
    this.name = 'NotStarted';
  }
}
