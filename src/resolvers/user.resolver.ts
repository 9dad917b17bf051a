/** People: oneself, and for ADMIN everyone. What others see of a person is id and display name. */
import {
  Arg,
  Args,
  ArgsType,
  Ctx,
  Field,
  FieldResolver,
  ID,
  InputType,
  Mutation,
  ObjectType,
  Query,
  Resolver,
  Root,
} from 'type-graphql';
import { Auth } from '../auth/directives';
import { Role, UserStatus } from '../entities/enums';
import { Instance } from '../entities/instance';
import { User } from '../entities/user';
import { ASSIGNED_INSTANCES, USERS } from '../read/lists';
import type { Connection } from '../read/reads';
import type { Users } from '../services/users';
import { InstanceConnection, PageArgs, UserConnection } from './connections';
import type { Context } from './context';
import { UserFilter } from './filters.inputs';
import { idOf, toGlobalId } from './global-id';
import { InstancesArgs } from './instance.resolver';
import { answer, Payload } from './user-errors';

@ArgsType()
class UsersArgs extends PageArgs {
  @Field(() => UserFilter, { nullable: true, description: 'Which of them.' })
  filter?: UserFilter | null;
}

@InputType({ description: 'A new account.' })
class CreateUserInput {
  @Field(() => String, { description: 'Their e-mail address, with which they sign in; in upper or lower case.' })
  email: string;

  @Field(() => String, { nullable: true, description: 'The name others see; by default the part before the @.' })
  displayName?: string | null;

  @Field(() => Role, { description: 'What they may do.' })
  role: Role;
}

@InputType({ description: 'Changes of an account. What is absent or null stays.' })
class UpdateUserInput {
  @Field(() => ID, { description: 'Whose account.' })
  userId: string;

  @Field(() => String, { nullable: true, description: 'The name others see.' })
  displayName?: string | null;

  @Field(() => Role, { nullable: true, description: 'What they may do, from their next request on.' })
  role?: Role | null;

  @Field(() => UserStatus, { nullable: true, description: 'LOCKED ends their sessions; ACTIVE lets them in again.' })
  status?: UserStatus | null;
}

@InputType({ description: 'Whose account to remove.' })
class RemoveUserInput {
  @Field(() => ID, { description: 'Whose account.' })
  userId: string;
}

@InputType({ description: 'Which instance, and to whom.' })
class AssignInstanceInput {
  @Field(() => ID, { description: 'The user who may see it.' })
  userId: string;

  @Field(() => ID, { description: 'The instance.' })
  instanceId: string;
}

@InputType({ description: 'Which instance, and from whom.' })
class UnassignInstanceInput {
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
class CreateUserPayload extends UserPayload {
  @Field(() => String, {
    nullable: true,
    description: 'A password for the first sign-in, shown now and never again; it must be changed at once.',
  })
  oneTimePassword: string | null;
}

@ObjectType({ description: 'What `updateUser` answers.' })
class UpdateUserPayload extends UserPayload {}

@ObjectType({ description: 'What `removeUser` answers: the account as it was.' })
class RemoveUserPayload extends UserPayload {}

@ObjectType()
abstract class AssignmentPayload extends UserPayload {
  @Field(() => Instance, { nullable: true, description: 'The instance; null when refused.' })
  instance: Instance | null;
}

@ObjectType({ description: 'What `assignInstance` answers.' })
class AssignInstancePayload extends AssignmentPayload {}

@ObjectType({ description: 'What `unassignInstance` answers.' })
class UnassignInstancePayload extends AssignmentPayload {}

@Resolver(() => User)
export class UserResolver {
  constructor(private readonly users: Users) {}

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Query(() => User, { description: 'You.' })
  viewer(@Ctx() { reads, actor }: Context): Promise<User | null> {
    return reads.behind(User, actor.userId);
  }

  @Auth(Role.ADMIN)
  @Query(() => UserConnection, { name: 'users', description: 'Every account, by e-mail address.' })
  async userList(@Ctx() { reads }: Context, @Args(() => UsersArgs) args: UsersArgs): Promise<Connection<User>> {
    return reads.list(USERS, args);
  }

  @Auth(Role.ADMIN)
  @Mutation(() => CreateUserPayload, { description: 'Makes an account with a one-time password.' })
  createUser(
    @Ctx() context: Context,
    @Arg('input', () => CreateUserInput, { description: 'The account.' }) input: CreateUserInput,
  ): Promise<CreateUserPayload> {
    return answer(context, async () => {
      const { user, password } = await this.users.create(input);
      return { user, oneTimePassword: password };
    });
  }

  @Auth(Role.ADMIN)
  @Mutation(() => UpdateUserPayload, { description: "Changes an account's name, role or status." })
  updateUser(
    @Ctx() context: Context,
    @Arg('input', () => UpdateUserInput, { description: 'The changes.' }) input: UpdateUserInput,
  ): Promise<UpdateUserPayload> {
    return answer(context, async () => ({
      user: await this.users.update({ ...input, userId: idOf('User', input.userId) }),
    }));
  }

  @Auth(Role.ADMIN)
  @Mutation(() => RemoveUserPayload, { description: 'Removes an account. What the person did keeps their name.' })
  removeUser(
    @Ctx() context: Context,
    @Arg('input', () => RemoveUserInput, { description: 'Whose.' }) input: RemoveUserInput,
  ): Promise<RemoveUserPayload> {
    return answer(context, async () => ({ user: await this.users.remove(idOf('User', input.userId)) }));
  }

  @Auth(Role.ADMIN)
  @Mutation(() => AssignInstancePayload, { description: 'Lets a user see an instance.' })
  assignInstance(
    @Ctx() context: Context,
    @Arg('input', () => AssignInstanceInput, { description: 'Which to whom.' }) input: AssignInstanceInput,
  ): Promise<AssignInstancePayload> {
    return answer(context, () => this.users.assign(pairOf(input)));
  }

  @Auth(Role.ADMIN)
  @Mutation(() => UnassignInstancePayload, { description: 'Hides an instance from a user again, at once.' })
  unassignInstance(
    @Ctx() context: Context,
    @Arg('input', () => UnassignInstanceInput, { description: 'Which from whom.' }) input: UnassignInstanceInput,
  ): Promise<UnassignInstancePayload> {
    return answer(context, () => this.users.unassign(pairOf(input)));
  }

  @FieldResolver(() => ID, { description: 'Opaque, global id.' })
  id(@Root() user: User): string {
    return toGlobalId('User', user.id);
  }

  @FieldResolver(() => String, {
    nullable: true,
    description: 'E-mail address; null unless it is you, or you are OPERATIONS or ADMIN.',
  })
  email(@Root() user: User, @Ctx() context: Context): string | null {
    return knowsAll(context, user) || context.actor.role === Role.OPERATIONS ? user.email : null;
  }

  @FieldResolver(() => Role, {
    nullable: true,
    description: 'What they may do; null unless it is you, or you are ADMIN.',
  })
  role(@Root() user: User, @Ctx() context: Context): Role | null {
    return knowsAll(context, user) ? user.role : null;
  }

  @FieldResolver(() => UserStatus, {
    nullable: true,
    description: 'Whether the account is in use; null unless it is you, or you are ADMIN.',
  })
  status(@Root() user: User, @Ctx() context: Context): UserStatus | null {
    return knowsAll(context, user) ? user.status : null;
  }

  @FieldResolver(() => Date, {
    nullable: true,
    description: 'When the account was made; null unless it is you, or you are ADMIN.',
  })
  createdAt(@Root() user: User, @Ctx() context: Context): Date | null {
    return knowsAll(context, user) ? user.createdAt : null;
  }

  @FieldResolver(() => InstanceConnection, {
    nullable: true,
    description: 'The instances assigned to them, by name; null unless it is you, or you are ADMIN.',
  })
  async assignedInstances(
    @Root() user: User,
    @Ctx() context: Context,
    @Args(() => InstancesArgs) args: InstancesArgs,
  ): Promise<Connection<Instance> | null> {
    // A one-time password opens nothing but the way to a password of one's own.
    const mayLook = knowsAll(context, user) && context.actor.status !== UserStatus.INVITED;
    return mayLook ? context.reads.listBelow(ASSIGNED_INSTANCES, 'a.user_id', user.id, args) : null;
  }
}

/** Whether more of a person is shown than their name. */
export function knowsAll({ actor }: Context, user: User): boolean {
  return actor.role === Role.ADMIN || actor.userId === user.id;
}

function pairOf({ userId, instanceId }: AssignInstanceInput) {
  return { userId: idOf('User', userId), instanceId: idOf('Instance', instanceId) };
}
