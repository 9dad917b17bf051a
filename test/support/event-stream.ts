/** A follower of `events` over either transport: what it was told, and how it ended. */
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { WebSocket } from 'ws';
import type { TestClient } from './app';
import { sse } from './sse';
import { until } from './until';

export const TRANSPORTS = ['WebSocket', 'server-sent events'] as const;
export type Transport = (typeof TRANSPORTS)[number];

export const EVENTS = `subscription ($after: String) { events(after: $after) { cursor occurredAt change nodeId instanceId
  node { __typename id ... on Instance { name location } ... on Snapshot { name state: status } ... on Operation { progress: status } } } }`;

/** What the cursor of an event is made of. */
export const partsOf = (cursor: string): string[] => JSON.parse(Buffer.from(cursor, 'base64url').toString());

/** Its place in the log. */
export const placeOf = ({ cursor }: { cursor: string }): string => partsOf(cursor).slice(1, 3).join('.');

export class Follower {
  readonly events: any[] = [];
  readonly errors: any[] = [];
  ended = false;
  /** The code with which the socket was closed. */
  closed: number | null = null;
  private readonly leaving = new AbortController();
  private readonly running: Promise<void>;

  constructor(
    readonly client: TestClient,
    readonly transport: Transport,
    readonly after: string | null = null,
  ) {
    this.running = (transport === 'WebSocket' ? this.overWebSocket() : this.overSse()).finally(() => {
      this.ended = true;
    });
  }

  /** Without CAUGHT_UP. */
  get changes(): any[] {
    return this.events.filter(({ change }) => change !== 'CAUGHT_UP');
  }

  get cursor(): string | null {
    return this.events.at(-1)?.cursor ?? this.after;
  }

  async caughtUp(): Promise<this> {
    await until(() => this.errors.length > 0 || this.events.some(({ change }) => change === 'CAUGHT_UP'), 20_000, 'CAUGHT_UP'); // prettier-ignore
    if (this.errors.length > 0) throw new Error(JSON.stringify(this.errors));
    return this;
  }

  /** Waits for an event that fits, and gives it. */
  hears(fits: (event: any) => boolean, what = 'an event'): Promise<any> {
    return until(() => this.events.find(fits), 20_000, what);
  }

  /** Goes away. */
  async leave(): Promise<void> {
    this.leaving.abort();
    await this.running;
  }

  private note({ data, errors }: any): void {
    if (data) this.events.push(data.events);
    if (errors) this.errors.push(...errors);
  }

  private overWebSocket(): Promise<void> {
    const socket = this.client.socket({ onClosed: ({ code }) => (this.closed = code) });
    const ended = new Promise<void>((resolve) => {
      this.leaving.signal.addEventListener('abort', () => resolve());
      socket.subscribe(
        { query: EVENTS, variables: { after: this.after } },
        {
          next: (result) => this.note(result),
          error: (errors) => {
            if (Array.isArray(errors)) this.errors.push(...errors);
            resolve();
          },
          complete: resolve,
        },
      );
    });
    return ended.finally(() => socket.dispose());
  }

  private async overSse(): Promise<void> {
    try {
      for await (const { event, data } of sse(this.client, EVENTS, { after: this.after }, this.leaving.signal))
        if (event === 'next') this.note(data);
    } catch (error) {
      if (!this.leaving.signal.aborted) throw error;
    }
  }
}

/** A client that subscribes and reads nothing until it is told to. */
export async function slowReader(client: TestClient, transport: Transport, query: string, variables: object) {
  let text = '';
  const hear = (chunk: Buffer): void => {
    text += chunk.toString().replace(/x{100,}/g, '');
  };
  const count = (word: string) => text.split(`"${word}"`).length - 1;
  if (transport === 'WebSocket') {
    const socket = new WebSocket(`${client.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
    const say = (message: object) => socket.send(JSON.stringify(message));
    await once(socket, 'open');
    say({ type: 'connection_init', payload: { authorization: `Bearer ${client.token}` } });
    await once(socket, 'message');
    socket.on('message', hear);
    socket.pause();
    say({ id: '1', type: 'subscribe', payload: { query, variables } });
    const close = async () => {
      socket.close();
      await once(socket, 'close');
    };
    return { count, resume: () => socket.resume(), close };
  }
  const headers = { 'content-type': 'application/json', accept: 'text/event-stream', authorization: `Bearer ${client.token}` }; // prettier-ignore
  const asked = request(`${client.url}/graphql`, { method: 'POST', headers });
  asked.end(JSON.stringify({ query, variables }));
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  const closed = new Promise((resolve) => response.on('close', resolve));
  for (const each of [asked, response]) each.on('error', () => undefined); // that it was broken off
  const close = async () => {
    asked.destroy();
    await closed;
  };
  return { count, resume: () => response.on('data', hear), close };
}
