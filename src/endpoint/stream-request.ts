/** The form of a request for a stream: the library waits for ever for a body that is null, and knows no errors of our shape. */
import type { FastifyRequest } from 'fastify';

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Throws what is answered with 400 unless it is a GraphQL request. */
export function judgeStreamRequest({ method, body, query }: FastifyRequest): void {
  const fault = faultOf(method === 'GET' ? query : body, method === 'GET');
  if (fault !== null) throw Object.assign(new Error(fault), { statusCode: 400 });
}

function faultOf(request: unknown, inUrl: boolean): string | null {
  if (!isObject(request)) return 'The body must be one JSON object.';
  const isNamed = request['documentId'] !== undefined || request['extensions'] !== undefined;
  if (typeof request['query'] !== 'string' && !isNamed) return 'Give a query: the text of a GraphQL document.';
  for (const name of ['variables', 'extensions']) {
    const given = inUrl ? fromText(request[name]) : request[name];
    if (given !== undefined && given !== null && !isObject(given)) return `${name} must be a JSON object.`;
  }
  return null;
}

function fromText(text: unknown): unknown {
  try {
    return typeof text === 'string' ? (JSON.parse(text) as unknown) : text;
  } catch {
    return text;
  }
}
