/** One operation over each of the transports that stream, until it completes or was heard of. */
import type { GraphqlResponse, TestClient } from './app';

export interface Stream {
  events: Omit<GraphqlResponse, 'status'>[];
  /** The errors with which it was refused as a whole. */
  refused: NonNullable<GraphqlResponse['errors']>;
  completed: boolean;
}

/** Over WebSocket; it is unsubscribed after `wanted` events. */
export async function overWebSocket(client: TestClient, query: string, wanted = 1): Promise<Stream> {
  const socket = client.socket();
  const stream: Stream = { events: [], refused: [], completed: false };
  try {
    await new Promise<void>((resolve) => {
      const unsubscribe = socket.subscribe<any>(
        { query },
        {
          next: (event) => {
            stream.events.push(event as Stream['events'][number]);
            if (stream.events.length < wanted) return;
            unsubscribe();
            resolve();
          },
          error: (errors) => {
            stream.refused = errors as Stream['refused'];
            resolve();
          },
          complete: () => {
            stream.completed = stream.events.length < wanted;
            resolve();
          },
        },
      );
    });
  } finally {
    await socket.dispose();
  }
  return stream;
}

/** As server-sent events; `onFirst` is called once something was heard and more is awaited. */
export async function overSse(
  client: TestClient,
  query: string,
  wanted = 1,
  onFirst?: () => Promise<unknown>,
): Promise<Stream & { status: number }> {
  const abort = new AbortController();
  const response = await fetch(`${client.url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'text/event-stream',
      ...(client.token && { authorization: `Bearer ${client.token}` }),
    },
    body: JSON.stringify({ query }),
    signal: abort.signal,
  });
  const stream = { status: response.status, events: [] as Stream['events'], refused: [], completed: false };
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    const messages = text.split('\n\n');
    stream.events = messages.flatMap((message) => eventOf(message) ?? []);
    stream.completed = messages.some((message) => message.startsWith('event: complete'));
    if (stream.completed || stream.events.length >= wanted) break;
    if (stream.events.length > 0) await onFirst?.();
  }
  abort.abort();
  return stream;
}

function eventOf(message: string): Stream['events'][number] | null {
  const data = /^event: next$/m.test(message) && /^data: (.+)$/m.exec(message)?.[1];
  return data ? (JSON.parse(data) as Stream['events'][number]) : null;
}
