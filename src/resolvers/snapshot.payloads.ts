import { Field, ID, ObjectType } from 'type-graphql';
import { Operation } from '../entities/operation';
import { Snapshot } from '../entities/snapshot';
import { Payload, UserError } from './user-errors';

/** What is answered by mutations that start work on one snapshot. */
@ObjectType()
export abstract class AcceptedPayload extends Payload {
  @Field(() => Snapshot, { nullable: true, description: 'The snapshot; null when refused, or gone since (a replay).' })
  snapshot: Snapshot | null;

  @Field(() => Operation, { nullable: true, description: 'The work, to be followed until `done`; null when refused.' })
  operation: Operation | null;

  @Field(() => Boolean, {
    nullable: true,
    description: 'Whether this is the first answer again, by its idempotency key; null when refused.',
  })
  replayed: boolean | null;
}

@ObjectType({ description: 'What `createSnapshot` answers: the snapshot is PENDING until the operation is done.' })
export class CreateSnapshotPayload extends AcceptedPayload {}

@ObjectType({ description: 'What `restoreSnapshot` answers.' })
export class RestoreSnapshotPayload extends AcceptedPayload {}

@ObjectType({ description: 'What `deleteSnapshot` answers: the snapshot is there until the operation is done.' })
export class DeleteSnapshotPayload extends AcceptedPayload {}

@ObjectType({ description: 'What `renameSnapshot` answers: the old name stays until the operation is done.' })
export class RenameSnapshotPayload extends AcceptedPayload {}

@ObjectType({ description: 'What `updateSnapshot` answers.' })
export class UpdateSnapshotPayload extends Payload {
  @Field(() => Snapshot, { nullable: true, description: 'The snapshot as it is now; null when refused.' })
  snapshot: Snapshot | null;
}

@ObjectType({ description: 'What became of one of several wishes.' })
export class DeleteSnapshotResult {
  @Field(() => ID, { description: 'The id as it was given.' })
  snapshotId: string;

  @Field(() => Operation, { nullable: true, description: 'The work that deletes it; null when refused.' })
  operation: Operation | null;

  @Field(() => [UserError], { description: 'Why it is not deleted; empty when it is.' })
  userErrors: UserError[];
}

@ObjectType({ description: 'What `deleteSnapshots` answers: each id has its own result.' })
export class DeleteSnapshotsPayload extends Payload {
  @Field(() => [Operation], { description: 'The work, one operation for each instance touched.' })
  operations: Operation[];

  @Field(() => [DeleteSnapshotResult], { description: 'One for each id given, in that order.' })
  results: DeleteSnapshotResult[];

  @Field(() => Boolean, { nullable: true, description: 'Whether this is the first answer again; null when refused.' })
  replayed: boolean | null;
}
