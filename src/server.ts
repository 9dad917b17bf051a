/** One HTTP server: `/graphql` on every transport, GraphiQL, health and metrics. */
import type { IncomingMessage } from 'node:http';
import { fastifyApolloHandler } from '@as-integrations/fastify';
import helmet from '@fastify/helmet';
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { GraphQLSchema } from 'graphql';
import { CloseCode } from 'graphql-ws';
import { WebSocketServer, type WebSocket } from 'ws';
import { NOBODY, type Caller, type Origin } from './auth/actor';
import { isDatabaseAway } from './db/away';
import { createApollo } from './endpoint/apollo';
import { correlate, correlationId } from './endpoint/correlation';
import { toFormatted, type Report } from './endpoint/errors';
import { serveGraphiql, type DemoAccount } from './endpoint/graphiql';
import { serveHealth } from './endpoint/health';
import { OpenRequests } from './endpoint/open-requests';
import { originReader, type OriginOf, type TrustProxy } from './endpoint/origin';
import { Pressure, type Refusal } from './endpoint/pressure';
import type { RateLimits } from './endpoint/rate-limits';
import { refusalHeaders, refuseSocket, sheddingServer } from './endpoint/shed';
import { judgeStreamRequest } from './endpoint/stream-request';
import { Streams } from './endpoint/streams';
import { RequestError } from './errors';
import { Context, type Surroundings } from './resolvers/context';

export const MAX_BODY_BYTES = 256 * 1024;

/** RFC 6455's registry of close codes. */
const TRY_AGAIN_LATER = 1013;

export interface ServerOptions {
  host: string;
  port: number;
  demoAccounts: DemoAccount[];
  report: Report;
  trustProxy: TrustProxy;
  limits: RateLimits;
}

export interface RunningServer {
  url: string;
  /** Readiness says no at once; after `sayNoMs` answers what is in flight, ends subscriptions, and closes. */
  stop: (sayNoMs?: number) => Promise<void>;
}

export async function startServer(
  schema: GraphQLSchema,
  shared: Surroundings,
  options: ServerOptions,
): Promise<RunningServer> {
  const pressure = new Pressure(shared.db, options.report);
  const server = fastify({
    serverFactory: (handler) => sheddingServer(handler, pressure),
    bodyLimit: MAX_BODY_BYTES,
    forceCloseConnections: 'idle',
    return503OnClosing: false, // who could still reach us gets an answer
    logger: false,
    routerOptions: { ignoreTrailingSlash: true },
  });
  const originOf = originReader(options.trustProxy);
  const streams = new Streams(schema, shared, options.report, pressure, originOf, options.limits);
  const open = new OpenRequests(server, streams, pressure);
  server.addHook('onRequest', (_request, _reply, next) => correlate(next));
  server.setErrorHandler(graphqlShaped(options.report));
  await server.register(helmet, { contentSecurityPolicy: false });
  const sockets = serveWebSocket(server, streams, pressure, originOf, options.limits);
  const closeEndpoint = await serveGraphql(server, schema, shared, streams, originOf, options);
  await serveGraphiql(server, options.demoAccounts);
  const drain = serveHealth(server, shared.db, pressure);
  await server.listen({ host: options.host, port: options.port });
  pressure.start();
  const address = server.server.address();
  const port = typeof address === 'object' && address ? address.port : options.port;
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  return {
    url: `http://${host}:${port}`,
    stop: async (sayNoMs = 0) => {
      drain();
      await open.leave(sayNoMs, sockets);
      pressure.stop();
      await closeEndpoint();
    },
  };
}

/** Clients that also take JSON, as some do with every request, get JSON: one event would be no answer to a query. */
function isStream({ headers: { accept = '' } }: FastifyRequest): boolean {
  return accept.includes('text/event-stream') && !accept.includes('json');
}

async function serveGraphql(
  server: FastifyInstance,
  schema: GraphQLSchema,
  shared: Surroundings,
  streams: Streams,
  originOf: OriginOf,
  { report, limits }: ServerOptions,
): Promise<() => Promise<void>> {
  const apollo = createApollo(schema, shared, report);
  await apollo.start();
  const askers = new WeakMap<FastifyRequest, { caller: Caller; origin: Origin }>();
  const context = (request: FastifyRequest) => {
    const { caller, origin } = askers.get(request) ?? { caller: NOBODY, origin: originOf(request.raw) };
    return Promise.resolve(new Context(shared, caller, correlationId(), origin));
  };
  const overHttp = fastifyApolloHandler(apollo, { context });
  const overSse = streams.sse();
  server.route({
    url: '/graphql',
    method: ['GET', 'POST'],
    handler: async function (request: FastifyRequest, reply: FastifyReply) {
      const accept = request.headers.accept ?? '';
      if (request.method === 'GET' && accept.includes('text/html')) return reply.redirect('/graphiql');
      const origin = originOf(request.raw);
      const send = (refusal: Refusal) =>
        reply.status(refusal.status).headers(refusalHeaders(refusal, accept)).send(refusal.body);
      const tooMany =
        limits.ofAddress(origin) ?? (isStream(request) ? limits.streamOfAddress(origin, reply.raw) : null);
      if (tooMany) return send(tooMany);
      // Before the libraries: what goes wrong here is no fault of the request, and theirs would be a 500.
      const caller = await shared.actors.identify(request.headers.authorization, origin);
      const staysOpen = isStream(request) && !reply.raw.destroyed;
      const refusal = limits.ofCaller(caller, origin) ?? (staysOpen ? limits.streamOfCaller(caller, reply.raw) : null);
      if (refusal) return send(refusal);
      askers.set(request, { caller, origin });
      if (isStream(request)) {
        judgeStreamRequest(request);
        request.headers.accept = 'text/event-stream'; // the library knows it only when it stands alone
        return overSse(request, reply);
      }
      return overHttp.call(server, request, reply);
    },
  });
  return () => apollo.stop();
}

function serveWebSocket(
  server: FastifyInstance,
  streams: Streams,
  pressure: Pressure,
  originOf: OriginOf,
  limits: RateLimits,
): WebSocketServer {
  const protocol = streams.webSocket();
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_BODY_BYTES,
    handleProtocols: (offered) => (offered.has('graphql-transport-ws') ? 'graphql-transport-ws' : false),
  });
  const opened = (origin: Origin) => (webSocket: WebSocket) => {
    const closed = protocol.opened(
      {
        protocol: webSocket.protocol,
        // Whoever has gone cannot be told, which is no fault: the socket's end ends what was streamed to it.
        send: (data) => new Promise((done) => webSocket.send(data, () => done())),
        close: (code, reason) => webSocket.close(code, reason),
        onMessage: (handle) => {
          webSocket.on('message', (data) => {
            handle((data as Buffer).toString()).catch((error: unknown) =>
              // Clients take the one for a reason to connect again soon, the other for a reason not to.
              isDatabaseAway(error) || error instanceof RequestError
                ? webSocket.close(TRY_AGAIN_LATER, 'Try again later')
                : webSocket.close(CloseCode.InternalServerError, 'Internal server error'),
            );
          });
        },
      },
      { socket: webSocket, origin },
    );
    webSocket.on('error', () => webSocket.terminate());
    webSocket.once('close', (code, reason) => void closed(code, String(reason)));
  };
  server.server.on('upgrade', (request, socket, head) => {
    socket.on('error', () => socket.destroy()); // whoever goes away before the answer must not take us along
    if (request.url?.split('?')[0] !== '/graphql') {
      socket.end('HTTP/1.1 404 Not Found\r\n\r\n');
      return;
    }
    const origin = originOf(request);
    const refusal = limits.ofAddress(origin) ?? limits.streamOfAddress(origin, socket);
    if (refusal) {
      refuseSocket(socket, refusal);
      return;
    }
    pressure.turn((refusal) => {
      if (refusal) refuseSocket(socket, refusal);
      else sockets.handleUpgrade(request, socket, head, opened(origin));
    });
  });
  return sockets;
}

/** What fails before GraphQL begins (a body that is no JSON, the database away) has the shape of a GraphQL answer too. */
function graphqlShaped(report: Report) {
  return (error: unknown, _request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const { statusCode = 500, message } = error as FastifyError;
    const known = statusCode < 500 ? new RequestError('BAD_REQUEST', message) : error;
    const shown = toFormatted(known, report);
    const away = shown.extensions?.code === 'SERVICE_UNAVAILABLE';
    return reply.status(away ? 503 : statusCode).send({ errors: [shown] });
  };
}
