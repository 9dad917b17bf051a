import type { TestClient } from './app';
import { until } from './until';

/** A subscription that runs, and what became of it. */
export interface Followed {
  events: any[];
  ended: 'completed' | 'failed' | null;
  /** The code with which the socket was closed. */
  closed: number | null;
  stop: () => Promise<void>;
}

/** Subscribes over a socket of its own, and waits for the first event. */
export async function followed(client: TestClient, query: string, more: string[] = []): Promise<Followed[]> {
  const all: Followed[] = [];
  const closed = (code: number) => all.forEach((each) => (each.closed = code));
  const socket = client.socket({ onClosed: ({ code }) => closed(code) });
  for (const each of [query, ...more]) {
    const one: Followed = { events: [], ended: null, closed: null, stop: async () => socket.dispose() };
    all.push(one);
    socket.subscribe(
      { query: each },
      {
        next: (event) => void one.events.push(event),
        error: () => (one.ended = 'failed'),
        complete: () => (one.ended ??= 'completed'),
      },
    );
  }
  await until(() => all.every(({ events }) => events.length > 0), 10_000, 'the first events');
  return all;
}
