import { Field, ObjectType } from 'type-graphql';
import { Check, Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Role, UserStatus } from './enums';
import { Node } from './node';
import { OPTIONAL_TIME, TIME } from './time';

/** A person who signs in. The row stays after removal, so that what they did keeps its name. */
@ObjectType({ implements: Node, description: 'A person. What others may read of them is `id` and `displayName`.' })
@Entity('users')
@Check('user_role', `role in ('USER', 'OPERATIONS', 'ADMIN')`)
@Check('user_status', `status in ('INVITED', 'ACTIVE', 'LOCKED')`)
@Check('user_identity', '(issuer is null) = (subject is null) and (issuer is null) = (vouched_at is null)')
@Check('external_user_has_no_password', 'issuer is null or password_hash is null')
@Index('one_account_per_identity', ['issuer', 'subject'], { unique: true, where: 'issuer is not null' })
@Index('one_account_per_email', ['email'], { unique: true, where: 'removed_at is null' })
export class User {
  readonly __typename = 'User';

  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'users_pkey' })
  id: string = uuidv7();

  /** Lower case. */
  @Column({ type: 'text', collation: 'C' })
  email: string;

  @Field(() => String, { description: 'The name shown to everyone who sees what this person made or did.' })
  @Column('text')
  displayName: string;

  @Column('text')
  role: Role;

  @Column('text')
  status: UserStatus;

  /** Argon2id, in the PHC string format; never leaves the server. Null: there is none to sign in with. */
  @Column('text', { nullable: true })
  passwordHash: string | null;

  /** The password was given by somebody else: it opens nothing but the way to one of their own. */
  @Column('boolean')
  oneTimePassword: boolean;

  /** The external provider that vouches for them, and its name for them; null for an account of ours alone. */
  @Column('text', { nullable: true })
  issuer: string | null;

  @Column('text', { nullable: true })
  subject: string | null;

  /** When the newest token was issued that the provider's word was taken from. */
  @Column(OPTIONAL_TIME)
  vouchedAt: Date | null;

  @Column(TIME)
  createdAt: Date;

  @Column(OPTIONAL_TIME)
  removedAt: Date | null;
}
