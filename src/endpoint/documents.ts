/** Texts as documents that may be executed: parsed, within the limits, valid. Those that are asked again are kept. */
import { createHash } from 'node:crypto';
import {
  getOperationAST,
  GraphQLError,
  parse,
  specifiedRules,
  validate,
  type DocumentNode,
  type FieldNode,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type ValidationContext,
} from 'graphql';
import { RequestError } from '../errors';
import type { Limits } from '../limits';
import { judgeDocument, within } from './complexity';
import { priceOf, type Price } from './cost';

/** Bytes of text whose documents are kept, and what one counts at least; as objects they take some fifty times as much. */
const KEPT_BYTES = 1024 * 1024;
const LEAST_BYTES = 512;

/** A document that has passed. */
export interface Judged {
  document: DocumentNode;
  /** By name; null is an operation without one, or the only one. */
  operations: Map<string | null, Priced | null>;
  bytes: number;
}

/** One of its operations. */
export interface Priced {
  operation: OperationDefinitionNode;
  price: Price;
}

export class Documents {
  /** In the order in which they were asked for last. */
  private readonly kept = new Map<string, Judged>();
  private keptBytes = 0;
  private readonly rules;

  constructor(
    private readonly schema: GraphQLSchema,
    private readonly limits: Limits,
    introspection: boolean,
  ) {
    this.rules = introspection ? specifiedRules : [...specifiedRules, noIntrospection];
  }

  /** Why a text is refused, or its document. What is refused is not kept: texts that fail are without number. */
  judge(text: string): Judged | readonly GraphQLError[] {
    const known = this.kept.get(text);
    if (known) {
      this.kept.delete(text);
      this.kept.set(text, known);
      return known;
    }
    const bytes = Buffer.byteLength(text);
    within(this.limits, 'maxDocumentBytes', bytes, 'The length of a document in bytes');
    const document = this.parse(text);
    if (document instanceof GraphQLError) return [document];
    judgeDocument(document, this.limits);
    const faults = validate(this.schema, document, this.rules, { hideSuggestions: true });
    if (faults.length > 0) return faults.map((fault) => withCode(fault, 'GRAPHQL_VALIDATION_FAILED'));
    return this.keep(text, { document, operations: new Map(), bytes: Math.max(bytes, LEAST_BYTES) });
  }

  /** The operation of that name, or the only one; null when there is none. */
  operationOf({ document, operations }: Judged, name: string | null): Priced | null {
    const known = operations.get(name);
    if (known !== undefined) return known;
    const operation = getOperationAST(document, name);
    if (!operation) return null; // is not kept, for names that fail are without number
    const priced = { operation, price: priceOf(this.schema, document, operation) };
    operations.set(name, priced);
    return priced;
  }

  private parse(text: string): DocumentNode | GraphQLError {
    try {
      return parse(text, { maxTokens: this.limits.maxTokens });
    } catch (error) {
      if (!(error instanceof GraphQLError)) throw error;
      if (!/more tha[nt] \d+ tokens/.test(error.message)) return withCode(error, 'GRAPHQL_PARSE_FAILED');
      within(this.limits, 'maxTokens', Infinity, 'The number of tokens of a document');
      return error;
    }
  }

  private keep(text: string, judged: Judged): Judged {
    this.kept.set(text, judged);
    this.keptBytes += judged.bytes;
    for (const [oldest, { bytes }] of this.kept) {
      if (this.keptBytes <= KEPT_BYTES) break;
      this.kept.delete(oldest);
      this.keptBytes -= bytes;
    }
    return judged;
  }
}

/** Documents that were written down beforehand, by the SHA-256 of their text. */
export class TrustedDocuments {
  private constructor(
    private readonly texts: ReadonlyMap<string, string>,
    /** Nothing else is answered. */
    private readonly alone: boolean,
  ) {}

  /** Throws with every fault at once: a text of another hash, or one that would be refused. */
  static from(given: Record<string, string>, alone: boolean, documents: Documents): TrustedDocuments {
    const faults = Object.entries(given).flatMap(([hash, text]) => {
      const why = hash === sha256(text) ? whyNot(documents, text) : 'its text has another SHA-256';
      return why === null ? [] : [`TRUSTED_DOCUMENTS: ${hash} is no good: ${why}`];
    });
    if (faults.length > 0) throw new UntrustedDocuments(faults);
    return new TrustedDocuments(new Map(Object.entries(given)), alone);
  }

  /** The text that a request means, by a hash or by itself. */
  textOf(query: string | undefined, hash: string | null): string {
    const known = hash === null ? undefined : this.texts.get(hash);
    if (known !== undefined && query && query !== known)
      throw new RequestError('BAD_REQUEST', 'The hash names another document than `query`: send one of them.');
    const text = known ?? query;
    if (!text && hash !== null)
      throw new RequestError('PERSISTED_QUERY_NOT_FOUND', 'No document of this hash is known here: send its text.');
    if (!text) throw noDocument();
    if (this.alone && known === undefined && !this.texts.has(sha256(text)))
      throw new RequestError('PERSISTED_QUERY_NOT_ALLOWED', 'Only documents that were registered are answered here.');
    return text;
  }
}

/** Where none were written down, whoever names one is told so, and sends the text. */
export const NO_TRUSTED_DOCUMENTS: Pick<TrustedDocuments, 'textOf'> = {
  textOf(query, hash) {
    if (hash !== null)
      throw new RequestError('PERSISTED_QUERY_NOT_ALLOWED', 'No documents are registered here: send the text alone.');
    if (!query) throw noDocument();
    return query;
  },
};

/** A sentence for each document that is no good. */
export class UntrustedDocuments extends Error {
  constructor(readonly faults: string[]) {
    super(faults.join('\n'));
  }
}

function noDocument(): RequestError {
  return new RequestError('BAD_REQUEST', 'Send a GraphQL document as `query`, a text that is not empty.');
}

function whyNot(documents: Documents, text: string): string | null {
  try {
    const judged = documents.judge(text);
    return 'document' in judged ? null : judged.map(({ message }) => message).join(' ');
  } catch (error) {
    return (error as Error).message;
  }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/** A rule of validation for those who keep their schema to themselves; `__typename` stays. */
function noIntrospection(context: ValidationContext) {
  return {
    Field(node: FieldNode) {
      if (node.name.value !== '__schema' && node.name.value !== '__type') return;
      context.reportError(new GraphQLError('Introspection is switched off here.', { nodes: node }));
    },
  };
}

function withCode({ message, nodes, source, positions }: GraphQLError, code: string): GraphQLError {
  return new GraphQLError(message, {
    ...(nodes && { nodes }),
    ...(source && { source }),
    ...(positions && { positions }),
    extensions: { code },
  });
}
