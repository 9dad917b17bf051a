/** From where a request came: for those who ask later who did it, and for limits. */
import type { IncomingMessage } from 'node:http';
import { isIP, isIPv6, SocketAddress } from 'node:net';
import proxyAddr from '@fastify/proxy-addr';
import type { Origin } from '../auth/actor';

/** Longer names are of no use to anybody who reads them. */
const LONGEST_CLIENT = 200;

/** Judging addresses costs some percents of a request; the same clients come again. */
const MOST_REMEMBERED = 10_000;
const LONGEST_REMEMBERED = 200;

/** Whose word on the client's address is taken: that of so many proxies before us, or of those at these addresses. */
export type TrustProxy = number | string[];

export type OriginOf = (request: IncomingMessage) => Origin;

/** How the origin of a request is found: by X-Forwarded-For as far as those who wrote it are trusted, else by the peer. */
export function originReader(trustProxy: TrustProxy): OriginOf {
  const isTrusted = typeof trustProxy === 'number' ? (_: string, hop: number) => hop < trustProxy : listed(trustProxy);
  const believed = (address: string | undefined, hop: number) => {
    const plain = plainAddress(address);
    return plain !== null && isTrusted(plain, hop);
  };
  const addresses = new Map<string, string | null>();
  const remembered = (request: IncomingMessage) => {
    const said = `${request.socket.remoteAddress ?? ''} ${String(request.headers['x-forwarded-for'])}`;
    const known = addresses.get(said);
    if (known !== undefined) return known;
    const address = addressOf(request, believed);
    if (addresses.size >= MOST_REMEMBERED) addresses.clear();
    if (said.length <= LONGEST_REMEMBERED) addresses.set(said, address);
    return address;
  };
  return (request) => ({
    address: remembered(request),
    client: request.headers['user-agent']?.slice(0, LONGEST_CLIENT).replace(/\p{Cc}/gu, ' ') ?? null,
  });
}

function listed(addresses: string[]): (address: string, hop: number) => boolean {
  return addresses.length > 0 ? proxyAddr.compile(addresses) : () => false;
}

/** The last in the chain of proxies that is an address at all: what a client makes up itself tells nothing. */
function addressOf(request: IncomingMessage, believed: (address: string, hop: number) => boolean): string | null {
  if (request.headers['x-forwarded-for'] === undefined) return plainAddress(request.socket.remoteAddress);
  const chain = proxyAddr.all(request, believed).map(plainAddress);
  return chain.findLast((address) => address !== null) ?? null;
}

/** In one way of writing, so that equal ones are equal: without port, brackets and zone, and IPv4 as IPv4. */
function plainAddress(text: string | undefined): string | null {
  if (text === undefined) return null;
  const [, bracketed, v4] = /^(?:\[([^\]]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+)$/.exec(text) ?? [];
  const address = bracketed ?? v4 ?? text;
  if (!isIPv6(address)) return isIP(address) ? address : null;
  return new SocketAddress({ address, family: 'ipv6' }).address.replace(/^::ffff:(?=\d+\.)/, '');
}
