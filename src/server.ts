/** One HTTP server: `/graphql` on every transport, GraphiQL, health and metrics. */
import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { fastifyApolloHandler } from '@as-integrations/fastify';
import helmet from '@fastify/helmet';
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import type { GraphQLSchema } from 'graphql';
import { CloseCode } from 'graphql-ws';
import { WebSocketServer } from 'ws';
import { createApollo } from './endpoint/apollo';
import { correlate, correlationId } from './endpoint/correlation';
import type { Report } from './endpoint/errors';
import { serveGraphiql, type DemoAccount } from './endpoint/graphiql';
import { serveHealth } from './endpoint/health';
import { Streams } from './endpoint/streams';
import { Context, type Surroundings } from './resolvers/context';

export const MAX_BODY_BYTES = 256 * 1024;
/** While answers are in flight, who asks for readiness is told no for this long before connections are refused. */
const SAY_NO_MS = 2000;
/** What is not answered by then is cut off. */
const LAST_ANSWERS_MS = 3000;

export interface ServerOptions {
  host: string;
  port: number;
  demoAccounts: DemoAccount[];
  report: Report;
}

export interface RunningServer {
  url: string;
  /** Readiness says no from here on. */
  drain: () => void;
  /** Answers what is in flight, ends subscriptions, and closes. */
  stop: () => Promise<void>;
}

export async function startServer(
  schema: GraphQLSchema,
  shared: Surroundings,
  options: ServerOptions,
): Promise<RunningServer> {
  const server = fastify({
    bodyLimit: MAX_BODY_BYTES,
    forceCloseConnections: 'idle',
    logger: false,
    routerOptions: { ignoreTrailingSlash: true },
  });
  server.addHook('onRequest', (_request, _reply, next) => correlate(next));
  const open = followRequests(server);
  server.setErrorHandler(graphqlShaped);
  await server.register(helmet, { contentSecurityPolicy: false });
  const streams = new Streams(schema, shared, options.report);
  const sockets = serveWebSocket(server, streams);
  const closeEndpoint = await serveGraphql(server, schema, shared, streams, options.report);
  await serveGraphiql(server, options.demoAccounts);
  const drain = serveHealth(server, shared.db);
  await server.listen({ host: options.host, port: options.port });
  const address = server.server.address();
  const port = typeof address === 'object' && address ? address.port : options.port;
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  return {
    url: `http://${host}:${port}`,
    drain,
    stop: async () => {
      drain();
      for (const socket of sockets.clients) socket.close(1001, 'Going away');
      await open.finish();
      const cut = setTimeout(() => {
        for (const socket of sockets.clients) socket.terminate();
        server.server.closeAllConnections();
      }, LAST_ANSWERS_MS);
      await server.close().finally(() => clearTimeout(cut));
      await closeEndpoint();
    },
  };
}

/** Clients that also take JSON, as some do with every request, get JSON: one event would be no answer to a query. */
function isStream({ headers: { accept = '' } }: FastifyRequest): boolean {
  return accept.includes('text/event-stream') && !accept.includes('json');
}

/** Knows which requests are not answered yet. Event streams end only when told to, so `finish` ends them. */
function followRequests(server: FastifyInstance): { finish: () => Promise<void> } {
  const answers = new Set<ServerResponse>();
  const streams = new Set<ServerResponse>();
  let finishing = false;
  server.addHook('onRequest', (request, { raw }, next) => {
    const those = isStream(request) ? streams : answers;
    those.add(raw);
    raw.once('close', () => those.delete(raw));
    next();
  });
  server.addHook('onSend', (_request, reply, payload, next) => {
    // A connection that is kept alive would keep the server from closing.
    if (finishing) reply.header('connection', 'close');
    next(null, payload);
  });
  const finish = async () => {
    finishing = true;
    for (const { socket } of streams) socket?.destroy();
    const deadline = Date.now() + SAY_NO_MS;
    while (answers.size > 0 && Date.now() < deadline) await sleep(20);
  };
  return { finish };
}

async function serveGraphql(
  server: FastifyInstance,
  schema: GraphQLSchema,
  shared: Surroundings,
  streams: Streams,
  report: Report,
): Promise<() => Promise<void>> {
  const apollo = createApollo(schema, shared.authorizer, report);
  await apollo.start();
  const context = async (request: FastifyRequest) =>
    new Context(shared, await shared.actors.identify(request.headers.authorization), correlationId());
  const overHttp = fastifyApolloHandler(apollo, { context });
  const overSse = streams.sse();
  server.route({
    url: '/graphql',
    method: ['GET', 'POST'],
    handler: async function (request: FastifyRequest, reply: FastifyReply) {
      const accept = request.headers.accept ?? '';
      if (isStream(request)) {
        request.headers.accept = 'text/event-stream'; // the library knows it only when it stands alone
        return overSse(request, reply);
      }
      if (request.method === 'GET' && accept.includes('text/html')) return reply.redirect('/graphiql');
      return overHttp.call(server, request, reply);
    },
  });
  return () => apollo.stop();
}

function serveWebSocket(server: FastifyInstance, streams: Streams): WebSocketServer {
  const protocol = streams.webSocket();
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_BODY_BYTES,
    handleProtocols: (offered) => (offered.has('graphql-transport-ws') ? 'graphql-transport-ws' : false),
  });
  server.server.on('upgrade', (request, socket, head) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    if (pathname !== '/graphql') return void socket.end('HTTP/1.1 404 Not Found\r\n\r\n');
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      const closed = protocol.opened(
        {
          protocol: webSocket.protocol,
          // Whoever has gone cannot be told, which is no fault: the socket's end ends what was streamed to it.
          send: (data) => new Promise((done) => webSocket.send(data, () => done())),
          close: (code, reason) => webSocket.close(code, reason),
          onMessage: (handle) => {
            webSocket.on('message', (data) => {
              handle((data as Buffer).toString()).catch(() =>
                webSocket.close(CloseCode.InternalServerError, 'Internal server error'),
              );
            });
          },
        },
        { socket: webSocket },
      );
      webSocket.on('error', () => webSocket.terminate());
      webSocket.once('close', (code, reason) => void closed(code, String(reason)));
    });
  });
  return sockets;
}

/** What fails before GraphQL begins (a body that is too large or no JSON) has the shape of a GraphQL answer too. */
function graphqlShaped(error: unknown, _request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { statusCode = 500, message } = error as { statusCode?: number; message?: string };
  const ours = statusCode >= 500;
  const shown = ours ? 'Something went wrong on our side.' : (message ?? 'This request cannot be read.');
  const code = ours ? 'INTERNAL_SERVER_ERROR' : 'BAD_REQUEST';
  return reply
    .status(statusCode)
    .send({ errors: [{ message: shown, extensions: { code, correlationId: correlationId() } }] });
}
