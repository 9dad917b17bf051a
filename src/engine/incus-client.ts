import { pipeline, type Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import StreamJson from 'stream-json';
import Pick from 'stream-json/filters/Pick';
import StreamArray from 'stream-json/streamers/StreamArray';
import type { Dispatcher } from 'undici';
import { deadline } from './deadline';
import { EngineError, type Started } from './engine';
import { ConnectFailed, type Endpoint } from './incus-connect';
import { failure, isLostOnTheWay, refusal, unavailable, unknownOutcome, type Act } from './incus-errors';
import { text, wire } from './incus-facts';

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

interface Reply {
  /** The body's own code where it has one: after a wait, HTTP says 200 whatever happened. */
  status: number;
  error: string;
  /** Whether it is the engine that speaks, and not something on the way to it. */
  genuine: boolean;
  operation: string;
  metadata: unknown;
}

export interface Write {
  act: Exclude<Act, 'read'>;
  method: 'POST' | 'PUT' | 'DELETE';
  path: string;
  body?: Record<string, unknown>;
}

/** In all for one question and its answer, which the engine gives at once: also when it takes work on. */
const ANSWER_MS = 30_000;
/** Engine waits are cut in slices, so that a dead connection is noticed and another member can be asked. */
const SLICE_SECONDS = 10;
/** How long an engine that took an operation may be silent: a restart of the daemon takes two or three seconds. */
const PATIENCE_MS = 15_000;

/** HTTP to the engine: which member to ask, what an answer means, and when an operation is over. */
export class IncusClient {
  private current = 0;
  private closed = false;

  constructor(private readonly endpoints: Endpoint[]) {}

  /** The ways to the engine, beginning with the one that answered last. */
  ways(): Endpoint[] {
    return [...this.endpoints.slice(this.current), ...this.endpoints.slice(0, this.current)];
  }

  /** The `metadata` of a read. */
  async get(path: string, signal: AbortSignal): Promise<unknown> {
    for (let asked = 1; ; asked += 1) {
      const reply = await this.exchange('GET', path, undefined, signal);
      if (reply.status < 400) return reply.metadata;
      const error = unread(reply);
      if (error.code !== 'UNAVAILABLE' || asked >= this.endpoints.length) throw error;
      // "Not ready" may be this member's view alone: after a restart the others take seconds to see one again. The
      // one that can answer stays the one to ask, so a write that follows goes there, too.
      this.current = (this.current + 1) % this.endpoints.length;
    }
  }

  /** The `metadata` of a read, or null when the engine has no such thing. */
  async find(path: string, signal: AbortSignal): Promise<unknown> {
    try {
      return await this.get(path, signal);
    } catch (error) {
      if (error instanceof EngineError && error.code === 'NOT_FOUND') return null;
      throw error;
    }
  }

  /** The elements of a long list one by one as they arrive: neither the text nor the list is ever held whole. */
  async *list(path: string, signal: AbortSignal): AsyncGenerator {
    const response = await this.send('GET', path, undefined, signal);
    if (response.statusCode >= 400) {
      throw unread(await readReply(response));
    }
    const pick = new MetadataPick();
    const elements = pipeline(
      response.body as Readable,
      // Only whole values are wanted, which halves the work.
      StreamJson.parser({ packValues: true, streamValues: false }),
      pick,
      StreamArray.streamArray(),
      () => undefined, // The end and its reason are seen by the loop below.
    );
    try {
      for await (const { value } of elements as AsyncIterable<{ value: unknown }>) yield value;
    } catch (error) {
      throw unavailable('The list of the engine broke off.', String(error), error);
    } finally {
      elements.destroy();
    }
    if (!pick.found) throw unavailable('The engine did not answer with a list.');
  }

  /** Starts an operation and waits until it is over. */
  async write(write: Write, signal: AbortSignal, started?: Started): Promise<void> {
    const reply = await this.exchange(write.method, write.path, write.body, signal);
    if (reply.status >= 400) {
      if (!reply.genuine || isLostOnTheWay(reply.status, reply.error)) throw unknownOutcome(reply.error);
      throw refusal(write.act, reply.status, reply.error);
    }
    const id = /^\/1\.0\/operations\/([\w-]+)/.exec(reply.operation)?.[1];
    if (id === undefined) throw unknownOutcome(`There is no operation in the answer to ${write.method}.`);
    started?.(`${write.act} ${id}`);
    await this.settle(id, write.act, signal);
  }

  /** Waits for an operation that was started before; false when the engine does not know it (any more). */
  async outcome(id: string, act: Act, signal: AbortSignal): Promise<boolean> {
    if ((await this.find(`/1.0/operations/${encodeURIComponent(id)}`, signal)) === null) return false;
    await this.settle(id, act, signal);
    return true;
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.endpoints.map(({ pool }) => pool.destroy()));
  }

  /**
   * The engine forgets an operation five seconds after its end, so the waiting begins at once and has no gaps. What
   * the wait says is only believed when it is a success: a failed operation and a wait whose time is over look alike.
   */
  private async settle(id: string, act: Act, signal: AbortSignal): Promise<void> {
    const operation = `/1.0/operations/${encodeURIComponent(id)}`;
    let lostAt: number | null = null;
    for (;;) {
      const startedAt = Date.now();
      let state = await this.ask(`${operation}/wait?timeout=${SLICE_SECONDS}`, signal);
      if (state === 'doubtful') state = await this.ask(operation, signal);
      if (signal.aborted) throw unknownOutcome('The deadline passed while the operation was running.', signal.reason);
      if (state === 'done') return;
      if (state === 'forgotten') throw unknownOutcome('The engine does not know the operation any more.');
      if (state instanceof Failed) throw failure(act, state.reason);
      lostAt = state === 'running' ? null : (lostAt ?? startedAt);
      if (lostAt !== null && Date.now() - lostAt > PATIENCE_MS) {
        throw unknownOutcome('The engine stopped answering while the operation was running.');
      }
      // An engine that answers a wait at once must not be asked in a tight loop.
      if (Date.now() - startedAt < 500) await pause(250, undefined, { signal }).catch(() => undefined);
    }
  }

  private async ask(
    path: string,
    signal: AbortSignal,
  ): Promise<'done' | 'running' | 'forgotten' | 'doubtful' | Failed> {
    const slice = deadline(signal, (SLICE_SECONDS + 10) * 1_000);
    try {
      const reply = await this.exchange('GET', path, undefined, slice.signal);
      if (reply.status === 404) return 'forgotten';
      if (reply.status >= 400) return 'doubtful';
      const { status, err } = wire(reply.metadata);
      if (status === 'Success') return 'done';
      if (status === 'Failure' || status === 'Cancelled') return new Failed(text(err) || `It ended as ${status}.`);
      return 'running';
    } catch {
      return 'doubtful';
    } finally {
      slice.clear();
    }
  }

  private async exchange(method: Method, path: string, body: Write['body'], signal: AbortSignal): Promise<Reply> {
    const inTime = deadline(signal, ANSWER_MS);
    try {
      const response = await this.send(method, path, body, inTime.signal);
      return await readReply(response).catch((error: unknown) => {
        throw method === 'GET' ? unanswered(inTime.signal, error) : unknownOutcome(String(error), error);
      });
    } finally {
      inTime.clear();
    }
  }

  /** Asks one member after the other. A write goes on to the next only while certainly nothing was sent. */
  private async send(
    method: Method,
    path: string,
    body: Write['body'],
    signal: AbortSignal,
  ): Promise<Dispatcher.ResponseData> {
    const failures: string[] = [];
    let last: unknown;
    const ways = this.ways();
    // The first is tried once more at the end: a kept connection may have died since it was last used.
    for (const endpoint of [...ways, ...ways.slice(0, 1)]) {
      if (this.closed) throw unavailable('The connection to the engine is closed.');
      if (signal.aborted) throw unanswered(signal, last);
      try {
        const response = await endpoint.pool.request({
          method,
          path,
          signal,
          headers: { accept: 'application/json', ...(body && { 'content-type': 'application/json' }) },
          ...(body && { body: JSON.stringify(body) }),
        });
        this.current = this.endpoints.indexOf(endpoint);
        return response;
      } catch (error) {
        // Asked last the next time: a member that is silent until the deadline must not stand for the whole cluster.
        this.current = (this.endpoints.indexOf(endpoint) + 1) % this.endpoints.length;
        if (method !== 'GET' && !(error instanceof ConnectFailed)) throw unknownOutcome(String(error), error);
        failures.push(`${endpoint.label}: ${String(error)}`);
        last = error;
      }
    }
    const why = last instanceof ConnectFailed ? ` (${last.reason})` : '';
    throw unavailable(`The engine cannot be reached${why}.`, failures.join('\n'), last);
  }
}

/** Lets only the list through, and knows whether there was one: an answer without it must not pass for an empty list. */
class MetadataPick extends Pick {
  found = false;

  constructor() {
    super({ filter: (stack) => stack[0] === 'metadata' && (this.found = true) });
  }
}

class Failed {
  constructor(readonly reason: string) {}
}

function unanswered(signal: AbortSignal, error: unknown): EngineError {
  const message = signal.aborted ? 'The engine did not answer in time.' : 'The connection to the engine broke off.';
  return unavailable(message, String(error ?? signal.reason), error);
}

/** A look that fails says nothing of what was looked for, unless the engine itself gives a reason. */
function unread({ status, error, genuine }: Reply): EngineError {
  const known = refusal('read', status, error);
  if (genuine && (status < 500 || known.code !== 'REJECTED')) return known;
  return unavailable('The engine did not answer properly.', error);
}

async function readReply(response: Dispatcher.ResponseData): Promise<Reply> {
  const raw = await response.body.text();
  let body = wire(null);
  try {
    body = wire(JSON.parse(raw));
  } catch (cause) {
    // Something in between may answer with a page of its own, which is fine for an error and useless for anything else.
    if (response.statusCode < 400) throw new Error('The answer of the engine is not JSON.', { cause });
  }
  const code = body.type === 'error' ? Number(body.error_code) || 500 : response.statusCode;
  return {
    status: Math.max(code, response.statusCode),
    error: text(body.error) || raw,
    genuine: body.type !== undefined,
    operation: text(body.operation),
    metadata: body.metadata,
  };
}
