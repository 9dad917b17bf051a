import { Field, Int, ObjectType } from 'type-graphql';
import { Check, Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { OperationErrorCode, OperationKind, OperationStatus } from './enums';
import { Instance } from './instance';
import { Node } from './node';
import { Snapshot } from './snapshot';
import { OPTIONAL_TIME, TIME } from './time';
import { User } from './user';

@ObjectType({ description: 'Why an accepted operation, or one of its items, did not succeed.' })
export class OperationError {
  @Field(() => OperationErrorCode, { description: 'What went wrong, for programs.' })
  code: OperationErrorCode;

  @Field(() => String, { description: 'What went wrong, for people.' })
  message: string;

  @Field(() => Boolean, { description: 'Whether the same may succeed when asked again.' })
  retryable: boolean;

  @Field(() => String, { nullable: true, description: 'What to do about it.' })
  remediation: string | null;

  @Field(() => String, { description: "Leads to the server's log." })
  correlationId: string;
}

@ObjectType({ description: 'One stage of an operation.' })
export class OperationStep {
  @Field(() => String, { description: 'What was done: `check`, `act`, `verify`.' })
  name: string;

  @Field(() => OperationStatus, { description: 'RUNNING, SUCCEEDED or FAILED.' })
  status: OperationStatus;

  @Field(() => Date, { description: 'When it began.' })
  startedAt: Date;

  @Field(() => Date, { nullable: true, description: 'When it ended; null while it runs.' })
  finishedAt: Date | null;
}

@ObjectType({ description: 'One snapshot of an operation that works on several.' })
export class OperationItem {
  /** The row it is about, by its bare id: the row may be gone by now. */
  snapshotId: string;

  @Field(() => String, { description: "The snapshot's name when the operation was accepted." })
  snapshotName: string;

  @Field(() => OperationStatus, { description: 'How far this item is.' })
  status: OperationStatus;

  @Field(() => OperationError, { nullable: true, description: 'Why this item failed.' })
  error: OperationError | null;
}

/** What a handler needs besides the rows: the wish, in the operation's own words. */
export interface OperationInput {
  stateful?: boolean;
  /** Of a creation: what the snapshot's row held when it was accepted, should the row be gone when it is asked for again. */
  description?: string;
  expiresAt?: string;
  restoreMemory?: boolean;
  newName?: string;
  /** Of a deletion because of expiry: what expires no longer is spared. */
  onlyIfExpired?: boolean;
  /** Of a creation that is asked for again: what the first left on the engine goes before it is taken anew. */
  replaces?: boolean;
  /** The engine's generation id before a restore: whether it changed tells how an interrupted one ended. */
  generationBefore?: string | null;
  /** Whether the instance ran when a restore was first begun: one that was cut off may have left it stopped. */
  ranBefore?: boolean;
  /** What the engine calls the work it was given last; null until it has taken it on. A hint: engines forget. */
  handle?: string | null;
  /** Since when, by the database's clock, every attempt has found the engine away. */
  awaySince?: string;
}

/** The work and its outcome. This row is the truth; a job in the queue is only a claim on it. */
@ObjectType({ implements: Node, description: 'Work that was accepted, to be followed until `done`.' })
@Entity('operations')
@Check('operation_kind', `kind in ('SNAPSHOT_CREATE', 'SNAPSHOT_RESTORE', 'SNAPSHOTS_DELETE', 'SNAPSHOT_RENAME')`)
@Check('operation_status', `status in ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')`)
@Check('operation_ends_once', `(finished_at is not null) = (status in ('SUCCEEDED', 'FAILED', 'CANCELLED'))`)
@Index('one_unfinished_operation_per_instance', ['instanceId'], {
  unique: true,
  where: `status in ('QUEUED', 'RUNNING')`,
})
@Index('operations_by_instance', ['instanceId', 'createdAt', 'id'])
@Index('operations_by_creation', ['createdAt', 'id'])
@Index('operations_by_snapshot', ['snapshotId'], { where: 'snapshot_id is not null' })
export class Operation {
  readonly __typename = 'Operation';

  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'operations_pkey' })
  id: string = uuidv7();

  @Field(() => OperationKind, { description: 'What it does.' })
  @Column('text')
  kind: OperationKind;

  @Field(() => OperationStatus, { description: 'How far it is.' })
  @Column('text')
  status: OperationStatus;

  @Column('uuid')
  instanceId: string;

  @ManyToOne(() => Instance)
  @JoinColumn({ name: 'instance_id', foreignKeyConstraintName: 'operation_on_instance' })
  onInstance: Relation<Instance>;

  @Column('uuid', { nullable: true })
  snapshotId: string | null;

  @ManyToOne(() => Snapshot, { onDelete: 'SET NULL' })
  @JoinColumn({ name: 'snapshot_id', foreignKeyConstraintName: 'operation_on_snapshot' })
  onSnapshot: Relation<Snapshot> | null;

  @Field(() => String, {
    nullable: true,
    description: 'The name of its snapshot, which stays when the snapshot is gone; null for work on several.',
  })
  @Column('text', { nullable: true })
  snapshotName: string | null;

  @Column('jsonb', { default: '{}' })
  input: OperationInput;

  @Field(() => [OperationItem], { description: 'One entry per snapshot, for kinds that work on several; else empty.' })
  @Column('jsonb', { default: '[]' })
  items: OperationItem[];

  @Field(() => [OperationStep], { description: 'The stages so far, in order.' })
  @Column('jsonb', { default: '[]' })
  steps: OperationStep[];

  @Column('uuid', { nullable: true })
  actorId: string | null;

  @ManyToOne(() => User)
  @JoinColumn({ name: 'actor_id', foreignKeyConstraintName: 'operation_by_user' })
  by: Relation<User> | null;

  @Field(() => OperationError, { nullable: true, description: 'Why it failed; null otherwise.' })
  @Column('jsonb', { nullable: true })
  error: OperationError | null;

  @Field(() => String, { nullable: true, description: 'Why it is not being worked on right now; null otherwise.' })
  @Column('text', { nullable: true })
  waitingReason: string | null;

  @Column('text', { nullable: true })
  idempotencyKey: string | null;

  @Field(() => String, { description: "The request that started it; the server's log holds the same." })
  @Column('text')
  correlationId: string;

  @Field(() => Int, {
    description: 'How often a worker has taken it up; in vain because the engine was away does not count.',
  })
  @Column('integer', { default: 0 })
  attempts: number;

  /** `job:attempt`. Whoever writes must hold it: a worker that lost its claim changes nothing. */
  @Column('text', { nullable: true })
  attemptToken: string | null;

  @Field(() => Date, { description: 'When it was accepted.' })
  @Column(TIME)
  createdAt: Date;

  @Field(() => Date, { nullable: true, description: 'When a worker first took it up.' })
  @Column(OPTIONAL_TIME)
  startedAt: Date | null;

  @Field(() => Date, { nullable: true, description: 'When it ended.' })
  @Column(OPTIONAL_TIME)
  finishedAt: Date | null;
}
