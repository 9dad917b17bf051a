/** Server-sent events as graphql-sse's distinct connections send them: one operation a request. */
import type { TestClient } from './app';

export interface ServerSentEvent {
  event: string;
  data: any;
}

/** The events of one request, to its end; a signal that aborts is a client that goes away. */
export async function* sse(
  { url, token }: Pick<TestClient, 'url' | 'token'>,
  query: string,
  variables: object = {},
  signal?: AbortSignal,
): AsyncGenerator<ServerSentEvent, void> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'text/event-stream',
      ...(token && { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify({ query, variables }),
    ...(signal && { signal }),
  });
  const type = response.headers.get('content-type') ?? '';
  if (!type.includes('text/event-stream') || !response.body) {
    throw new Error(`${response.status} ${type}: ${await response.text()}`);
  }
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body) {
    text += decoder.decode(chunk, { stream: true });
    const blocks = text.split('\n\n');
    text = blocks.pop() ?? '';
    for (const block of blocks) {
      const [, event] = /^event: ?(.*)$/m.exec(block) ?? [];
      const [, data] = /^data: ?(.*)$/m.exec(block) ?? [];
      if (event !== undefined) yield { event, data: data ? JSON.parse(data) : null };
    }
  }
}

/** All of them, of an operation that ends. */
export async function sseAll(...request: Parameters<typeof sse>): Promise<ServerSentEvent[]> {
  const events: ServerSentEvent[] = [];
  for await (const event of sse(...request)) events.push(event);
  return events;
}
