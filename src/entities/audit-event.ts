import { Field, ObjectType } from 'type-graphql';
import { Check, Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { AuditOutcome, CredentialKind, Role } from './enums';
import { Node } from './node';
import { TIME } from './time';

/** One change of a field, with what it was and has become; secrets are never among them. */
export interface FieldChange {
  field: string;
  before: unknown;
  after: unknown;
}

/** What somebody did or was refused, written in the transaction that did it. Names are kept: it outlives what it tells of. */
@ObjectType({
  implements: Node,
  description: 'What somebody did, or was refused. It is never changed, and outlives what it tells of.',
})
@Entity('audit_events')
@Check('audit_outcome', `outcome in ('SUCCEEDED', 'REFUSED', 'FAILED')`)
@Index('audit_events_by_creation', ['createdAt', 'id'])
@Index('audit_events_by_actor', ['actorId', 'createdAt', 'id'])
@Index('audit_events_by_resource', ['resourceId', 'createdAt', 'id'])
@Index('audit_events_by_correlation', ['correlationId'])
@Index('audit_events_by_position', ['position'], { unique: true, where: 'position is not null' })
@Index('audit_events_unsealed', ['createdAt', 'id'], { where: 'position is null' })
export class AuditEvent {
  readonly __typename = 'AuditEvent';

  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'audit_events_pkey' })
  id: string = uuidv7();

  @Field(() => Date, { description: 'When it was written, by the clock of the process that wrote it.' })
  @Column(TIME)
  createdAt: Date;

  @Column('uuid', { nullable: true })
  actorId: string | null;

  @Column('text', { nullable: true })
  actorRole: Role | null;

  @Column('text', { nullable: true })
  credentialKind: CredentialKind | null;

  @Column('uuid', { nullable: true })
  credentialId: string | null;

  @Column('text', { nullable: true })
  address: string | null;

  @Column('text', { nullable: true })
  client: string | null;

  @Field(() => String, {
    description: 'The mutation or query as this schema names it, or what the system did, as in `operation.end`.',
  })
  @Column('text')
  action: string;

  @Field(() => AuditOutcome, { description: 'What came of it.' })
  @Column('text')
  outcome: AuditOutcome | keyof typeof AuditOutcome;

  @Field(() => String, { nullable: true, description: 'Why it was refused or failed, as the caller was told.' })
  @Column('text', { nullable: true })
  code: string | null;

  @Field(() => String, { nullable: true, description: 'The type of what it was done to, as in `Snapshot`.' })
  @Column('text', { nullable: true })
  resourceType: string | null;

  @Column('uuid', { nullable: true })
  resourceId: string | null;

  @Field(() => String, { nullable: true, description: 'Its name at that time; kept when it is gone.' })
  @Column('text', { nullable: true })
  resourceName: string | null;

  /** As JSON and not jsonb: the text stays as it was written, and so does what was signed. */
  @Column('json')
  changes: FieldChange[];

  @Field(() => String, { description: "The request's id in answers and in the log." })
  @Column('text')
  correlationId: string;

  /** The key that the row was signed with; null when the process that wrote it had none. */
  @Column('text', { nullable: true })
  keyId: string | null;

  @Column('bytea', { nullable: true })
  mac: Buffer | null;

  /** Its place in the chain that seals the log; null until it has one, and so is the hash there. */
  @Column('bigint', { nullable: true })
  position: number | null;

  @Column('bytea', { nullable: true })
  hash: Buffer | null;
}
