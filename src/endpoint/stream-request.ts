/** The form of a request for a stream: the library waits for ever for a body that is null, and knows no errors of our shape. */
import type { FastifyRequest } from 'fastify';

type Given = Record<string, unknown>;

const isObject = (value: unknown): value is Given =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const givenBy = ({ method, body, query }: FastifyRequest): unknown => (method === 'GET' ? query : body);

/** Throws what is answered with 400 unless it is a GraphQL request; the library can read it afterwards. */
export function judgeStreamRequest(request: FastifyRequest): void {
  const given = givenBy(request);
  const fault = faultOf(given, request.method === 'GET');
  if (fault !== null) throw Object.assign(new Error(fault), { statusCode: 400 });
  // The library refuses what has no text; whether the name of a document will do is the gate's to say.
  const read: Given = { ...(given as Given), query: (given as Given)['query'] ?? '' };
  if (request.method === 'GET')
    request.raw.url = `/graphql?${String(new URLSearchParams(read as Record<string, string>))}`;
  else request.body = read;
}

/** The id of a document, which the library does not read. */
export function documentIdOf(request: FastifyRequest): unknown {
  return (givenBy(request) as Given)['documentId'];
}

function faultOf(given: unknown, inUrl: boolean): string | null {
  if (!isObject(given)) return 'The body must be one JSON object.';
  const isNamed = isGiven(given['documentId']) || isGiven(given['extensions']);
  if (typeof (given['query'] ?? (isNamed ? '' : null)) !== 'string')
    return 'Give a query: the text of a GraphQL document.';
  for (const name of ['variables', 'extensions']) {
    const value = inUrl ? fromText(given[name]) : given[name];
    if (isGiven(value) && !isObject(value)) return `${name} must be a JSON object.`;
  }
  return null;
}

const isGiven = (value: unknown) => value !== undefined && value !== null;

function fromText(text: unknown): unknown {
  try {
    return typeof text === 'string' ? (JSON.parse(text) as unknown) : text;
  } catch {
    return text;
  }
}
