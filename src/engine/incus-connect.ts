import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect as connectSocket, isIP, type Socket } from 'node:net';
import { checkServerIdentity, connect as connectTls, type PeerCertificate } from 'node:tls';
import { buildConnector, Pool } from 'undici';
import WebSocket from 'ws';

/** Where the engine is and how we are known to it. The certificates are paths of PEM files. */
export interface IncusOptions {
  /** The engine's Unix socket; goes before `urls`. */
  socket?: string;
  /** `https:` addresses; several of them are members of one cluster. */
  urls?: string[];
  clientCert?: string;
  clientKey?: string;
  /** The engine's own certificate, or the authority that signed it; the system's authorities when absent. */
  serverCert?: string;
  /** The engine's projects to look at; `*` is all that the engine lets us see. */
  projects: string[] | '*';
}

/** One way to the engine: its socket, or one member's address. */
export interface Endpoint {
  label: string;
  pool: Pool;
  webSocket(path: string): WebSocket;
}

/** No connection came about, so certainly nothing was sent: the difference between "not started" and "unknown". */
export class ConnectFailed extends Error {
  constructor(cause: Error) {
    super(cause.message, { cause });
    this.name = 'ConnectFailed';
  }

  /** The reason as the system calls it, for people: ECONNREFUSED, ENOENT, CERT_HAS_EXPIRED. */
  get reason(): string {
    const { code } = this.cause as NodeJS.ErrnoException;
    return code ?? this.message;
  }
}

interface Tls {
  ca?: string[];
  cert?: string;
  key?: string;
  checkServerIdentity?: typeof checkServerIdentity;
}

const CONNECT_MS = 5_000;

/** Reads the certificates and prepares the ways to the engine, without connecting. Throws when a file is missing. */
export async function endpointsOf(options: IncusOptions): Promise<Endpoint[]> {
  if (options.socket !== undefined) return [socketEndpoint(options.socket)];
  const urls = (options.urls ?? []).map((url) => new URL(url));
  if (urls.length === 0) throw new Error('An Incus engine needs a socket or at least one URL.');
  const clear = urls.find((url) => url.protocol !== 'https:');
  if (clear) throw new Error(`The engine is spoken to over TLS only: ${clear.href} is not an https address.`);
  const tls = await readTls(options);
  return urls.map((url) => tlsEndpoint(url, tls));
}

function socketEndpoint(path: string): Endpoint {
  return {
    label: path,
    pool: newPool('http://engine', { socketPath: path }),
    // A path in the URL (ws+unix) would break at the first colon in it.
    webSocket: (url) => newWebSocket(`ws://engine${url}`, () => connectSocket(path)),
  };
}

function tlsEndpoint(url: URL, tls: Tls): Endpoint {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const to = { ...tls, host, port: Number(url.port || 443), ...(isIP(host) === 0 && { servername: host }) };
  return {
    label: url.origin,
    // Every connection is compared with the pinned certificate; a resumed session would skip that.
    pool: newPool(url.origin, { ...tls, maxCachedSessions: 0 }),
    webSocket: (path) => newWebSocket(`wss://${url.host}${path}`, () => connectTls(to)),
  };
}

function newWebSocket(url: string, connect: () => Socket): WebSocket {
  return new WebSocket(url, {
    handshakeTimeout: CONNECT_MS,
    perMessageDeflate: false,
    followRedirects: false,
    createConnection: connect as typeof connectSocket,
  });
}

function newPool(origin: string, connect: buildConnector.BuildOptions): Pool {
  const connector = buildConnector({ ...connect, timeout: CONNECT_MS });
  return new Pool(origin, {
    // Deadlines are total and come with each call's signal; idle timeouts of the transport would only blur them.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: (to, done) => {
      connector(to, (...[error, socket]) => {
        if (error === null) done(null, socket);
        else done(new ConnectFailed(error), null);
      });
    },
  });
}

async function readTls({ clientCert, clientKey, serverCert }: IncusOptions): Promise<Tls> {
  const read = (path: string | undefined): Promise<string | undefined> =>
    path === undefined ? Promise.resolve(undefined) : readFile(path, 'utf8');
  const [cert, key, pinned] = await Promise.all([read(clientCert), read(clientKey), read(serverCert)]);
  const ca = pinned?.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  if (pinned !== undefined && !ca) throw new Error('The file of the engine server certificate holds no certificate.');
  return {
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(ca && { ca: [...ca], checkServerIdentity: pinnedIdentity(ca.map((pem) => new X509Certificate(pem))) }),
  };
}

/**
 * The engine signs its own certificate, and the names in it rarely fit the address it is reached by. So this very
 * certificate is what we look for, instead of a name; only one signed by a pinned authority is judged by its name.
 * It is asked after the chain was verified, never in place of that.
 */
function pinnedIdentity(pinned: X509Certificate[]): typeof checkServerIdentity {
  const fingerprints = new Set(pinned.map((certificate) => certificate.fingerprint256));
  const hasAuthority = pinned.some((certificate) => certificate.ca);
  return (host: string, certificate: PeerCertificate) => {
    if (fingerprints.has(certificate.fingerprint256)) return undefined;
    if (hasAuthority) return checkServerIdentity(host, certificate);
    return new Error('The engine shows another certificate than the one it is known by.');
  };
}
