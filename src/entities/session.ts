import { Field, ObjectType } from 'type-graphql';
import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { OPTIONAL_TIME, TIME } from './time';
import { User } from './user';

/** One sign-in and the family of refresh tokens that grew from it. Only the newest token of a family is good. */
@ObjectType({ description: 'That somebody has signed in somewhere, and goes on from there.' })
@Entity('sessions')
@Index('sessions_by_user', ['userId'])
@Index('sessions_by_expiry', ['expiresAt'])
@Index('sessions_by_login', ['login'], { where: 'login is not null' })
export class Session {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'sessions_pkey' })
  id: string = uuidv7();

  @Column('uuid')
  userId: string;

  @ManyToOne(() => User, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'user_id', foreignKeyConstraintName: 'session_of_user' })
  user: Relation<User>;

  /** SHA-256 of the secret that all its refresh tokens share; null in one that began before there was such a secret. */
  @Column('bytea', { nullable: true })
  familyHash: Buffer | null;

  /** SHA-256 of the newest refresh token's own secret. */
  @Column('bytea')
  refreshTokenHash: Buffer;

  /** SHA-256 of what tells the login at an external provider from others; null for one of ours. */
  @Column('bytea', { nullable: true })
  login: Buffer | null;

  @Field(() => String, { nullable: true, description: 'The network address it was begun from; null when unknown.' })
  @Column('text', { nullable: true })
  address: string | null;

  @Field(() => String, {
    nullable: true,
    description: 'How the program it was begun with named itself; null when it did not.',
  })
  @Column('text', { nullable: true })
  client: string | null;

  @Field(() => Date, { description: 'When it was begun.' })
  @Column(TIME)
  createdAt: Date;

  @Field(() => Date, { description: 'When it got its newest tokens.' })
  @Column(TIME)
  refreshedAt: Date;

  @Field(() => Date, { description: 'When it ends by itself.' })
  @Column(TIME)
  expiresAt: Date;

  @Column(OPTIONAL_TIME)
  endedAt: Date | null;
}
