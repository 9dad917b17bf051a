/** A Unix socket in front of an engine's own, which can be away, or hold back what the engine tells of itself. */
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface EngineProxy {
  socket: string;
  /** Breaks every connection and accepts none. */
  leave: () => Promise<void>;
  comeBack: () => Promise<void>;
  /** Every connection is accepted and stays open, and nothing gets through, until `resume`. */
  hang: () => void;
  resume: () => void;
  /** The streams of events stay open and say nothing, until `tell` says it all at once. */
  hush: () => void;
  tell: () => void;
  close: () => Promise<void>;
}

export async function proxyTo(engineSocket: string): Promise<EngineProxy> {
  const folder = await mkdtemp(join(tmpdir(), 'keyframe-proxy-'));
  const socket = join(folder, 'engine.socket');
  const pairs = new Set<[Socket, Socket]>();
  const streams = new Set<Socket>();
  let hanging = false;
  const connectPair = (client: Socket, engine: Socket): void => {
    client.pipe(engine);
    engine.pipe(client);
  };

  const relay = (client: Socket): void => {
    const engine = connect(engineSocket);
    const pair: [Socket, Socket] = [client, engine];
    pairs.add(pair);
    client.once('data', (first) => {
      if (String(first).startsWith('GET /1.0/events')) streams.add(engine);
    });
    for (const end of pair) {
      end.on('error', () => undefined);
      end.on('close', () => {
        pairs.delete(pair);
        streams.delete(engine);
        for (const each of pair) each.destroy();
      });
    }
    if (!hanging) connectPair(client, engine);
  };

  let server: Server | null = null;
  const comeBack = async (): Promise<void> => {
    const fresh = createServer(relay);
    await new Promise<void>((resolve) => fresh.listen(socket, resolve));
    server = fresh;
  };
  const leave = async (): Promise<void> => {
    const closed = new Promise((resolve) => (server ? server.close(resolve) : resolve(null)));
    server = null;
    for (const pair of pairs) for (const each of pair) each.destroy();
    await closed;
  };
  await comeBack();
  return {
    socket,
    leave,
    comeBack,
    hang: () => {
      hanging = true;
      for (const pair of pairs) for (const each of pair) each.unpipe().pause();
    },
    resume: () => {
      hanging = false;
      for (const pair of pairs) connectPair(...pair);
    },
    hush: () => {
      for (const stream of streams) stream.unpipe().pause();
    },
    tell: () => {
      for (const [client, engine] of pairs) if (streams.has(engine)) engine.pipe(client);
    },
    close: async () => {
      await leave();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
