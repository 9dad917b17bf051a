import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { OPTIONAL_TIME, TIME } from './time';
import { User } from './user';

/** One sign-in and the family of refresh tokens that grew from it. Only the newest token of a family is good. */
@Entity('sessions')
@Index('sessions_by_user', ['userId'])
@Index('sessions_by_login', ['login'], { where: 'login is not null' })
export class Session {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'sessions_pkey' })
  id: string = uuidv7();

  @Column('uuid')
  userId: string;

  @ManyToOne(() => User, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'user_id', foreignKeyConstraintName: 'session_of_user' })
  user: Relation<User>;

  /** SHA-256 of the newest refresh token. */
  @Column('bytea')
  refreshTokenHash: Buffer;

  /** SHA-256 of what tells the login at an external provider from others; null for one of ours. */
  @Column('bytea', { nullable: true })
  login: Buffer | null;

  /** From where it was begun. */
  @Column('text', { nullable: true })
  address: string | null;

  /** How the client's program named itself. */
  @Column('text', { nullable: true })
  client: string | null;

  @Column(TIME)
  createdAt: Date;

  @Column(TIME)
  refreshedAt: Date;

  @Column(TIME)
  expiresAt: Date;

  @Column(OPTIONAL_TIME)
  endedAt: Date | null;
}
