/** A Unix socket in front of the engine's own, which spoils chosen requests on their way there or back. */
import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';

/** What can happen to a request; `after` and what follows it happen once the engine has done what it was asked. */
export const TROUBLES = [
  'delay',
  'hang',
  'silence',
  'cut before',
  'cut after',
  'cut within',
  'half-close',
  'garbage',
  'error 500',
  'error 502',
  'truncated',
] as const;
export type Trouble = (typeof TROUBLES)[number];

export interface Plan {
  trouble: Trouble;
  /** How many requests that concern the same instance go by first. */
  skip: number;
  ms: number;
  /** Told when it happens, with the request. */
  onStrike: (request: string) => void;
}

export interface FaultProxy {
  socket: string;
  /** What is to happen to requests that concern an instance, one plan after the other. */
  plan: (instance: string, ...plans: Plan[]) => void;
  /** What has not happened yet will not. */
  calm: () => void;
  /** Breaks the streams of events; gives how many there were. */
  cutEvents: () => number;
  close: () => Promise<void>;
}

interface Answer {
  status: number;
  headers: NodeJS.Dict<string | string[]>;
  body: Buffer;
}

const UNTOUCHED: Plan = { trouble: 'delay', skip: 0, ms: 0, onStrike: () => undefined };

export async function faultProxy(socket: string, engineSocket: string): Promise<FaultProxy> {
  const plans = new Map<string, Plan[]>();
  const owners = new Map<string, string>();
  const streams = new Set<Socket>();
  const held = new Set<Socket>();

  /** The instance that a request is about, also when it asks for an operation on it. */
  const concerned = (url: string): string | undefined =>
    /^\/1\.0\/instances\/([^/?]+)/.exec(url)?.[1] ?? owners.get(/^\/1\.0\/operations\/([\w-]+)/.exec(url)?.[1] ?? '');

  const due = (url: string): Plan => {
    const mine = plans.get(concerned(url) ?? '');
    const [next] = mine ?? [];
    if (!mine || !next) return UNTOUCHED;
    next.skip -= 1;
    if (next.skip >= 0) return UNTOUCHED;
    mine.shift();
    return next;
  };

  const server = createServer((incoming, outgoing) => {
    const plan = due(incoming.url ?? '');
    plan.onStrike(`${incoming.method ?? ''} ${incoming.url ?? ''}`);
    void serve(incoming, outgoing, plan).catch(() => incoming.socket.destroy());
  });

  server.on('connection', (client: Socket) => {
    held.add(client);
    client.once('close', () => held.delete(client));
  });

  const serve = async (incoming: IncomingMessage, outgoing: ServerResponse, plan: Plan): Promise<void> => {
    const body = await buffer(incoming);
    if (plan.trouble === 'delay') await sleep(plan.ms);
    if (plan.trouble === 'cut before') {
      incoming.socket.destroy();
      return;
    }
    if (plan.trouble === 'error 500') {
      answer(outgoing, trouble());
      return;
    }
    const real = await forward(engineSocket, incoming, body);
    const operation = /"operation":"\/1\.0\/operations\/([\w-]+)/.exec(real.body.toString())?.[1];
    const instance = concerned(incoming.url ?? '');
    if (operation !== undefined && instance !== undefined) owners.set(operation, instance);
    await spoil(plan, incoming.socket, outgoing, real);
  };

  server.on('upgrade', (incoming: IncomingMessage, client: Socket, head: Buffer) => {
    const engine = connect(engineSocket);
    const lines = incoming.rawHeaders.flatMap((name, n, all) => (n % 2 === 0 ? [`${name}: ${all[n + 1] ?? ''}`] : []));
    engine.write([`GET ${incoming.url ?? ''} HTTP/1.1`, ...lines, '', ''].join('\r\n'));
    engine.write(head);
    streams.add(client);
    for (const end of [client, engine]) {
      end.on('error', () => undefined);
      end.on('close', () => {
        streams.delete(client);
        for (const each of [client, engine]) each.destroy();
      });
    }
    client.pipe(engine).pipe(client);
  });

  await new Promise<void>((listening) => server.listen(socket, listening));
  return {
    socket,
    plan: (instance, ...more) => plans.set(instance, [...(plans.get(instance) ?? []), ...more]),
    calm: () => plans.clear(),
    cutEvents: () => {
      const all = [...streams];
      for (const each of all) each.destroy();
      return all.length;
    },
    close: async () => {
      const closed = new Promise((done) => server.close(done));
      for (const each of [...streams, ...held]) each.destroy();
      await closed;
    },
  };
}

async function spoil(
  { trouble: sort, ms }: Plan,
  client: Socket,
  outgoing: ServerResponse,
  real: Answer,
): Promise<void> {
  switch (sort) {
    case 'silence':
      return;
    case 'hang':
      await sleep(ms);
      client.destroy();
      return;
    case 'cut after':
      client.destroy();
      return;
    case 'cut within':
      outgoing.writeHead(real.status, { 'content-type': 'application/json', 'content-length': real.body.length });
      outgoing.write(real.body.subarray(0, real.body.length / 2));
      await sleep(20);
      client.destroy();
      return;
    case 'half-close':
      client.end(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n`);
      return;
    case 'garbage':
      client.end('\u0000\u0001\u0002 this is not HTTP\r\n\r\n');
      return;
    case 'error 502': {
      answer(outgoing, { status: 502, headers: {}, body: Buffer.from('<html>Bad gateway</html>') });
      return;
    }
    case 'truncated': {
      answer(outgoing, { ...real, body: real.body.subarray(0, real.body.length / 2) });
      return;
    }
    default: {
      answer(outgoing, real);
      return;
    }
  }
}

/** Headers that are about how an answer travels. */
const OF_THE_WAY = new Set(['content-length', 'transfer-encoding', 'connection']);

function answer(outgoing: ServerResponse, { status, headers, body }: Answer): void {
  const others = Object.entries(headers).filter(([name]) => !OF_THE_WAY.has(name));
  outgoing.writeHead(status, { ...Object.fromEntries(others), 'content-length': body.length });
  outgoing.end(body);
}

function trouble(): Answer {
  const body = { type: 'error', error_code: 500, error: 'The laboratory says no', metadata: null };
  return { status: 500, headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify(body)) };
}

function forward(socketPath: string, { method, url, headers }: IncomingMessage, body: Buffer): Promise<Answer> {
  return new Promise((done, fail) => {
    const onward = request({ socketPath, method, path: url, headers, agent: false }, (response) => {
      buffer(response).then(
        (text) => done({ status: response.statusCode ?? 0, headers: response.headers, body: text }),
        fail,
      );
    });
    onward.on('error', fail);
    onward.end(body);
  });
}
