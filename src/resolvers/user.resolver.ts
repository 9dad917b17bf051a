/** People: oneself, and for ADMIN everyone. What others see of a person is id and display name. */
import { Arg, Args, Ctx, FieldResolver, ID, Mutation, Query, Resolver, Root } from 'type-graphql';
import { Auth, SessionOnly } from '../auth/directives';
import { Role, UserStatus } from '../entities/enums';
import { Instance } from '../entities/instance';
import type { Session } from '../entities/session';
import { User } from '../entities/user';
import { ASSIGNED_INSTANCES, SESSIONS, USERS } from '../read/lists';
import type { Connection } from '../read/reads';
import type { Users } from '../services/users';
import { InstanceConnection, PageArgs, SessionConnection, UserConnection } from './connections';
import type { Context } from './context';
import { idOf, toGlobalId } from './global-id';
import { InstancesArgs } from './instance.resolver';
import { answer } from './user-errors';
import {
  AssignInstanceInput,
  AssignInstancePayload,
  CreateUserInput,
  CreateUserPayload,
  RemoveUserInput,
  RemoveUserPayload,
  SetUserPasswordInput,
  SetUserPasswordPayload,
  UnassignInstanceInput,
  UnassignInstancePayload,
  UpdateUserInput,
  UpdateUserPayload,
  UsersArgs,
} from './user.inputs';

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
  @SessionOnly()
  @Mutation(() => CreateUserPayload, { description: 'Makes an account with a one-time password.' })
  createUser(
    @Ctx() context: Context,
    @Arg('input', () => CreateUserInput, { description: 'The account.' }) input: CreateUserInput,
  ): Promise<CreateUserPayload> {
    return answer(context, async () => {
      const { user, password } = await this.users.create(context.request, input);
      return { user, oneTimePassword: password };
    });
  }

  @Auth(Role.ADMIN)
  @SessionOnly()
  @Mutation(() => UpdateUserPayload, { description: "Changes an account's name, role or status." })
  updateUser(
    @Ctx() context: Context,
    @Arg('input', () => UpdateUserInput, { description: 'The changes.' }) input: UpdateUserInput,
  ): Promise<UpdateUserPayload> {
    return answer(context, async () => ({
      user: await this.users.update(context.request, { ...input, userId: idOf('User', input.userId) }),
    }));
  }

  @Auth(Role.ADMIN)
  @SessionOnly()
  @Mutation(() => SetUserPasswordPayload, {
    description: 'Gives an account a one-time password and ends its sessions. API tokens stay, unless it is locked.',
  })
  setUserPassword(
    @Ctx() context: Context,
    @Arg('input', () => SetUserPasswordInput, { description: 'Whose.' }) input: SetUserPasswordInput,
  ): Promise<SetUserPasswordPayload> {
    return answer(context, async () => {
      const { user, password } = await this.users.setPassword(context.request, idOf('User', input.userId));
      return { user, oneTimePassword: password };
    });
  }

  @Auth(Role.ADMIN)
  @SessionOnly()
  @Mutation(() => RemoveUserPayload, { description: 'Removes an account. What the person did keeps their name.' })
  removeUser(
    @Ctx() context: Context,
    @Arg('input', () => RemoveUserInput, { description: 'Whose.' }) input: RemoveUserInput,
  ): Promise<RemoveUserPayload> {
    return answer(context, async () => ({
      user: await this.users.remove(context.request, idOf('User', input.userId)),
    }));
  }

  @Auth(Role.ADMIN)
  @Mutation(() => AssignInstancePayload, { description: 'Lets a user see an instance.' })
  assignInstance(
    @Ctx() context: Context,
    @Arg('input', () => AssignInstanceInput, { description: 'Which to whom.' }) input: AssignInstanceInput,
  ): Promise<AssignInstancePayload> {
    return answer(context, () => this.users.assign(context.request, pairOf(input)));
  }

  @Auth(Role.ADMIN)
  @Mutation(() => UnassignInstancePayload, { description: 'Hides an instance from a user again, at once.' })
  unassignInstance(
    @Ctx() context: Context,
    @Arg('input', () => UnassignInstanceInput, { description: 'Which from whom.' }) input: UnassignInstanceInput,
  ): Promise<UnassignInstancePayload> {
    return answer(context, () => this.users.unassign(context.request, pairOf(input)));
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
    return mayLookFurther(context, user)
      ? context.reads.listBelow(ASSIGNED_INSTANCES, 'a.user_id', user.id, args)
      : null;
  }

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @SessionOnly()
  @FieldResolver(() => SessionConnection, {
    nullable: true,
    description: 'Where they are signed in, newest first; null unless it is you, or you are ADMIN.',
  })
  async sessions(
    @Root() user: User,
    @Ctx() context: Context,
    @Args(() => PageArgs) args: PageArgs,
  ): Promise<Connection<Session> | null> {
    return mayLookFurther(context, user) ? context.reads.listBelow(SESSIONS, 't.user_id', user.id, args) : null;
  }
}

/** Whether more of a person is shown than their name. */
export function knowsAll({ actor }: Context, user: User): boolean {
  return actor.role === Role.ADMIN || actor.userId === user.id;
}

/** A one-time password opens nothing but the way to a password of one's own. */
function mayLookFurther(context: Context, user: User): boolean {
  return knowsAll(context, user) && context.actor.status !== UserStatus.INVITED;
}

function pairOf({ userId, instanceId }: AssignInstanceInput) {
  return { userId: idOf('User', userId), instanceId: idOf('Instance', instanceId) };
}
