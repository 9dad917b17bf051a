/** The id under which a request is known to its caller, in every error, and to the log. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { v7 as uuidv7 } from 'uuid';

const current = new AsyncLocalStorage<string>();

/** Runs everything that `work` starts under a new id. */
export function correlate<T>(work: () => T): T {
  return current.run(uuidv7(), work);
}

/** The present request's id; a new one outside of any. */
export function correlationId(): string {
  return current.getStore() ?? uuidv7();
}
