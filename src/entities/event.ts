import { Field, ObjectType } from 'type-graphql';
import { Check, Column, Entity, PrimaryColumn } from 'typeorm';
import { EventChange } from './enums';
import { TIME } from './time';

/** One change of one object, written by the triggers of its table in the transaction that made it; kept for a day. */
@ObjectType({ description: 'That something changed. It says where to look: `node` is how it is now.' })
@Entity('events')
@Check('event_change', `change in ('CREATED', 'UPDATED', 'REMOVED')`)
export class Event {
  /** The transaction, by its number: no reader goes beyond the oldest one that is still open. */
  @PrimaryColumn('bigint', { primaryKeyConstraintName: 'events_pkey' })
  xact: string;

  /** The order within a transaction. */
  @PrimaryColumn('bigint', {
    primaryKeyConstraintName: 'events_pkey',
    generated: 'identity',
    generatedIdentity: 'ALWAYS',
  })
  seq: string;

  @Field(() => Date, { description: 'When it happened; of CAUGHT_UP, now.' })
  @Column(TIME)
  occurredAt: Date;

  @Column('text')
  nodeType: 'Instance' | 'Snapshot' | 'Operation';

  @Column('uuid')
  nodeId: string;

  @Column('uuid')
  instanceId: string;

  /** Whom alone it concerns: to this user the instance has appeared or disappeared. */
  @Column('uuid', { nullable: true })
  userId: string | null;

  @Field(() => EventChange, { description: 'What happened.' })
  @Column('text')
  change: EventChange;
}
