/** From where a request came, for those who ask later who did it. */
import type { IncomingMessage } from 'node:http';
import type { Origin } from '../auth/actor';

/** Longer names are of no use to anybody who reads them. */
const LONGEST_CLIENT = 200;

export function originOf({ socket, headers }: IncomingMessage): Origin {
  return {
    address: socket.remoteAddress ?? null,
    client: headers['user-agent']?.slice(0, LONGEST_CLIENT) ?? null,
  };
}
