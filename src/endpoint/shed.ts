/** Where overload is refused: HTTP requests before anything of them is looked at, and sockets before they are opened. */
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Pressure, Refusal } from './pressure';

/** Seconds after which a refused client may try again. */
const RETRY_AFTER = '1';
/** Longer than the minute for which balancers keep a connection: whoever ends it must be the one who would use it. */
const KEEP_ALIVE_MS = 72_000;
/** How large a request's headers may be, and how slowly a request may come: whoever dribbles holds a connection only. */
const PATIENCE = {
  keepAliveTimeout: KEEP_ALIVE_MS,
  maxHeaderSize: 16_384,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
};
const GRAPHQL = /^\/graphql\/?$/;
/** The framework's answers have them from helmet. */
const SECURITY_HEADERS = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
};

/**
 * An HTTP server that lets requests to `/graphql` wait for their turn; health and metrics are always answered. It stands before the
 * framework, whose hooks and objects cost as much again as refusing does: at many times the load that can be borne, refusing
 * is most of what is done.
 */
export function sheddingServer(handler: RequestListener, pressure: Pressure): Server {
  return createServer(PATIENCE, (request, response) => {
    if (!GRAPHQL.test(pathOf(request.url))) {
      handler(request, response);
      return;
    }
    pressure.turn((refusal) => {
      if (response.destroyed) return; // has gone while waiting
      if (refusal) refuse(response, refusal, request.headers.accept);
      else handler(request, response);
    });
  });
}

/** As the framework's router reads it: `/%67raphql`, `/graphql#x` and `http://any/graphql` are `/graphql`. */
function pathOf(url = ''): string {
  const path = url.replace(/^https?:\/\/[^/]*/, '').replace(/[?#;].*$/s, '');
  try {
    return decodeURI(path);
  } catch {
    return path; // which no route is found for either
  }
}

function refuse(response: ServerResponse, { body }: Refusal, accept = ''): void {
  const modern = accept.includes('application/graphql-response+json');
  response
    .writeHead(503, {
      'content-type': `application/${modern ? 'graphql-response+' : ''}json; charset=utf-8`,
      'content-length': body.length,
      'cache-control': 'no-store',
      'retry-after': RETRY_AFTER,
      ...SECURITY_HEADERS,
    })
    .end(body);
}

/** Answers a wish for a socket that is refused. */
export function refuseSocket(socket: Duplex): void {
  socket.end(`HTTP/1.1 503 Service Unavailable\r\nRetry-After: ${RETRY_AFTER}\r\nContent-Length: 0\r\n\r\n`);
}
