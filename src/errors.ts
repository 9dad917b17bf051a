/** What a caller can mend. The codes are the contract's closed lists; messages are for people and may change. */

export enum UserErrorCode {
  NOT_FOUND = 'NOT_FOUND',
  INVALID_INPUT = 'INVALID_INPUT',
  NAME_INVALID = 'NAME_INVALID',
  NAME_TAKEN = 'NAME_TAKEN',
  INSTANCE_BUSY = 'INSTANCE_BUSY',
  INSTANCE_STATE_INVALID = 'INSTANCE_STATE_INVALID',
  STATEFUL_NOT_SUPPORTED = 'STATEFUL_NOT_SUPPORTED',
  STATEFUL_REQUIRES_RUNNING = 'STATEFUL_REQUIRES_RUNNING',
  SNAPSHOT_NOT_READY = 'SNAPSHOT_NOT_READY',
  SNAPSHOT_LOCKED = 'SNAPSHOT_LOCKED',
  NEWER_SNAPSHOTS_EXIST = 'NEWER_SNAPSHOTS_EXIST',
  PLAN_STALE = 'PLAN_STALE',
  VERSION_CONFLICT = 'VERSION_CONFLICT',
  IDEMPOTENCY_KEY_REUSED = 'IDEMPOTENCY_KEY_REUSED',
  QUOTA_EXCEEDED = 'QUOTA_EXCEEDED',
  STORAGE_FULL = 'STORAGE_FULL',
  ENGINE_UNAVAILABLE = 'ENGINE_UNAVAILABLE',
  ENGINE_ERROR = 'ENGINE_ERROR',
  OPERATION_NOT_CANCELLABLE = 'OPERATION_NOT_CANCELLABLE',
  OPERATION_NOT_RETRYABLE = 'OPERATION_NOT_RETRYABLE',
  LAST_ADMIN = 'LAST_ADMIN',
  INVALID_CREDENTIALS = 'INVALID_CREDENTIALS',
}

/** Codes of errors at the top of a response, in `extensions.code`. */
export type RequestErrorCode =
  | 'BAD_REQUEST'
  | 'BAD_USER_INPUT'
  | 'PERSISTED_QUERY_NOT_FOUND'
  | 'PERSISTED_QUERY_NOT_ALLOWED'
  | 'QUERY_TOO_COMPLEX'
  | 'UNAUTHENTICATED'
  | 'FORBIDDEN'
  | 'RATE_LIMITED'
  | 'CURSOR_EXPIRED'
  | 'SERVICE_UNAVAILABLE'
  | 'INTERNAL_SERVER_ERROR';

/** A refusal that belongs in a mutation's `userErrors`. */
export class AppError extends Error {
  constructor(
    readonly code: UserErrorCode,
    message: string,
    readonly more: {
      /** Path of the input value at fault, as in `["name"]`. */
      field?: string[];
      remediation?: string;
      /** What the code's own type adds: `existing`, `operation`, `reasons`, `status`. */
      detail?: Record<string, unknown>;
    } = {},
  ) {
    super(message);
    this.name = 'AppError';
  }
}

/** Missing and hidden alike: the words tell nothing of which. */
export function notFound(field: string, what: string): AppError {
  return new AppError(UserErrorCode.NOT_FOUND, `There is no such ${what}.`, { field: [field] });
}

/** One value of the input is out of bounds. */
export function invalidInput(field: string, message: string): AppError {
  return new AppError(UserErrorCode.INVALID_INPUT, message, { field: [field] });
}

/** Of a request whose time was over. */
export const TOOK_TOO_LONG = 'This took too long and was stopped: ask for less at once, or try again in a moment.';

/** A refusal of the request itself, which belongs at the top of the response. */
export class RequestError extends Error {
  constructor(
    readonly code: RequestErrorCode,
    message: string,
    readonly extensions: Record<string, unknown> = {},
  ) {
    super(message);
    this.name = 'RequestError';
  }
}
