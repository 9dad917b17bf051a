import { Field, Float, Int, ObjectType } from 'type-graphql';
import { Check, Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { SnapshotOrigin, SnapshotStatus } from './enums';
import { Instance } from './instance';
import { Node } from './node';
import { Operation, type OperationError } from './operation';
import { OPTIONAL_TIME, TIME } from './time';
import { User } from './user';

/** A copy of one instance at one moment, and what we know of how it came to be. */
@ObjectType({ implements: Node, description: 'A point-in-time copy of one instance.' })
@Entity('snapshots')
@Check('snapshot_status', `status in ('PENDING', 'CREATING', 'AVAILABLE', 'RESTORING', 'DELETING', 'ERROR', 'MISSING')`)
@Check('snapshot_origin', `origin in ('MANUAL', 'SCHEDULED', 'SAFETY', 'GUARD', 'REQUESTED', 'EXTERNAL')`)
@Index('one_name_per_instance', ['instanceId', 'name'], { unique: true, where: `status <> 'MISSING'` })
@Index('snapshots_by_instance', ['instanceId', 'createdAt', 'id'])
@Index('snapshots_by_creation', ['createdAt', 'id'])
@Index('snapshots_by_expiry', ['expiresAt'], { where: 'expires_at is not null' })
export class Snapshot {
  readonly __typename = 'Snapshot';

  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'snapshots_pkey' })
  id: string = uuidv7();

  @Column('uuid')
  instanceId: string;

  @ManyToOne(() => Instance)
  @JoinColumn({ name: 'instance_id', foreignKeyConstraintName: 'snapshot_of_instance' })
  ofInstance: Relation<Instance>;

  @Field(() => String, { description: 'Its name, unchanged; unique within the instance among those that exist.' })
  @Column({ type: 'text', collation: 'C' })
  name: string;

  @Field(() => Date, {
    description: 'When the copy was taken, as the engine records it; until then, when it was accepted.',
  })
  @Column(TIME)
  createdAt: Date;

  @Field(() => Boolean, { description: 'Whether it also holds the memory of running processes.' })
  @Column('boolean')
  stateful: boolean;

  @Field(() => SnapshotStatus, { description: 'Where it is in its life. Only an AVAILABLE one can be restored.' })
  @Column('text')
  status: SnapshotStatus;

  @Field(() => SnapshotOrigin, { description: 'Why it exists.' })
  @Column('text')
  origin: SnapshotOrigin;

  @Field(() => String, { nullable: true, description: 'Free text of whoever made it.' })
  @Column('text', { nullable: true })
  description: string | null;

  @Column('bigint', { nullable: true })
  sizeBytes: number | null;

  @Field(() => Float, { nullable: true, description: 'Seconds that taking it lasted; null when we did not take it.' })
  @Column('double precision', { nullable: true })
  durationSeconds: number | null;

  @Field(() => Date, { nullable: true, description: 'When we delete it; null means never.' })
  @Column(OPTIONAL_TIME)
  expiresAt: Date | null;

  /** Kept while it is MISSING: one that comes back is as suspect as it was. */
  @Column('jsonb', { nullable: true })
  error: OperationError | null;

  @Column('uuid', { nullable: true })
  createdById: string | null;

  @ManyToOne(() => User)
  @JoinColumn({ name: 'created_by_id', foreignKeyConstraintName: 'snapshot_by_user' })
  maker: Relation<User> | null;

  @Column('uuid', { nullable: true })
  createdByOperationId: string | null;

  /** Checked at commit: the two rows are written together and name each other. */
  @ManyToOne(() => Operation, { onDelete: 'SET NULL', deferrable: 'INITIALLY DEFERRED' })
  @JoinColumn({ name: 'created_by_operation_id', foreignKeyConstraintName: 'snapshot_by_operation' })
  makingOperation: Relation<Operation> | null;

  @Field(() => Date, {
    nullable: true,
    description: 'When it was last seen on the engine; null before the first time.',
  })
  @Column(OPTIONAL_TIME)
  observedAt: Date | null;

  @Field(() => Int, { description: 'Counts changes by `updateSnapshot`; give it back to detect a lost update.' })
  @Column('integer', { default: 1 })
  version: number;
}
