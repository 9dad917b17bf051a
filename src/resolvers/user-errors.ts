/** Refusals in a payload: one type for most codes, a type of its own for each code that carries more. */
import { Field, InterfaceType, ObjectType, registerEnumType } from 'type-graphql';
import { InstanceStatus } from '../entities/enums';
import { Operation } from '../entities/operation';
import { Snapshot } from '../entities/snapshot';
import { AppError, UserErrorCode } from '../errors';
import type { Context } from './context';

const code = (description: string) => ({ description });
registerEnumType(UserErrorCode, {
  name: 'UserErrorCode',
  description: 'Why a mutation refused its input.',
  valuesConfig: {
    NOT_FOUND: code('There is nothing of this id that you may see.'),
    INVALID_INPUT: code('A value is out of bounds; the message says which and why.'),
    NAME_INVALID: code('The name breaks the rule for names of snapshots.'),
    NAME_TAKEN: code('The instance has a snapshot of this name.'),
    INSTANCE_BUSY: code('Another operation is at work on the instance.'),
    INSTANCE_STATE_INVALID: code("The instance's status does not allow it."),
    STATEFUL_NOT_SUPPORTED: code("The instance's memory cannot be captured."),
    STATEFUL_REQUIRES_RUNNING: code('A stateful snapshot needs a running instance.'),
    SNAPSHOT_NOT_READY: code('The snapshot is not AVAILABLE.'),
    SNAPSHOT_LOCKED: code('The snapshot is locked against this.'),
    NEWER_SNAPSHOTS_EXIST: code('The storage can only restore the newest snapshot.'),
    PLAN_STALE: code('What was agreed to is no longer what would happen.'),
    VERSION_CONFLICT: code('Somebody changed it in the meantime.'),
    IDEMPOTENCY_KEY_REUSED: code('The key was used for another input.'),
    QUOTA_EXCEEDED: code('There are too many already.'),
    STORAGE_FULL: code("The engine's storage has no room."),
    ENGINE_UNAVAILABLE: code('The engine does not answer.'),
    ENGINE_ERROR: code('The engine refused.'),
    OPERATION_NOT_CANCELLABLE: code('The operation cannot be withdrawn any more.'),
    OPERATION_NOT_RETRYABLE: code('The operation cannot be tried again.'),
    LAST_ADMIN: code('Nobody would remain who can administer.'),
    INVALID_CREDENTIALS: code('The e-mail address, password or refresh token is not good.'),
  },
});

@InterfaceType({
  description: 'Something in the input that the caller can mend.',
  resolveType: (value: { __typename: string }) => value.__typename,
})
export abstract class UserError {
  @Field(() => UserErrorCode, { description: 'What is wrong, for programs.' })
  code: UserErrorCode;

  @Field(() => String, { description: 'What is wrong, for people.' })
  message: string;

  @Field(() => [String], { nullable: true, description: 'The path of the input value at fault.' })
  field: string[] | null;

  @Field(() => String, { description: "Leads to the server's log." })
  correlationId: string;

  @Field(() => String, { nullable: true, description: 'What to do about it.' })
  remediation: string | null;
}

@ObjectType({ implements: UserError, description: 'A refusal of which code and message say all.' })
export class SimpleUserError extends UserError {}

@ObjectType({ implements: UserError, description: 'The name is in use.' })
export class NameTakenError extends UserError {
  @Field(() => Snapshot, { description: 'The snapshot that bears the name.' })
  existing: Snapshot;
}

@ObjectType({ implements: UserError, description: 'The instance is being worked on.' })
export class InstanceBusyError extends UserError {
  @Field(() => Operation, { description: 'What is at work; follow it, then ask again.' })
  operation: Operation;
}

@ObjectType({ implements: UserError, description: "The instance's memory cannot be captured." })
export class StatefulNotSupportedError extends UserError {
  @Field(() => [String], { description: 'Why not, a sentence each.' })
  reasons: string[];
}

@ObjectType({ implements: UserError, description: 'A stateful snapshot needs a running instance.' })
export class StatefulRequiresRunningError extends UserError {
  @Field(() => InstanceStatus, { description: "The instance's status." })
  status: InstanceStatus;
}

@ObjectType({ implements: UserError, description: 'The storage can only restore the newest snapshot.' })
export class NewerSnapshotsExistError extends UserError {
  @Field(() => [Snapshot], { description: 'The snapshots that are newer.' })
  snapshots: Snapshot[];
}

/** For the schema: types that are only reached through the interface. */
export const userErrorTypes = [
  SimpleUserError,
  NameTakenError,
  InstanceBusyError,
  StatefulNotSupportedError,
  StatefulRequiresRunningError,
  NewerSnapshotsExistError,
] as const;

const TYPE_OF: Partial<Record<UserErrorCode, string>> = {
  NAME_TAKEN: 'NameTakenError',
  INSTANCE_BUSY: 'InstanceBusyError',
  STATEFUL_NOT_SUPPORTED: 'StatefulNotSupportedError',
  STATEFUL_REQUIRES_RUNNING: 'StatefulRequiresRunningError',
  NEWER_SNAPSHOTS_EXIST: 'NewerSnapshotsExistError',
};

/** A refusal as the payload shows it, noted in the log. A code's own type is used when its detail is at hand. */
export function toUserError(error: AppError, { correlationId, shared }: Context): UserError {
  shared.report('info', { correlationId, code: error.code }, 'a wish was refused');
  const { field = null, remediation = null, detail } = error.more;
  const __typename = (detail && TYPE_OF[error.code]) ?? 'SimpleUserError';
  return {
    __typename,
    code: error.code,
    message: error.message,
    field,
    remediation,
    correlationId,
    ...detail,
  } as UserError;
}

/** What every payload has. */
@ObjectType()
export class Payload {
  @Field(() => [UserError], { description: 'Why nothing was done; empty when it was.' })
  userErrors: UserError[];
}

/** Runs a mutation's service call; what it refuses becomes the payload's `userErrors`. */
export async function answer<T extends object>(
  context: Context,
  work: () => Promise<T> | T,
): Promise<T & { userErrors: UserError[] }> {
  try {
    return { ...(await work()), userErrors: [] };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return { userErrors: [toUserError(error, context)] } as unknown as T & { userErrors: UserError[] };
  }
}
