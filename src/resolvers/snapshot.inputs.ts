import { ArgsType, Field, ID, InputType, Int } from 'type-graphql';
import { PageArgs } from './connections';
import { OrderDirection, SnapshotFilter, SnapshotOrder, SnapshotOrderField } from './filters.inputs';
import { DateTimeOrDuration } from './scalars';

/** The same on every mutation that starts work. */
export const IDEMPOTENCY_KEY = {
  nullable: true,
  description:
    'A key of yours, 1 to 200 characters, kept for 24 hours: a repeat with the same input answers the first result.',
} as const;

@ArgsType()
export class SnapshotsArgs extends PageArgs {
  @Field(() => SnapshotFilter, { nullable: true, description: 'Which of them.' })
  filter?: SnapshotFilter | null;

  @Field(() => SnapshotOrder, {
    nullable: true,
    defaultValue: { field: SnapshotOrderField.CREATED_AT, direction: OrderDirection.DESC },
    description: 'In which order.',
  })
  orderBy?: SnapshotOrder | null;
}

@InputType({ description: 'A wish for a snapshot.' })
export class CreateSnapshotInput {
  @Field(() => ID, { description: 'The instance to copy.' })
  instanceId: string;

  @Field(() => String, {
    description:
      '1 to 64 letters, digits, dots, dashes and underscores; begins and ends with a letter or a digit; no two dots in a row. Otherwise NAME_INVALID.',
  })
  name: string;

  @Field(() => Boolean, {
    nullable: true,
    defaultValue: false,
    description: 'Also capture the memory of running processes. The instance must be running and be prepared for it.',
  })
  stateful?: boolean | null;

  @Field(() => String, { nullable: true, description: 'Free text, at most 1000 characters.' })
  description?: string | null;

  @Field(() => DateTimeOrDuration, { nullable: true, description: 'When to delete it; absent means never.' })
  expiresAt?: Date | null;

  @Field(() => String, IDEMPOTENCY_KEY)
  idempotencyKey?: string | null;
}

@InputType({ description: 'A wish to bring an instance back to one of its snapshots.' })
export class RestoreSnapshotInput {
  @Field(() => ID, { description: 'The snapshot; it must be AVAILABLE.' })
  snapshotId: string;

  @Field(() => Boolean, {
    nullable: true,
    description:
      'Whether processes go on where they were; by default, whether the snapshot is stateful. False starts them anew.',
  })
  restoreMemory?: boolean | null;

  @Field(() => String, IDEMPOTENCY_KEY)
  idempotencyKey?: string | null;
}

@InputType({ description: 'A wish to delete a snapshot.' })
export class DeleteSnapshotInput {
  @Field(() => ID, { description: 'The snapshot.' })
  snapshotId: string;

  @Field(() => String, IDEMPOTENCY_KEY)
  idempotencyKey?: string | null;
}

@InputType({ description: 'A wish to delete several snapshots, also of several instances.' })
export class DeleteSnapshotsInput {
  @Field(() => [ID], { description: '1 to 100 snapshots.' })
  snapshotIds: string[];

  @Field(() => String, IDEMPOTENCY_KEY)
  idempotencyKey?: string | null;
}

@InputType({ description: 'A wish to give a snapshot another name.' })
export class RenameSnapshotInput {
  @Field(() => ID, { description: 'The snapshot; it must be AVAILABLE.' })
  snapshotId: string;

  @Field(() => String, { description: 'The new name; the rule is that of `createSnapshot`.' })
  name: string;

  @Field(() => String, IDEMPOTENCY_KEY)
  idempotencyKey?: string | null;
}

@InputType({ description: 'Changes of what is noted about a snapshot. Absent keeps, null clears.' })
export class UpdateSnapshotInput {
  @Field(() => ID, { description: 'The snapshot.' })
  snapshotId: string;

  @Field(() => String, { nullable: true, description: 'Free text, at most 1000 characters.' })
  description?: string | null;

  @Field(() => DateTimeOrDuration, { nullable: true, description: 'When to delete it.' })
  expiresAt?: Date | null;

  @Field(() => Int, { nullable: true, description: 'The version that was read; VERSION_CONFLICT when it has changed.' })
  version?: number | null;
}
