/** What is given and answered where accounts are changed. */
import { ArgsType, Field, ID, InputType, ObjectType } from 'type-graphql';
import { Role, UserStatus } from '../entities/enums';
import { Instance } from '../entities/instance';
import { User } from '../entities/user';
import { PageArgs } from './connections';
import { UserFilter } from './filters.inputs';
import { Payload } from './user-errors';

@ArgsType()
export class UsersArgs extends PageArgs {
  @Field(() => UserFilter, { nullable: true, description: 'Which of them.' })
  filter?: UserFilter | null;
}

@InputType({ description: 'A new account.' })
export class CreateUserInput {
  @Field(() => String, { description: 'Their e-mail address, with which they sign in; in upper or lower case.' })
  email: string;

  @Field(() => String, { nullable: true, description: 'The name others see; by default the part before the @.' })
  displayName?: string | null;

  @Field(() => Role, { description: 'What they may do.' })
  role: Role;
}

@InputType({ description: 'Changes of an account. What is absent or null stays.' })
export class UpdateUserInput {
  @Field(() => ID, { description: 'Whose account.' })
  userId: string;

  @Field(() => String, { nullable: true, description: 'The name others see.' })
  displayName?: string | null;

  @Field(() => Role, { nullable: true, description: 'What they may do, from their next request on.' })
  role?: Role | null;

  @Field(() => UserStatus, { nullable: true, description: 'LOCKED ends their sessions; ACTIVE lets them in again.' })
  status?: UserStatus | null;
}

@InputType({ description: 'Whose password to set anew.' })
export class SetUserPasswordInput {
  @Field(() => ID, { description: 'Whose account.' })
  userId: string;
}

@InputType({ description: 'Whose account to remove.' })
export class RemoveUserInput {
  @Field(() => ID, { description: 'Whose account.' })
  userId: string;
}

@InputType({ description: 'Which instance, and to whom.' })
export class AssignInstanceInput {
  @Field(() => ID, { description: 'The user who may see it.' })
  userId: string;

  @Field(() => ID, { description: 'The instance.' })
  instanceId: string;
}

@InputType({ description: 'Which instance, and from whom.' })
export class UnassignInstanceInput {
  @Field(() => ID, { description: 'The user who may no longer see it.' })
  userId: string;

  @Field(() => ID, { description: 'The instance.' })
  instanceId: string;
}

@ObjectType()
abstract class UserPayload extends Payload {
  @Field(() => User, { nullable: true, description: 'The account as it is now; null when refused.' })
  user: User | null;
}

@ObjectType({ description: 'What `createUser` answers.' })
export class CreateUserPayload extends UserPayload {
  @Field(() => String, {
    nullable: true,
    description: 'A password for the first sign-in, shown now and never again; it must be changed at once.',
  })
  oneTimePassword: string | null;
}

@ObjectType({ description: 'What `updateUser` answers.' })
export class UpdateUserPayload extends UserPayload {}

@ObjectType({ description: 'What `setUserPassword` answers.' })
export class SetUserPasswordPayload extends UserPayload {
  @Field(() => String, {
    nullable: true,
    description: 'A password for the next sign-in, shown now and never again; it must be changed at once.',
  })
  oneTimePassword: string | null;
}

@ObjectType({ description: 'What `removeUser` answers: the account as it was.' })
export class RemoveUserPayload extends UserPayload {}

@ObjectType()
abstract class AssignmentPayload extends UserPayload {
  @Field(() => Instance, { nullable: true, description: 'The instance; null when refused.' })
  instance: Instance | null;
}

@ObjectType({ description: 'What `assignInstance` answers.' })
export class AssignInstancePayload extends AssignmentPayload {}

@ObjectType({ description: 'What `unassignInstance` answers.' })
export class UnassignInstancePayload extends AssignmentPayload {}
