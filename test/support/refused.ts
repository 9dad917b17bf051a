/** One operation over each transport: the codes and sentences with which it is refused, or its data. */
import type { TestClient } from './app';
import { sseAll } from './sse';

export interface Outcome {
  data?: any;
  errors?: { message: string; extensions: Record<string, any> }[];
}

type Ask = (client: TestClient, query: string, variables?: object) => Promise<Outcome>;

export const ASK: Record<'HTTP' | 'WebSocket' | 'server-sent events', Ask> = {
  HTTP: (client, query, variables) => client.send(query, variables),
  WebSocket: async (client, query, variables = {}) => {
    const socket = client.socket();
    try {
      const { value } = await socket.iterate({ query, variables: variables as Record<string, unknown> }).next();
      return value as Outcome;
    } catch (error) {
      if (!Array.isArray(error)) throw error;
      return { errors: error };
    } finally {
      await socket.dispose();
    }
  },
  'server-sent events': async (client, query, variables) =>
    (await sseAll(client, query, variables)).find(({ event }) => event === 'next')?.data,
};

export const TRANSPORTS = Object.keys(ASK) as (keyof typeof ASK)[];

/** What nobody may make us work on: each document with the word that the refusal says of the limit. */
export const ABUSES: Record<string, [query: string, says: RegExp, code?: string]> = {
  '10,000 aliases': [`{ ${repeat(10_000, (n) => `a${n}:x`)} }`, /length of a document|tokens/],
  'aliases of a short document': [`{ ${repeat(60, (n) => `a${n}: __typename`)} }`, /directly below|aliases/],
  'aliases further down': [`{ apiInfo { ${repeat(60, (n) => `a${n}: version`)} } }`, /aliases/],
  'a field again and again': [`{ viewer { assignedInstances { nodes { ${repeat(400, () => 'snapshots { totalCount }')} } } } }`, /repeated fields/],
  '1,000 directives': [`{ apiInfo { version ${'@skip(if: false) '.repeat(1000)} } }`, /tokens/],
  '60 directives': [`{ apiInfo { version ${'@skip(if: false) '.repeat(60)} } }`, /directives/],
  'depth 500': [`${'{ a '.repeat(500)}${'}'.repeat(500)}`, /depth of a query/],
  'depth in fragments': [`{ ...F0 } ${repeat(20, (n) => `fragment F${n} on Query { a { ...F${n + 1} } }`)} fragment F20 on Query { b }`, /depth of a query/],
  'many fields directly below': [`{ ${'__typename '.repeat(25)} }`, /directly below/],
  'exploding fragments': [`{ ...F0 } ${repeat(40, (n) => `fragment F${n} on Query { ...F${n + 1} ...F${n + 1} }`)} fragment F40 on Query { __typename }`, /fields of an operation/],
  'circular fragments': ['{ ...A } fragment A on Query { __typename ...B } fragment B on Query { ...A }', /Cannot spread fragment/, 'GRAPHQL_VALIDATION_FAILED'],
  'a circle of one': ['{ ...A } fragment A on Query { ...A ...A }', /Cannot spread fragment/, 'GRAPHQL_VALIDATION_FAILED'],
  'too many definitions': [`{ __typename } ${repeat(60, (n) => `fragment F${n} on Query { __typename }`)}`, /operations and fragments/],
  'a long document': [`{ __typename } # ${'x'.repeat(40_000)}`, /length of a document/],
  'a deep literal': [`{ instances(filter: ${'{ not: '.repeat(20)}{}${' }'.repeat(20)}) { totalCount } }`, /depth of a literal/],
  'many rows': ['{ apiInfo { version } instances(first: 100) { nodes { snapshots(first: 100) { nodes { createdBy { assignedInstances(first: 100) { nodes { id } } } } } } } }', /rows/, 'FORBIDDEN|QUERY_TOO_COMPLEX|UNAUTHENTICATED'],
}; // prettier-ignore

function repeat(count: number, part: (n: number) => string): string {
  return Array.from({ length: count }, (_, n) => part(n)).join(' ');
}
