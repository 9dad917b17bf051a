import { Check, Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { TIME } from './time';

/** One change of a field, with what it was and has become; secrets are never among them. */
export interface FieldChange {
  field: string;
  before: unknown;
  after: unknown;
}

/** What somebody did or was refused, written in the transaction that did it. Names are kept: it outlives what it tells of. */
@Entity('audit_events')
@Check('audit_outcome', `outcome in ('SUCCEEDED', 'REFUSED', 'FAILED')`)
@Index('audit_events_by_creation', ['createdAt', 'id'])
export class AuditEvent {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'audit_events_pkey' })
  id: string = uuidv7();

  @Column(TIME)
  createdAt: Date;

  @Column('uuid', { nullable: true })
  actorId: string | null;

  @Column('text', { nullable: true })
  actorRole: string | null;

  @Column('text', { nullable: true })
  credentialKind: string | null;

  @Column('uuid', { nullable: true })
  credentialId: string | null;

  @Column('text', { nullable: true })
  address: string | null;

  @Column('text', { nullable: true })
  client: string | null;

  @Column('text')
  action: string;

  @Column('text')
  outcome: 'SUCCEEDED' | 'REFUSED' | 'FAILED';

  @Column('text', { nullable: true })
  code: string | null;

  @Column('text', { nullable: true })
  resourceType: string | null;

  @Column('uuid', { nullable: true })
  resourceId: string | null;

  @Column('text', { nullable: true })
  resourceName: string | null;

  @Column('jsonb', { default: [] })
  changes: FieldChange[];

  @Column('text')
  correlationId: string;
}
