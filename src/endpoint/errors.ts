/** Every error at the top of a response: one of the contract's codes, a correlation id, and nothing of our insides. */
import { unwrapResolverError } from '@apollo/server/errors';
import { GraphQLError, type FormattedExecutionResult, type GraphQLFormattedError } from 'graphql';
import { isDatabaseAway, wasStopped } from '../db/away';
import { RequestError, TOOK_TOO_LONG } from '../errors';
import { correlationId } from './correlation';

export type Report = (level: 'info' | 'error', what: object, message: string) => void;

const PASSED_ON = new Set([
  'GRAPHQL_PARSE_FAILED',
  'GRAPHQL_VALIDATION_FAILED',
  'OPERATION_RESOLUTION_FAILURE',
  'BAD_REQUEST',
  'BAD_USER_INPUT',
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'RATE_LIMITED',
  'QUERY_TOO_COMPLEX',
  'SERVICE_UNAVAILABLE',
  'INTERNAL_SERVER_ERROR',
]);

/** Is said as it is: it has its id, and is a line in the log with all others of its kind and second. */
export class Overload extends GraphQLError {}

/** An error as the client may see it. Our own faults are logged whole and shown only by their id. */
export function toFormatted(error: unknown, report: Report): GraphQLFormattedError {
  if (error instanceof Overload) return error.toJSON();
  const id = correlationId();
  const shown = error instanceof GraphQLError ? error.toJSON() : { message: '' };
  const place = { ...(shown.locations && { locations: shown.locations }), ...(shown.path && { path: shown.path }) };
  // Without a path it did not come from a resolver, and the library would not unwrap it.
  const cause = (error instanceof GraphQLError && error.originalError) || unwrapResolverError(error);
  if (cause instanceof RequestError) {
    report('info', { correlationId: id, code: cause.code }, 'a request was refused');
    return {
      message: cause.message,
      ...place,
      extensions: { code: cause.code, ...cause.extensions, correlationId: id },
    };
  }
  const code = codeOf(error, cause);
  if (code === 'SERVICE_UNAVAILABLE' || code === 'INTERNAL_SERVER_ERROR') {
    report('error', { correlationId: id, code, err: cause }, 'a request failed');
    return {
      message: wasStopped(cause) ? TOOK_TOO_LONG : MASKED[code],
      ...place,
      extensions: { code, correlationId: id },
    };
  }
  report('info', { correlationId: id, code, path: shown.path }, 'a request was refused');
  // What extensions a library adds beyond its code is its own affair: only ours are passed on.
  const { requiredRoles, contact } = shown.extensions ?? {};
  const extensions = { code, ...(requiredRoles !== undefined && { requiredRoles, contact }), correlationId: id };
  return { message: withoutSuggestions(shown.message), ...place, extensions };
}

/** What is said in place of what only the log may say. */
export const MASKED = {
  SERVICE_UNAVAILABLE: 'The service cannot answer just now; try again in a moment.',
  INTERNAL_SERVER_ERROR:
    'Something went wrong on our side. Whoever runs this finds it in the log by the correlation id.',
};

function codeOf(error: unknown, cause: unknown): string {
  if (isDatabaseAway(cause)) return 'SERVICE_UNAVAILABLE';
  const given = error instanceof GraphQLError ? asText(error.extensions.code) : '';
  if (PASSED_ON.has(given)) return given;
  // graphql-js has no codes: an error of its own that no field threw is about the document or a variable.
  return error instanceof GraphQLError && error.path === undefined && !given
    ? 'BAD_USER_INPUT'
    : 'INTERNAL_SERVER_ERROR';
}

const asText = (code: unknown) => (typeof code === 'string' ? code : '');

/** A schema is no secret here, but guesses at names help only those who probe. */
function withoutSuggestions(message: string): string {
  return message.replace(/ ?Did you mean [^?]*\?/g, '');
}

/** The HTTP status of a result with errors. `application/json` predates the codes: most of them are 200 there. */
export function statusOf({ errors = [], data }: FormattedExecutionResult, graphqlResponseJson: boolean): number {
  const codes = new Set(errors.map(({ extensions }) => String(extensions?.code)));
  const first = [...STATUSES].find(([code]) => codes.has(code));
  // Without data nothing was executed: it is the request's variables that are no good.
  if (!first) return graphqlResponseJson && data === undefined && codes.has('BAD_USER_INPUT') ? 400 : 200;
  const [code, status] = first;
  return graphqlResponseJson || ALWAYS.has(code) ? status : 200;
}

/** Seconds after which whoever was refused may try again, for the header of that name. */
export function retryAfter({ errors = [] }: FormattedExecutionResult): string | undefined {
  const seconds = errors.map(({ extensions }) => Number(extensions?.retryAfterSeconds ?? 0));
  return seconds.some((n) => n > 0) ? String(Math.max(...seconds)) : undefined;
}

const STATUSES = new Map([
  ['SERVICE_UNAVAILABLE', 503],
  ['INTERNAL_SERVER_ERROR', 500],
  ['RATE_LIMITED', 429],
  ['UNAUTHENTICATED', 401],
  ['FORBIDDEN', 403],
  ['BAD_REQUEST', 400],
  ['GRAPHQL_PARSE_FAILED', 400],
  ['GRAPHQL_VALIDATION_FAILED', 400],
  ['QUERY_TOO_COMPLEX', 400],
  ['OPERATION_RESOLUTION_FAILURE', 400],
]);
const ALWAYS = new Set(['SERVICE_UNAVAILABLE', 'RATE_LIMITED', 'UNAUTHENTICATED', 'BAD_REQUEST']);
