/** A TCP port in front of another one, on the way to which things can go wrong. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

export interface TcpProxy {
  port: number;
  /** Breaks every connection, and refuses new ones. */
  refuse: () => Promise<void>;
  /** Breaks every connection; new ones are let through. */
  cut: () => void;
  /** Nothing arrives any more, in either direction, and nobody is told; new connections meet the same silence. */
  hang: () => void;
  /** Lets everything through again, also what was held back. */
  mend: () => Promise<void>;
  close: () => Promise<void>;
}

/** Listens on a port of its own on loopback. */
export async function tcpProxyTo(port: number, host = '127.0.0.1'): Promise<TcpProxy> {
  const pairs = new Set<[Socket, Socket]>();
  let hangs = false;
  let server: Server | null = null;
  const join = ([a, b]: [Socket, Socket]) => a.pipe(b).pipe(a);
  const relay = (client: Socket): void => {
    const pair: [Socket, Socket] = [client, connect(port, host)];
    pairs.add(pair);
    for (const end of pair) {
      end.on('error', () => undefined);
      end.on('close', () => {
        pairs.delete(pair);
        for (const each of pair) each.destroy();
      });
    }
    if (!hangs) join(pair);
  };
  const listen = async (on: number): Promise<number> => {
    server = createServer(relay).listen(on, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const cut = (): void => {
    for (const pair of pairs) for (const each of pair) each.destroy();
  };
  const refuse = async (): Promise<void> => {
    const closed = server && once(server, 'close');
    server?.close();
    server = null;
    cut();
    await closed;
  };
  const own = await listen(0);
  return {
    port: own,
    refuse,
    cut,
    hang: () => {
      hangs = true;
      for (const pair of pairs) for (const each of pair) each.unpipe().pause();
    },
    mend: async () => {
      if (hangs) pairs.forEach(join);
      hangs = false;
      if (!server) await listen(own);
    },
    close: refuse,
  };
}
