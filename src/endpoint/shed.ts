/** Where overload is refused: HTTP requests before anything of them is looked at, and sockets before they are opened. */
import type { Duplex } from 'node:stream';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Pressure, Refusal } from './pressure';

/** Seconds after which a refused client may try again. */
const RETRY_AFTER = '1';
const GRAPHQL = /^\/graphql\/?(\?|$)/;

/** Lets requests to `/graphql` wait for their turn; health and metrics are always answered. */
export function shedLoad(server: FastifyInstance, pressure: Pressure): void {
  server.addHook('onRequest', ({ url, headers }, reply, next) => {
    if (!GRAPHQL.test(url)) {
      next();
      return;
    }
    pressure.turn((refusal) => {
      if (reply.raw.destroyed) return; // has gone while waiting
      if (refusal) refuse(reply, refusal, headers.accept);
      else next();
    });
  });
}

/** Past every other hook and serializer: refusing must cost next to nothing, or it is what overloads us. */
function refuse(reply: FastifyReply, { body }: Refusal, accept: string | undefined): void {
  reply.hijack();
  const modern = accept?.includes('application/graphql-response+json') ?? false;
  reply.raw
    .writeHead(503, {
      'content-type': `application/${modern ? 'graphql-response+' : ''}json; charset=utf-8`,
      'content-length': body.length,
      'cache-control': 'no-store',
      'retry-after': RETRY_AFTER,
    })
    .end(body);
}

/** Answers a wish for a socket that is refused. */
export function refuseSocket(socket: Duplex): void {
  socket.end(`HTTP/1.1 503 Service Unavailable\r\nRetry-After: ${RETRY_AFTER}\r\nContent-Length: 0\r\n\r\n`);
}
