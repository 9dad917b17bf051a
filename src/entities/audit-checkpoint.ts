import { Column, Entity, PrimaryColumn } from 'typeorm';
import { TIME } from './time';

/** How far the audit log had come at a moment, signed: what is before it cannot be taken away without being missed. */
@Entity('audit_checkpoints')
export class AuditCheckpoint {
  @PrimaryColumn('bigint', { primaryKeyConstraintName: 'audit_checkpoints_pkey' })
  position: number;

  @Column('bytea')
  hash: Buffer;

  @Column(TIME)
  createdAt: Date;

  @Column('text')
  keyId: string;

  @Column('bytea')
  signature: Buffer;
}
