/**
 * The one way to execution, for HTTP, WebSocket and event streams alike: parse, limits, validate, then who it is and whether they
 * may, then what it costs. Contexts are made here only, of surroundings that no transport has; and without a context no
 * resolver does anything. So a transport that leaves the gate out has nothing to execute with.
 */
import {
  getVariableValues,
  GraphQLError,
  OperationTypeNode,
  type ExecutionArgs,
  type GraphQLSchema,
  type OperationDefinitionNode,
} from 'graphql';
import type { Caller, Origin } from '../auth/actor';
import { RequestError } from '../errors';
import type { Limits } from '../limits';
import { Context, type Surroundings } from '../resolvers/context';
import { recordForbidden } from '../resolvers/refusals';
import { judgeVariables, within } from './complexity';
import { correlationId } from './correlation';
import { valueOf } from './cost';
import { Documents, NO_TRUSTED_DOCUMENTS, TrustedDocuments } from './documents';
import type { Closes, RateLimits } from './rate-limits';

export interface GateOptions {
  limits: Limits;
  introspection: boolean;
  /** Texts by their SHA-256; `alone`: nothing else is answered. */
  trusted: { texts: Record<string, string>; alone: boolean } | null;
}

/** A request as every transport gives it. */
export interface Params {
  query?: string | undefined;
  operationName?: string | null | undefined;
  variables?: Record<string, unknown> | null | undefined;
  extensions?: Record<string, unknown> | null | undefined;
  /** `sha256:` and the hash of a trusted document. */
  documentId?: unknown;
}

/** Who asks. It is asked for only when the document is good: to find out takes the database. */
export interface Asker {
  identify: () => Promise<Caller>;
  origin: Origin;
  /** What stays open for the answer, where it does: so many of one account may. */
  stream?: Closes;
  /** Which kinds of operation this transport executes; all, unless it says so. */
  takes?: (operation: OperationTypeNode) => GraphQLError | null;
}

/** What may be executed, whole. */
export interface Pass {
  args: ExecutionArgs & { contextValue: Context };
  cost: { requested: number; limit: number };
}

export type Refusal = readonly GraphQLError[];

export function isRefusal(verdict: Pass | Refusal): verdict is Refusal {
  return Array.isArray(verdict);
}

export class Gate {
  private readonly documents: Documents;
  private readonly trusted: Pick<TrustedDocuments, 'textOf'>;

  /** Throws UntrustedDocuments when one of the trusted documents is no good. */
  constructor(
    private readonly schema: GraphQLSchema,
    private readonly shared: Surroundings,
    private readonly rates: RateLimits,
    private readonly options: GateOptions,
  ) {
    this.documents = new Documents(schema, options.limits, options.introspection);
    this.trusted = options.trusted
      ? TrustedDocuments.from(options.trusted.texts, options.trusted.alone, this.documents)
      : NO_TRUSTED_DOCUMENTS;
  }

  /** Never throws: what goes wrong is a refusal too. */
  async admit(params: Params, asker: Asker): Promise<Pass | Refusal> {
    try {
      return await this.judge(params, asker);
    } catch (error) {
      return [error instanceof GraphQLError ? error : asGraphQL(error)];
    }
  }

  private async judge(params: Params, asker: Asker): Promise<Pass | Refusal> {
    const { limits } = this.options;
    const judged = this.documents.judge(this.trusted.textOf(params.query, hashOf(params)));
    if (!('document' in judged)) return judged;
    const { document } = judged;
    const operationName = params.operationName ?? null;
    const found = this.documents.operationOf(judged, operationName);
    if (!found) return [failure('Name one of the operations of the document.', 'OPERATION_RESOLUTION_FAILURE')];
    const { operation, price } = found;
    const variableValues = params.variables ?? {};
    judgeVariables(variableValues, limits);

    const coerced = this.coerce(operation, variableValues);
    const { authorizer } = this.shared;
    const authorize = (caller: Caller) => authorizer.authorize(document, operation, coerced, caller);
    const caller = await asker.identify();
    const limited = () => this.rates.ofCaller(caller, asker.origin);
    const tooMany = (caller.badToken ? null : limited()) ?? this.rates.streamOfCaller(caller, asker.stream);
    if (tooMany) return tooMany.errors;
    const refused = authorize(caller);
    if (refused.length > 0) {
      // Counted here only, because public fields are answered whatever the token.
      const tooManyBad = caller.badToken ? limited() : null;
      if (tooManyBad) return tooManyBad.errors;
      const asked = { caller, correlationId: correlationId(), origin: asker.origin };
      await recordForbidden(this.shared, asked, document, operation, refused);
      return refused;
    }
    const untaken = asker.takes?.(operation.operation);
    if (untaken) return [untaken];

    const requested = valueOf(price, coerced);
    within(limits, 'maxCost', requested, 'The rows that an operation asks for');
    const contextValue = new Context(this.shared, caller, correlationId(), asker.origin);
    contextValue.authorizeAgain = (actor) => authorize({ actor, badToken: false });
    return {
      args: { schema: this.schema, document, operationName, variableValues, contextValue },
      cost: { requested, limit: limits.maxCost },
    };
  }

  /** With defaults. Variables that cannot be coerced end the operation later; until then all that is selected counts. */
  private coerce(operation: OperationDefinitionNode, variables: Record<string, unknown>): Record<string, unknown> {
    const definitions = operation.variableDefinitions ?? [];
    return definitions.length === 0 ? {} : (getVariableValues(this.schema, definitions, variables).coerced ?? {});
  }
}

/** The document's hash by Apollo's extension, or by the id of GraphQL over HTTP. */
function hashOf({ extensions, documentId }: Params): string | null {
  const { sha256Hash } = (extensions?.persistedQuery ?? {}) as { sha256Hash?: unknown };
  if (!isGiven(sha256Hash) && !isGiven(documentId)) return null;
  const named = isGiven(sha256Hash) ? sha256Hash : documentId;
  const hash = typeof named === 'string' && /^(?:sha256:)?([0-9a-f]{64})$/i.exec(named)?.[1];
  if (!hash) throw new RequestError('BAD_REQUEST', 'A document is named by its SHA-256, 64 hexadecimal digits.');
  return hash.toLowerCase();
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** What went wrong is for the log: it is masked, unless the cause is one that may be told. */
function asGraphQL(cause: unknown): GraphQLError {
  return new GraphQLError('', { originalError: cause as Error, extensions: { code: 'INTERNAL_SERVER_ERROR' } });
}

/** An error of the request itself. */
export function failure(message: string, code: string): GraphQLError {
  return new GraphQLError(message, { extensions: { code } });
}
