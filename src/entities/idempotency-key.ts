import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIME } from './time';

/** An accepted mutation under a key of the caller's: a repeat answers the first result. Kept for 24 hours. */
@Entity('idempotency_keys')
@Index('idempotency_keys_by_creation', ['createdAt'])
export class IdempotencyKey {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'idempotency_keys_pkey' })
  actorId: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'idempotency_keys_pkey' })
  mutation: string;

  @PrimaryColumn('text', { primaryKeyConstraintName: 'idempotency_keys_pkey' })
  key: string;

  /** SHA-256 of the input without the key: the same key with another input is refused. */
  @Column('bytea')
  inputHash: Buffer;

  /** The rows the first answer was made of, by id. */
  @Column('jsonb')
  result: unknown;

  @Column(TIME)
  createdAt: Date;
}
