/** One stream over everything that changes, for those who keep a copy or a screen up to date. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Arg, Ctx, FieldResolver, ID, Resolver, Root, Subscription } from 'type-graphql';
import { Auth } from '../auth/directives';
import { patiently } from '../db/away';
import { EventChange, Role } from '../entities/enums';
import { Event } from '../entities/event';
import { Node } from '../entities/node';
import { readPlace, writePlace, type Place } from '../read/event-log';
import type { Context } from './context';
import { judgeAgain, looks, stream } from './follow';
import { toGlobalId } from './global-id';
import { find } from './node.resolver';

/** How long to wait for the end of an older transaction: first, and at most. */
const WAIT_MS = { first: 20, most: 1000 };
/** After so long a silence CAUGHT_UP is told again, far more often than cursors expire. */
const SILENCE_MS = 10 * 60 * 1000;

/** What is told: an event of the log, or that there is none, and where that is. */
type Told = Pick<Event, 'change' | 'occurredAt'> & Partial<Event> & { place: Place };

@Resolver(() => Event)
export class EventResolver {
  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Subscription(() => Event, {
    description:
      'Every change of an instance, snapshot or operation that you may see: first those since `after`, then CAUGHT_UP, then each as it happens. ' +
      'None is left out, all come in one order, and after a reconnect some may come again. ' +
      'Begin without `after`, read the state once CAUGHT_UP is there, and reconnect with the last cursor. ' +
      'A cursor is good for 24 hours; then, and when a backup of the database was restored, it is CURSOR_EXPIRED.',
    subscribe: ({ args, context }: { args: { after?: string | null }; context: Context }) =>
      everything(context, typeof args.after === 'string' ? readPlace(args.after) : null),
  })
  events(
    @Root() told: Told,
    @Arg('after', () => String, { nullable: true, description: 'The cursor of the last event you have.' })
    _after?: string | null,
  ): Event {
    return told as Event;
  }

  @FieldResolver(() => String, { description: 'Where the stream goes on after this event: the next `after`.' })
  cursor(@Root() { place }: Told): string {
    return writePlace(place);
  }

  @FieldResolver(() => ID, { nullable: true, description: 'The object that changed; null of CAUGHT_UP.' })
  nodeId(@Root() { nodeType, nodeId }: Told): string | null {
    return nodeType && nodeId ? toGlobalId(nodeType, nodeId) : null;
  }

  @FieldResolver(() => Node, {
    nullable: true,
    description:
      'The object as it is now, which may be later than the change; null when it is gone, or hidden from you.',
  })
  async node(@Root() told: Told, @Ctx() context: Context): Promise<Node | null> {
    const id = this.nodeId(told);
    return id === null ? null : find(context, id);
  }

  @FieldResolver(() => ID, { nullable: true, description: 'The instance it belongs to, or is; null of CAUGHT_UP.' })
  instanceId(@Root() { instanceId }: Told): string | null {
    return instanceId ? toGlobalId('Instance', instanceId) : null;
  }
}

function everything(context: Context, after: Place | null): AsyncIterableIterator<Told> {
  return stream(async function* (signal) {
    let place = after;
    let silentSince: number | null = null;
    for await (const _ of looks(context, ['events'], signal, SILENCE_MS)) {
      for (let wait = WAIT_MS.first; !signal.aborted;) {
        const from = place;
        const reading = await patiently(signal, async () => {
          await judgeAgain(context);
          return context.reads.eventAfter(from);
        });
        place = reading.place;
        if (reading.event) {
          yield { ...reading.event, place };
          if (silentSince !== null) silentSince = Date.now();
          wait = WAIT_MS.first;
          continue;
        }
        if (silentSince === null || Date.now() - silentSince >= SILENCE_MS) {
          yield { change: EventChange.CAUGHT_UP, occurredAt: place.at, place };
          silentSince = Date.now();
        }
        if (!reading.more) break;
        await sleep(wait, undefined, { signal }).catch(() => undefined);
        wait = Math.min(2 * wait, WAIT_MS.most);
      }
    }
  });
}
