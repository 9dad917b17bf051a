/** The bounds of what may be asked: each is a setting, and stands in `apiInfo.limits` under its name here. */

/** Entries of a page when neither `first` nor `last` is given, and the most of them. */
export const DEFAULT_PAGE_SIZE = 25;
export const MAX_PAGE_SIZE = 100;

interface Limit {
  standard: number;
  /** What a setting may make of it. */
  low: number;
  high: number;
  description: string;
}

const limit = (standard: number, low: number, high: number, description: string): Limit => ({
  standard,
  low,
  high,
  description,
});

/** By name; the setting bears the same one in capitals, `maxTokens` as `MAX_TOKENS`. */
export const LIMITS = {
  maxBodyBytes: limit(262_144, 4096, 16_777_216, 'The largest request body or message of a WebSocket, in bytes.'),
  maxDocumentBytes: limit(32_768, 4096, 1_048_576, 'The longest GraphQL document, in bytes of UTF-8.'),
  maxTokens: limit(2000, 500, 100_000, 'The most tokens (names, values, punctuation) of a document.'),
  maxDepth: limit(16, 15, 100, 'How deep fields may stand below each other; introspection as GraphiQL asks needs 15.'),
  maxAliases: limit(50, 0, 10_000, 'The most aliases and repetitions of a field in a document.'),
  maxDirectives: limit(50, 0, 10_000, 'The most directives of a document.'),
  maxRootFields: limit(20, 1, 1000, 'The most fields directly below one operation.'),
  maxFields: limit(1000, 250, 100_000, 'The most fields of one operation when every fragment is written out.'),
  maxDefinitions: limit(50, 10, 1000, 'The most operations and fragments of a document.'),
  maxVariablesBytes: limit(65_536, 1024, 16_777_216, 'The longest variables, in bytes as JSON.'),
  maxVariablesDepth: limit(12, 5, 100, 'How deep lists and objects may stand in each other in a variable or a literal.'),
  maxListLength: limit(1000, 100, 100_000, 'The longest list in a variable.'),
  maxCost: limit(25_000, 2000, 10_000_000, 'The most rows that one operation may ask for; `extensions.cost` of an answer says for how many it did.'),
  maxSocketOperations: limit(100, 1, 10_000, 'The most operations at once on one WebSocket.'),
  requestTimeoutSeconds: limit(20, 2, 300, 'How long a request may take, in seconds; then it is stopped, and SERVICE_UNAVAILABLE.'),
} satisfies Record<string, Limit>; // prettier-ignore

export type Limits = Record<keyof typeof LIMITS, number>;

export const LIMIT_NAMES = Object.keys(LIMITS) as (keyof Limits)[];

/** The setting of a limit. */
export function variableOf(name: keyof Limits): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}
