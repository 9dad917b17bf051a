/** A subscription: the row now, and again after every change, until it ends or may no longer be seen. */
import { GraphQLError } from 'graphql';
import type { Topic } from '../db/events';
import type { Listing } from '../read/lists';
import type { Context } from './context';

/**
 * Yields the current state first. Before each event role, session and row are read again; when the row is hidden or
 * missing it completes without an event. `ended` says of a row that nothing will follow it.
 */
export function follow<T extends object>(
  context: Context,
  listing: Listing<T>,
  id: string | null,
  topics: Topic[],
  ended: (row: T) => boolean = () => false,
): AsyncIterableIterator<T> {
  const abort = new AbortController();
  const rows = id === null ? nothing<T>() : changes(context, listing, id, topics, ended, abort.signal);
  // A generator that waits cannot be returned from; aborting its wait lets it end at once.
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => rows.next(),
    return: () => {
      abort.abort();
      return rows.return(undefined);
    },
    throw: (error: unknown) => {
      abort.abort();
      return rows.throw(error);
    },
  };
}

async function* changes<T extends object>(
  context: Context,
  listing: Listing<T>,
  id: string,
  topics: Topic[],
  ended: (row: T) => boolean,
  signal: AbortSignal,
): AsyncGenerator<T, void> {
  const { actors, events } = context.shared;
  for await (const _ of events.ticks([...topics, `user:${context.actor.userId}`], signal)) {
    const actor = await actors.current(context.actor);
    if (!actor)
      throw new GraphQLError('Your session has ended. Sign in again.', { extensions: { code: 'UNAUTHENTICATED' } });
    const [refused] = context.authorizeAgain?.(actor) ?? [];
    if (refused) throw refused;
    context.become(actor);
    const row = await context.reads.byId(listing, id);
    if (!row) return;
    yield row;
    if (ended(row)) return;
  }
}

async function* nothing<T>(): AsyncGenerator<T, void> {
  // A malformed id answers as a missing one: it completes at once.
}
