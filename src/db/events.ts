/**
 * The commit is the event: `announce` inside a transaction is delivered only when it commits, and only as "look again".
 * One connection of each process listens. After it was lost everybody looks again, for nobody knows what was missed.
 */
import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import type { EntityManager } from 'typeorm';

const CHANNEL = 'keyframe';

/**
 * What may have changed. An instance's topic covers its snapshots; a user's covers role, sessions and assignments; 'events'
 * is all that the change log holds. Triggers send all but the user's.
 */
export type Topic = 'events' | `operation:${string}` | `instance:${string}` | UserTopic;
type UserTopic = `user:${string}`;

/** Tells every process, when (and only when) this transaction commits, to look at these again. */
export async function announce(tx: EntityManager, ...topics: UserTopic[]): Promise<void> {
  await tx.query('select pg_notify($1, topic) from unnest($2::text[]) topic', [CHANNEL, topics]);
}

export class Events {
  private readonly emitter = new EventEmitter().setMaxListeners(0);
  private readonly stopping = new AbortController();
  private client: Client | undefined;

  constructor(
    private readonly url: string,
    private readonly onTrouble: (error: Error) => void,
  ) {}

  /** Listens; resolves once the first connection does. Later losses are mended in the background. */
  async start(): Promise<void> {
    await this.connect();
  }

  async stop(): Promise<void> {
    this.stopping.abort();
    await this.client?.end().catch(() => undefined);
  }

  /** Calls `look` whenever one of the topics may have changed, until the returned function is called. */
  on(topics: Topic[], look: () => void): () => void {
    for (const topic of [...topics, EVERYTHING]) this.emitter.on(topic, look);
    return () => {
      for (const topic of [...topics, EVERYTHING]) this.emitter.off(topic, look);
    };
  }

  /**
   * One tick per change, the first at once. Changes that come while the consumer is busy become one tick: a slow
   * client costs a boolean, not a queue. With `everyMs` there is one at least that often, and there is one at the time `at`.
   */
  async *ticks(
    topics: Topic[],
    signal: AbortSignal,
    { everyMs, at }: { everyMs?: number; at?: Date | null | undefined } = {},
  ): AsyncGenerator<void, void> {
    let dirty = true;
    let wake: () => void = () => undefined;
    const nudge = () => {
      dirty = true;
      wake();
    };
    const off = this.on(topics, nudge);
    signal.addEventListener('abort', nudge);
    const timer = everyMs === undefined ? undefined : setInterval(nudge, everyMs).unref();
    const last = at ? setTimeout(nudge, Math.min(at.getTime() - Date.now(), LONGEST_TIMER_MS)).unref() : undefined;
    try {
      while (!signal.aborted) {
        if (dirty) {
          dirty = false;
          yield;
        } else {
          await new Promise<void>((resolve) => (wake = resolve));
        }
      }
    } finally {
      off();
      clearInterval(timer);
      clearTimeout(last);
      signal.removeEventListener('abort', nudge);
    }
  }

  private async connect(): Promise<void> {
    const client = new Client({
      connectionString: this.url,
      application_name: 'keyframe events',
      keepAlive: true,
      connectionTimeoutMillis: 10_000,
      query_timeout: 10_000,
    });
    client.on('notification', ({ payload }) => {
      // Any role of the database can notify; only our topics are passed on.
      if (payload && TOPIC.test(payload)) this.emitter.emit(payload);
    });
    client.on('error', this.onTrouble); // the end that follows mends it
    await client.connect();
    await client.query(`listen ${CHANNEL}`);
    const alive = setInterval(() => {
      client.query('select 1').catch(() => client.end().catch(() => undefined));
    }, ALIVE_EVERY_MS).unref();
    client.once('end', () => {
      clearInterval(alive);
      void this.reconnect();
    });
    this.client = client;
  }

  private async reconnect(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      try {
        await this.connect();
        this.emitter.emit(EVERYTHING);
        return;
      } catch (error) {
        this.onTrouble(error as Error);
        await sleep(500, undefined, { signal: this.stopping.signal }).catch(() => undefined);
      }
    }
  }
}

const EVERYTHING = '*';
const TOPIC = /^(events|(operation|instance|user):[0-9a-f-]{36})$/;
/** An idle connection may be dropped on the way without a word; this often somebody asks whether it is still there. */
/** Longer ones go off at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
const ALIVE_EVERY_MS = 20_000;
