import { Field, ObjectType } from 'type-graphql';
import { Check, Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Role } from './enums';
import { Node } from './node';
import { OPTIONAL_TIME, TIME } from './time';
import { User } from './user';

/** What a program signs in with, as its owner and never as more. The row stays after it was revoked. */
@ObjectType({ implements: Node, description: 'A token for a program, which acts with it as its owner.' })
@Entity('api_tokens')
@Check('api_token_role', `role in ('USER', 'OPERATIONS', 'ADMIN')`)
@Check('api_token_of_some_instances', `instance_ids is null or role <> 'ADMIN'`)
@Index('api_tokens_by_user', ['userId', 'createdAt', 'id'])
export class ApiToken {
  readonly __typename = 'ApiToken';

  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'api_tokens_pkey' })
  id: string = uuidv7();

  @Column('uuid')
  userId: string;

  @ManyToOne(() => User, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'user_id', foreignKeyConstraintName: 'api_token_of_user' })
  owner: Relation<User>;

  @Field(() => String, { description: 'What it is for, in its owner’s words.' })
  @Column('text')
  name: string;

  @Field(() => Role, {
    description: 'What it may do at most. Its owner’s present role counts too: the lower of the two holds.',
  })
  @Column('text')
  role: Role;

  /** SHA-256 of the secret part; the token itself is nowhere. */
  @Column('bytea')
  secretHash: Buffer;

  /** Null: all that its owner may see. */
  @Column('uuid', { array: true, nullable: true })
  instanceIds: string[] | null;

  @Field(() => Date, { description: 'When it was made.' })
  @Column(TIME)
  createdAt: Date;

  @Field(() => Date, {
    nullable: true,
    description: 'When it ends; null means when it is revoked, or has not been used for a year.',
  })
  @Column(OPTIONAL_TIME)
  expiresAt: Date | null;

  @Field(() => Date, {
    nullable: true,
    description: 'When it was last used, to the minute; null when it never was.',
  })
  @Column(OPTIONAL_TIME)
  lastUsedAt: Date | null;

  @Field(() => Date, { nullable: true, description: 'When it was revoked; null when it was not.' })
  @Column(OPTIONAL_TIME)
  revokedAt: Date | null;
}
