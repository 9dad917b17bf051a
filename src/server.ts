/** One HTTP server: `/graphql` on every transport, GraphiQL, health and metrics. */
import { isUtf8 } from 'node:buffer';
import type { ApolloServer } from '@apollo/server';
import { fastifyApolloHandler } from '@as-integrations/fastify';
import cors from '@fastify/cors';
import helmet from '@fastify/helmet';
import fastify, { type FastifyError, type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { GraphQLSchema } from 'graphql';
import { CloseCode } from 'graphql-ws';
import { WebSocketServer, type WebSocket } from 'ws';
import type { Origin } from './auth/actor';
import { isDatabaseAway } from './db/away';
import { createApollo, takesNoSubscription } from './endpoint/apollo';
import { correlate } from './endpoint/correlation';
import { toFormatted, type Report } from './endpoint/errors';
import type { Asker, Gate } from './endpoint/gate';
import { serveGraphiql, type DemoAccount } from './endpoint/graphiql';
import { serveHealth } from './endpoint/health';
import { OpenRequests } from './endpoint/open-requests';
import { originReader, type OriginOf, type TrustProxy } from './endpoint/origin';
import { Pressure } from './endpoint/pressure';
import type { RateLimits } from './endpoint/rate-limits';
import { refusalHeaders, refuseSocket, sheddingServer } from './endpoint/shed';
import { judgeStreamRequest } from './endpoint/stream-request';
import { Streams } from './endpoint/streams';
import { RequestError } from './errors';
import type { Limits } from './limits';
import type { Surroundings } from './resolvers/context';

/** RFC 6455's registry of close codes. */
const CLOSE = { notText: 1003, policy: 1008, tryAgainLater: 1013 };

/** What may wait to be read by the client of a socket. One that asks and does not read is cut off. */
const MOST_UNREAD_BYTES = 8 * 1024 * 1024;

export interface ServerOptions {
  host: string;
  port: number;
  limits: Limits;
  rates: RateLimits;
  trustProxy: TrustProxy;
  /** Whose pages may ask from a browser; tokens come in a header, so no credentials of the browser's are let in. */
  corsOrigins: string[];
  demoAccounts: DemoAccount[];
  report: Report;
}

export interface RunningServer {
  url: string;
  /** Readiness says no at once; after `sayNoMs` answers what is in flight, ends subscriptions, and closes. */
  stop: (sayNoMs?: number) => Promise<void>;
}

export async function startServer(
  schema: GraphQLSchema,
  gate: Gate,
  shared: Surroundings,
  options: ServerOptions,
): Promise<RunningServer> {
  const { limits, rates, report } = options;
  const pressure = new Pressure(shared.db, report);
  const server = fastify({
    serverFactory: (handler) => sheddingServer(handler, pressure),
    bodyLimit: limits.maxBodyBytes,
    forceCloseConnections: 'idle',
    return503OnClosing: false, // who could still reach us gets an answer
    logger: false,
    routerOptions: { ignoreTrailingSlash: true },
  });
  const originOf = originReader(options.trustProxy);
  const streams = new Streams(gate, shared, limits.maxSocketOperations, report, pressure, originOf, rates);
  const open = new OpenRequests(server, streams, pressure);
  server.addHook('onRequest', (_request, _reply, next) => correlate(next));
  server.setErrorHandler(graphqlShaped(report));
  await secure(server, options.corsOrigins);
  const sockets = serveWebSocket(server, streams, pressure, originOf, options);
  const apollo = createApollo(schema, gate, report);
  await serveGraphql(server, apollo, shared, streams, originOf, rates);
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
      await apollo.stop();
    },
  };
}

/** Clients that also take JSON, as some do with every request, get JSON: one event would be no answer to a query. */
function isStream({ headers: { accept = '' } }: FastifyRequest): boolean {
  return accept.includes('text/event-stream') && !accept.includes('json');
}

/** What every answer says to browsers, and what is read of bodies. GraphiQL's page has a policy of its own. */
async function secure(server: FastifyInstance, origins: string[]): Promise<void> {
  const directives = { defaultSrc: ["'none'"], frameAncestors: ["'none'"] };
  await server.register(helmet, { contentSecurityPolicy: { useDefaults: false, directives } });
  if (origins.length > 0)
    await server.register(cors, {
      origin: origins,
      methods: ['GET', 'POST'],
      exposedHeaders: ['retry-after'],
      maxAge: 600,
    });
  const parseJson = server.getDefaultJsonParser('error', 'error');
  server.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    if (!isUtf8(body as Buffer)) done(new Refused(400, 'The body is not UTF-8.'));
    else void parseJson(request, body.toString(), done);
  });
}

/** A request that is refused before GraphQL begins. */
class Refused extends Error {
  constructor(
    readonly statusCode: number,
    message: string,
  ) {
    super(message);
  }
}

const JSON_TYPE = /^application\/json\s*(;|$)/i;

async function serveGraphql(
  server: FastifyInstance,
  apollo: ApolloServer<Asker>,
  { actors }: Surroundings,
  streams: Streams,
  originOf: OriginOf,
  rates: RateLimits,
): Promise<void> {
  await apollo.start();
  const context = ({ raw }: FastifyRequest): Promise<Asker> => {
    const origin = originOf(raw);
    const identify = () => actors.identify(raw.headers.authorization, origin);
    return Promise.resolve({ identify, origin, takes: takesNoSubscription });
  };
  const overHttp = fastifyApolloHandler(apollo, { context });
  const overSse = streams.sse();
  server.route({
    url: '/graphql',
    method: ['GET', 'POST'],
    handler: function (request: FastifyRequest, reply: FastifyReply) {
      const accept = request.headers.accept ?? '';
      if (request.method === 'GET' && accept.includes('text/html')) return reply.redirect('/graphiql');
      const origin = originOf(request.raw);
      const tooMany = rates.ofAddress(origin) ?? (isStream(request) ? rates.streamOfAddress(origin, reply.raw) : null);
      if (tooMany) return reply.status(tooMany.status).headers(refusalHeaders(tooMany, accept)).send(tooMany.body);
      if (!isStream(request)) return overHttp.call(server, request, reply);
      // What a page of another origin can send without asking first is not listened to.
      if (request.method === 'POST' && !JSON_TYPE.test(request.headers['content-type'] ?? ''))
        throw new Refused(415, 'Send the request as application/json.');
      judgeStreamRequest(request);
      request.headers.accept = 'text/event-stream'; // the library knows it only when it stands alone
      return overSse(request, reply);
    },
  });
}

/** Tokens come in the protocol's first message, which no page of another origin has: handshakes are taken from everywhere. */
function serveWebSocket(
  server: FastifyInstance,
  streams: Streams,
  pressure: Pressure,
  originOf: OriginOf,
  { limits: { maxBodyBytes, maxSocketOperations }, rates }: ServerOptions,
): WebSocketServer {
  // One operation too many is refused in words; whoever goes on all the same is not listened to any longer.
  const mostAtWork = 2 * maxSocketOperations + 10;
  const protocol = streams.webSocket();
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: maxBodyBytes,
    handleProtocols: (offered) => (offered.has('graphql-transport-ws') ? 'graphql-transport-ws' : false),
  });
  const opened = (origin: Origin) => (webSocket: WebSocket) => {
    let atWork = 0;
    const closed = protocol.opened(
      {
        protocol: webSocket.protocol,
        // Whoever has gone cannot be told, which is no fault: the socket's end ends what was streamed to it.
        send: (data) => {
          if (webSocket.bufferedAmount > MOST_UNREAD_BYTES) webSocket.terminate();
          return new Promise((done) => webSocket.send(data, () => done()));
        },
        close: (code, reason) => webSocket.close(code, reason),
        onMessage: (handle) => {
          webSocket.on('message', (data, isBinary) => {
            if (isBinary) {
              webSocket.close(CLOSE.notText, 'Send text'); // which is judged to be UTF-8
              return;
            }
            if (atWork === mostAtWork) {
              // Whoever does not read cannot be told.
              if (webSocket.bufferedAmount > 0) webSocket.terminate();
              else webSocket.close(CLOSE.policy, 'Too many operations at once');
            }
            if (webSocket.readyState !== webSocket.OPEN) return;
            // An operation is at work until it is answered, also when its client has given it up meanwhile.
            atWork += 1;
            const handled = handle((data as Buffer).toString()).finally(() => (atWork -= 1));
            handled.catch((error: unknown) =>
              // Clients take the one for a reason to connect again soon, the other for a reason not to.
              isDatabaseAway(error) || error instanceof RequestError
                ? webSocket.close(CLOSE.tryAgainLater, 'Try again later')
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
    const tooMany = rates.ofAddress(origin) ?? rates.streamOfAddress(origin, socket);
    if (tooMany) {
      refuseSocket(socket, tooMany);
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
