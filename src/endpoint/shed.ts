/** Where overload is refused: HTTP requests before anything of them is looked at, and sockets before they are opened. */
import { createServer, STATUS_CODES, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Pressure, Refusal } from './pressure';

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

function refuse(response: ServerResponse, refusal: Refusal, accept?: string): void {
  response.writeHead(refusal.status, refusalHeaders(refusal, accept)).end(refusal.body);
}

/** What goes with the body of a refusal. */
export function refusalHeaders({ body, retryAfterSeconds }: Refusal, accept = ''): Record<string, string> {
  const modern = accept.includes('application/graphql-response+json');
  return {
    'content-type': `application/${modern ? 'graphql-response+' : ''}json; charset=utf-8`,
    'content-length': String(Buffer.byteLength(body)),
    'cache-control': 'no-store',
    'retry-after': String(retryAfterSeconds),
    ...SECURITY_HEADERS,
  };
}

/** Answers a wish for a socket that is refused. */
export function refuseSocket(socket: Duplex, { status, retryAfterSeconds }: Refusal): void {
  const first = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`;
  socket.end(`${first}\r\nRetry-After: ${retryAfterSeconds}\r\nContent-Length: 0\r\n\r\n`);
}
