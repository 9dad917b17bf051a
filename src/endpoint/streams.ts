/** Operations that stream: WebSocket (graphql-transport-ws) and server-sent events, by the same steps as HTTP. */
import { STATUS_CODES, type ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import {
  execute,
  GraphQLError,
  OperationTypeNode,
  subscribe,
  type ExecutionArgs,
  type ExecutionResult,
  type FormattedExecutionResult,
  type GraphQLFormattedError,
} from 'graphql';
import { createHandler as createSseHandler } from 'graphql-sse/lib/use/fastify';
import { CloseCode, makeServer, type Context as SocketContext, type Server as WsProtocol } from 'graphql-ws';
import type { WebSocket } from 'ws';
import { NOBODY, type Caller, type Origin } from '../auth/actor';
import { isDatabaseAway } from '../db/away';
import { RequestError } from '../errors';
import type { Surroundings } from '../resolvers/context';
import { correlate } from './correlation';
import { Overload, retryAfter, toFormatted, type Report } from './errors';
import { failure, isRefusal, type Gate, type Params, type Refusal } from './gate';
import type { OriginOf } from './origin';
import type { Pressure, Refusal as Overloaded } from './pressure';
import type { RateLimits } from './rate-limits';
import { documentIdOf } from './stream-request';

/** A code at which clients do not connect again by themselves. */
const TOO_MANY = CloseCode.TooManyInitialisationRequests;

/** The other side of a socket. */
interface Peer {
  socket: WebSocket;
  origin: Origin;
}

export class Streams {
  /** Requests whose answer ends only when somebody ends it. */
  private readonly endless = new WeakSet<object>();
  private readonly opened = new Set<Pick<SocketContext, 'subscriptions'>>();

  constructor(
    private readonly gate: Gate,
    private readonly shared: Pick<Surroundings, 'actors' | 'events'>,
    private readonly maxSocketOperations: number,
    private readonly report: Report,
    private readonly pressure: Pressure,
    private readonly originOf: OriginOf,
    private readonly rates: RateLimits,
  ) {}

  /** Server-sent events in distinct connections mode: one operation a request. */
  sse(): ReturnType<typeof createSseHandler> {
    return createSseHandler({
      execute: (args) => execute(args),
      subscribe: (args) => subscribe(args),
      validate: () => [], // has been done
      onSubscribe: async ({ raw, context: { reply } }, params) => {
        const origin = this.originOf(raw.raw);
        const verdict = await this.gate.admit(
          { ...params, documentId: documentIdOf(raw) },
          {
            identify: () => this.shared.actors.identify(raw.headers.authorization, origin),
            origin,
            ...(!reply.raw.destroyed && { stream: reply.raw }),
            takes: (operation) =>
              raw.method === 'GET' && operation === OperationTypeNode.MUTATION ? notByGet() : null,
          },
        );
        // The library types contexts more narrowly than it uses them.
        return (isRefusal(verdict) ? (this.unavailable(verdict) ?? refusal(verdict)) : verdict.args) as never;
      },
      onOperation: (_context, { raw, context: { reply } }, _args, result) => {
        if (Symbol.asyncIterator in result) this.endless.add(raw);
        return endingWell(result, { ready: () => flushed(reply.raw) });
      },
      onNext: (_context, _request, result) => this.formatted(result) as never,
    });
  }

  /** The WebSocket protocol; each socket is opened with `serve`. */
  webSocket(): WsProtocol<Peer> {
    const callers = new WeakMap<WebSocket, Caller>();
    return makeServer<Record<string, unknown>, Peer>({
      onConnect: async (context) => {
        const { connectionParams, extra } = context;
        const { socket, origin } = extra;
        this.opened.add(context);
        socket.once('close', () => this.opened.delete(context));
        const authorization = connectionParams?.authorization ?? connectionParams?.Authorization;
        const given = typeof authorization === 'string' ? authorization : undefined;
        const caller = await this.shared.actors.identify(given, origin);
        callers.set(socket, caller);
        if (socket.readyState === socket.OPEN && this.rates.streamOfCaller(caller, socket))
          socket.close(TOO_MANY, 'Too many sockets and event streams are open');
        if (caller.actor) this.closeWhenLost(socket, caller.actor);
      },
      onSubscribe: ({ extra: { socket, origin }, subscriptions }, _id, params) =>
        correlate(() =>
          Object.keys(subscriptions).length > this.maxSocketOperations
            ? [this.tooMany()]
            : this.subscribed(params, origin, callers.get(socket)),
        ),
      // Closed here as well, so that it never depends on who is faster: the error would complete the operation, and a client
      // without another one closes the socket by itself.
      onOperation: ({ extra: { socket } }, _id, _params, _args, result) =>
        endingWell(result, {
          onFailure: (error) => isLoss(error) && socket.close(CloseCode.Forbidden, 'Forbidden'),
        }),
      onNext: (_context, _id, _params, _args, result) => this.formatted(result),
      onError: (_context, _id, _params, errors) => this.format(errors),
    });
  }

  /** What fails is said of this one operation, and leaves the socket's others alone. */
  private async subscribed(params: Params, origin: Origin, known: Caller = NOBODY): Promise<ExecutionArgs | Refusal> {
    const refused = await new Promise<Overloaded | null>((decide) => this.pressure.turn(decide));
    const tooMany = refused ?? this.rates.ofAddress(origin);
    if (tooMany) return tooMany.errors;
    const identify = async () => {
      const actor = known.actor && (await this.shared.actors.current(known.actor));
      return { actor, badToken: known.badToken || (known.actor !== null && actor === null) };
    };
    const verdict = await this.gate.admit(params, { identify, origin });
    return isRefusal(verdict) ? verdict : verdict.args;
  }

  /** Balancers and clients look at the status: that it is too much, or the database away, is no event. */
  private unavailable(refused: Refusal): [string, object] | null {
    const status = refused.some((error) => error instanceof Overload) ? 429 : refused.some(isAway) ? 503 : null;
    if (status === null) return null;
    const errors = this.format(refused);
    const seconds = retryAfter({ errors });
    const headers = { 'content-type': 'application/json; charset=utf-8', ...(seconds && { 'retry-after': seconds }) };
    return [JSON.stringify({ errors }), { status, statusText: STATUS_CODES[status], headers }];
  }

  private tooMany(): GraphQLError {
    const message = `One socket carries at most ${this.maxSocketOperations} operations at once: end some, or open another.`;
    return failure(message, 'QUERY_TOO_COMPLEX');
  }

  /** Whether a request has turned out to be an event stream of a subscription. */
  isEndless(request: object): boolean {
    return this.endless.has(request);
  }

  /** Whether somebody waits at a socket for an answer; subscriptions that run do not count. */
  isAwaited(): boolean {
    // The library holds null for an operation until there is a stream of results.
    return [...this.opened].some(({ subscriptions }) => Object.values(subscriptions).includes(null));
  }

  /** A lost session or another role ends the socket: the client signs in again and connects anew. */
  private closeWhenLost(socket: WebSocket, actor: NonNullable<Caller['actor']>): void {
    const look = () => {
      this.shared.actors.current(actor).then(
        (now) => (now?.role === actor.role ? undefined : socket.close(CloseCode.Forbidden, 'Forbidden')),
        // The database is away: whoever it is, the next event of a subscription looks again.
        () => undefined,
      );
    };
    if (socket.readyState !== socket.OPEN) return;
    socket.once('close', this.shared.events.on([`user:${actor.userId}`], look));
  }

  private formatted(result: { errors?: unknown }): FormattedExecutionResult | undefined {
    return Array.isArray(result.errors) ? { ...result, errors: this.format(result.errors) } : undefined;
  }

  private format(errors: readonly unknown[]): GraphQLFormattedError[] {
    return errors.map((error) => toFormatted(error, this.report));
  }
}

interface Course {
  /** Awaited before the source is asked for more. */
  ready?: () => Promise<void>;
  onFailure?: (error: unknown) => void;
}

/** A source that fails (the session was lost, the database is away) gives a last event that says so, not a broken stream. */
function endingWell<T extends object>(answer: T, { ready, onFailure }: Course): T {
  if (!(Symbol.asyncIterator in answer)) return answer;
  const results = answer as object as AsyncGenerator<ExecutionResult, void>;
  let failed = false;
  const stream: AsyncIterableIterator<ExecutionResult> = {
    [Symbol.asyncIterator]: () => stream,
    next: async () => {
      if (failed) return { done: true, value: undefined };
      try {
        await ready?.();
        return await results.next();
      } catch (error) {
        failed = true;
        onFailure?.(error);
        return { done: false, value: { errors: [error] as readonly GraphQLError[] } };
      }
    },
    return: () => results.return(undefined),
    throw: (error: unknown) => results.throw(error),
  };
  return stream as object as T;
}

/**
 * Waits until the client has taken what was sent, or is gone. The library for server-sent events puts what it is given into
 * a queue without a bound, and empties it by one write at a time: a slow client would fill our memory.
 */
async function flushed({ socket }: ServerResponse): Promise<void> {
  await setImmediate(); // until then the library has begun to write
  await new Promise<void>((resolve) => (socket && !socket.destroyed ? socket.write('', () => resolve()) : resolve()));
}

/** A session or a role was lost, not just the sight of one object. */
function isLoss(error: unknown): boolean {
  if (!(error instanceof GraphQLError)) return false;
  const { code, requiredRoles } = error.extensions;
  return code === 'UNAUTHENTICATED' || (code === 'FORBIDDEN' && requiredRoles !== undefined);
}

/** Ours or the identity provider's to mend. */
function isAway({ originalError: cause }: GraphQLError): boolean {
  return isDatabaseAway(cause) || (cause instanceof RequestError && cause.code === 'SERVICE_UNAVAILABLE');
}

/** As a stream of one event; the library knows no result without data. */
async function* refusal(errors: Refusal): AsyncGenerator<ExecutionResult, void> {
  yield await Promise.resolve({ errors });
}

function notByGet(): GraphQLError {
  return failure('A mutation needs POST: it is not executed by GET.', 'BAD_REQUEST');
}
