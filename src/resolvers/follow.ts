/** What all subscriptions do: watch for changes, judge the reader anew before each event, and be patient with the database. */
import { GraphQLError } from 'graphql';
import { patiently } from '../db/away';
import type { Topic } from '../db/events';
import type { Listing } from '../read/lists';
import type { Context } from './context';

/** A stream whose source is told by a signal that its client has gone. */
export function stream<T>(
  source: (signal: AbortSignal) => AsyncGenerator<T, void>,
): AsyncIterableIterator<T, void, undefined> {
  const abort = new AbortController();
  const results = source(abort.signal);
  // A generator that waits cannot be returned from; aborting its wait lets it end at once.
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => results.next(),
    return: () => {
      abort.abort();
      return results.return(undefined);
    },
    throw: (error: unknown) => {
      abort.abort();
      return results.throw(error);
    },
  };
}

/** When to look again: at every change of the topics or of the reader, and when the reader's credential ends by itself. */
export function looks(
  { shared, actor }: Context,
  topics: Topic[],
  signal: AbortSignal,
  everyMs?: number,
): AsyncGenerator<void, void> {
  const at = actor.credential.expiresAt;
  return shared.events.ticks([...topics, `user:${actor.userId}`], signal, { at, ...(everyMs && { everyMs }) });
}

/** Reads role and session again, and goes on as whoever the reader is now; throws when the subscription would be refused. */
export async function judgeAgain(context: Context): Promise<void> {
  const actor = await context.shared.actors.current(context.actor);
  if (!actor)
    throw new GraphQLError('Your session or token has ended. Sign in again.', {
      extensions: { code: 'UNAUTHENTICATED' },
    });
  const [refused] = context.authorizeAgain?.(actor) ?? [];
  if (refused) throw refused;
  context.become(actor);
}

/**
 * A row: its current state first, then again after every change, until `ended` says that nothing will follow. A row that is
 * hidden or missing completes without an event; one that is taken from the reader meanwhile ends with FORBIDDEN.
 */
export function follow<T extends object>(
  context: Context,
  listing: Listing<T>,
  id: string | null,
  topics: Topic[],
  ended: (row: T) => boolean = () => false,
): AsyncIterableIterator<T> {
  const { authorizer } = context.shared;
  return stream(async function* (signal) {
    if (id === null) return; // a malformed id answers as a missing one
    let seen = false;
    for await (const _ of looks(context, topics, signal)) {
      const row = await patiently(signal, async () => {
        await judgeAgain(context);
        return context.reads.byId(listing, id);
      });
      if (!row && seen && (await patiently(signal, () => context.reads.exists(listing, id))))
        throw authorizer.withdrawn();
      if (!row) return;
      yield row;
      if (ended(row)) return;
      seen = true;
    }
  });
}
