/** For tests that ask more often than one address may: the program under test is started with `TRUST_PROXY: '1'`. */
import { WebSocket } from 'ws';

let places = 0;

/** Headers of a request from an address from which nobody has come. */
export function somewhere(): { 'x-forwarded-for': string } {
  places += 1;
  return { 'x-forwarded-for': `10.${places >> 16}.${(places >> 8) & 255}.${places & 255}` };
}

/** The implementation of sockets for graphql-ws that sends these headers with its handshake. */
export function socketWith(headers: Record<string, string>): unknown {
  return class extends WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols, { headers });
    }
  };
}
