/** Operations that stream: WebSocket (graphql-transport-ws) and server-sent events, by the same steps as HTTP. */
import type { ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import {
  execute,
  getOperationAST,
  GraphQLError,
  parse,
  subscribe,
  validate,
  type ExecutionArgs,
  type ExecutionResult,
  type FormattedExecutionResult,
  type GraphQLFormattedError,
  type GraphQLSchema,
} from 'graphql';
import { createHandler as createSseHandler } from 'graphql-sse/lib/use/fastify';
import { CloseCode, makeServer, type Context as SocketContext, type Server as WsProtocol } from 'graphql-ws';
import type { WebSocket } from 'ws';
import { NOBODY, type Caller, type Origin } from '../auth/actor';
import { Context, type Surroundings } from '../resolvers/context';
import { recordForbidden } from '../resolvers/refusals';
import { correlate, correlationId } from './correlation';
import { toFormatted, type Report } from './errors';
import type { OriginOf } from './origin';
import { Overload, type Pressure, type Refusal } from './pressure';
import type { RateLimits } from './rate-limits';

/** A code at which clients do not connect again by themselves. */
const TOO_MANY = CloseCode.TooManyInitialisationRequests;

interface Params {
  query: string;
  operationName?: string | null | undefined;
  variables?: Record<string, unknown> | null | undefined;
}

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
    private readonly schema: GraphQLSchema,
    private readonly shared: Surroundings,
    private readonly report: Report,
    private readonly pressure: Pressure,
    private readonly originOf: OriginOf,
    private readonly limits: RateLimits,
  ) {}

  /** Parse, validate, authorize: what executing needs, or why it is refused. The same order as Apollo's over HTTP. */
  private async prepare(
    params: Params,
    caller: Caller,
    origin: Origin,
  ): Promise<ExecutionArgs | readonly GraphQLError[]> {
    try {
      const document = parse(params.query);
      const invalid = validate(this.schema, document);
      if (invalid.length > 0) return invalid.map((error) => withCode(error, 'GRAPHQL_VALIDATION_FAILED'));
      const operation = getOperationAST(document, params.operationName);
      if (!operation) return [failure('Name one of the operations of the document.', 'OPERATION_RESOLUTION_FAILURE')];
      const variables = params.variables ?? {};
      const authorize = (as: Caller) => this.shared.authorizer.authorize(document, operation, variables, as);
      const context = new Context(this.shared, caller, correlationId(), origin);
      const refused = authorize(caller);
      await recordForbidden(this.shared, context, document, operation, refused);
      if (refused.length > 0) return refused;
      context.authorizeAgain = (actor) => authorize({ actor, badToken: false });
      return {
        schema: this.schema,
        document,
        operationName: params.operationName ?? null,
        variableValues: variables,
        contextValue: context,
      };
    } catch (error) {
      if (error instanceof GraphQLError) return [withCode(error, 'GRAPHQL_PARSE_FAILED')];
      throw error;
    }
  }

  /** Server-sent events in distinct connections mode: one operation a request. */
  sse(): ReturnType<typeof createSseHandler> {
    return createSseHandler({
      schema: this.schema,
      execute: (args) => execute(args),
      subscribe: (args) => subscribe(args),
      onSubscribe: async ({ raw }, params) => {
        const origin = this.originOf(raw.raw);
        const caller = await this.shared.actors.identify(raw.headers.authorization, origin);
        const prepared = await this.prepare(params, caller, origin);
        // The library types contexts more narrowly than it uses them.
        return (isRefusal(prepared) ? refusal(prepared) : prepared) as never;
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
      schema: this.schema,
      onConnect: async (context) => {
        const { connectionParams, extra } = context;
        const { socket, origin } = extra;
        this.opened.add(context);
        socket.once('close', () => this.opened.delete(context));
        const authorization = connectionParams?.authorization ?? connectionParams?.Authorization;
        const caller = await this.shared.actors.identify(
          typeof authorization === 'string' ? authorization : undefined,
          origin,
        );
        callers.set(socket, caller);
        if (socket.readyState === socket.OPEN && this.limits.streamOfCaller(caller, socket))
          socket.close(TOO_MANY, 'Too many sockets and event streams are open');
        if (caller.actor) this.closeWhenLost(socket, caller.actor);
      },
      onSubscribe: ({ extra: { socket, origin } }, _id, params) =>
        correlate(() =>
          this.subscribed(params, origin, callers.get(socket)).catch((error: unknown) => [asGraphQL(error)]),
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
  private async subscribed(
    params: Params,
    origin: Origin,
    known: Caller = NOBODY,
  ): Promise<ExecutionArgs | readonly GraphQLError[]> {
    const refusal = await new Promise<Refusal | null>((decide) => this.pressure.turn(decide));
    const tooMany = refusal ?? this.limits.ofAddress(origin);
    if (tooMany) return tooMany.errors;
    const actor = known.actor && (await this.shared.actors.current(known.actor));
    const caller = { actor, badToken: known.badToken || (known.actor !== null && actor === null) };
    return this.limits.ofCaller(caller, origin)?.errors ?? this.prepare(params, caller, origin);
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
    return errors.map((error) => (error instanceof Overload ? error.toJSON() : toFormatted(error, this.report)));
  }
}

function isRefusal(prepared: ExecutionArgs | readonly GraphQLError[]): prepared is readonly GraphQLError[] {
  return Array.isArray(prepared);
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

/** As a stream of one event; the library knows no result without data. */
async function* refusal(errors: readonly GraphQLError[]): AsyncGenerator<ExecutionResult, void> {
  yield await Promise.resolve({ errors });
}

function asGraphQL(error: unknown): GraphQLError {
  return error instanceof GraphQLError ? error : new GraphQLError(String(error), { originalError: error as Error });
}

function withCode(error: GraphQLError, code: string): GraphQLError {
  const { nodes, source, positions } = error;
  return new GraphQLError(error.message, {
    ...(nodes && { nodes }),
    ...(source && { source }),
    ...(positions && { positions }),
    extensions: { code },
  });
}

function failure(message: string, code: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code } });
}
