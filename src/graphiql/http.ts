import type { ExecutionResult } from 'graphql';

/** One GraphQL request as it goes over the wire. */
export interface Request {
  query: string;
  variables?: Record<string, unknown>;
  operationName?: string;
}

/** The answer to a request, and the time on the server's clock when it was given. */
export interface Answer<Data> {
  result: ExecutionResult<Data>;
  serverTime: number;
}

/** Posts one request to this server; anything but a GraphQL answer is thrown as a sentence for people. */
export async function post<Data>(request: Request, headers = new Headers()): Promise<Answer<Data>> {
  headers.set('content-type', 'application/json');
  headers.set('accept', 'application/graphql-response+json, application/json;q=0.9');
  const response = await fetch('/graphql', {
    method: 'POST',
    body: JSON.stringify(request),
    cache: 'no-store',
    headers,
  }).catch((cause: unknown) => {
    throw new Error('The server cannot be reached.', { cause });
  });
  // A session's end is told by the server's clock; a browser's own may be wrong by minutes.
  const date = Date.parse(response.headers.get('date') ?? '');
  const result = (await response.json().catch(() => null)) as ExecutionResult<Data> | null;
  if (result === null || typeof result !== 'object')
    throw new Error(`The server answered ${response.status} without a GraphQL result.`);
  return { result, serverTime: Number.isNaN(date) ? Date.now() : date };
}

/** Whether the server refused because it does not know who is asking: nothing was executed, so it may be asked again. */
export const isUnauthenticated = ({ errors }: ExecutionResult<unknown>): boolean =>
  errors?.some((error) => error.extensions?.['code'] === 'UNAUTHENTICATED') ?? false;

/** The sentence of an error for the bar. */
export const sentence = (error: unknown): string => (error instanceof Error ? error.message : String(error));
