/** API tokens: a person's own, and for ADMIN everyone's. Whoever comes with one reaches none of this. */
import {
  Arg,
  Args,
  Ctx,
  Field,
  FieldResolver,
  ID,
  InputType,
  Mutation,
  ObjectType,
  Resolver,
  Root,
} from 'type-graphql';
import { prefixOf } from '../auth/api-tokens';
import { Auth, SessionOnly } from '../auth/directives';
import { ApiToken } from '../entities/api-token';
import { Role, UserStatus } from '../entities/enums';
import { User } from '../entities/user';
import { API_TOKENS } from '../read/lists';
import type { Connection } from '../read/reads';
import type { ApiTokens } from '../services/api-tokens';
import { ApiTokenConnection, PageArgs } from './connections';
import type { Context } from './context';
import { idOf, toGlobalId } from './global-id';
import { answer, Payload } from './user-errors';
import { knowsAll } from './user.resolver';

@InputType({ description: 'A new API token, of your own: a token acts as its owner, so nobody makes one for another.' })
class CreateApiTokenInput {
  @Field(() => String, { description: 'What it is for, in 1 to 100 characters.' })
  name: string;

  @Field(() => Role, { description: 'What it may do at most: your own role, or one that may do less.' })
  role: Role;

  @Field(() => Date, {
    nullable: true,
    description: 'When it ends: within 366 days. Without, when it is revoked or has not been used for a year.',
  })
  expiresAt?: Date | null;

  @Field(() => [ID], {
    nullable: true,
    description: 'The 1 to 100 instances that it is good for; without, all that you may see. Not with the role ADMIN.',
  })
  instanceIds?: string[] | null;
}

@InputType({ description: 'Which API token to revoke.' })
class RevokeApiTokenInput {
  @Field(() => ID, { description: 'The token.' })
  apiTokenId: string;
}

@ObjectType()
abstract class ApiTokenPayload extends Payload {
  @Field(() => ApiToken, { nullable: true, description: 'The token as it is listed; null when refused.' })
  apiToken: ApiToken | null;
}

@ObjectType({ description: 'What `createApiToken` answers.' })
class CreateApiTokenPayload extends ApiTokenPayload {
  @Field(() => String, {
    nullable: true,
    description: 'The token, shown now and never again: send it as `Authorization: Bearer …`. Null when refused.',
  })
  token: string | null;
}

@ObjectType({ description: 'What `revokeApiToken` answers.' })
class RevokeApiTokenPayload extends ApiTokenPayload {}

@Resolver(() => ApiToken)
export class ApiTokenResolver {
  constructor(private readonly apiTokens: ApiTokens) {}

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @SessionOnly()
  @Mutation(() => CreateApiTokenPayload, { description: 'Makes an API token of your own.' })
  createApiToken(
    @Ctx() context: Context,
    @Arg('input', () => CreateApiTokenInput, { description: 'The token.' }) input: CreateApiTokenInput,
  ): Promise<CreateApiTokenPayload> {
    const instanceIds = input.instanceIds?.map((id) => idOf('Instance', id)) ?? null;
    return answer(context, () => this.apiTokens.create(context.request, { ...input, instanceIds }));
  }

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @SessionOnly()
  @Mutation(() => RevokeApiTokenPayload, {
    description: 'Ends an API token at once, and the subscriptions that run with it: your own, or as ADMIN anyone’s.',
  })
  revokeApiToken(
    @Ctx() context: Context,
    @Arg('input', () => RevokeApiTokenInput, { description: 'Which.' }) { apiTokenId }: RevokeApiTokenInput,
  ): Promise<RevokeApiTokenPayload> {
    return answer(context, async () => ({
      apiToken: await this.apiTokens.revoke(context.request, idOf('ApiToken', apiTokenId)),
    }));
  }

  @FieldResolver(() => ID, { description: 'Opaque, global id.' })
  id(@Root() { id }: ApiToken): string {
    return toGlobalId('ApiToken', id);
  }

  @FieldResolver(() => String, { description: 'How the token begins, to tell it from others.' })
  prefix(@Root() { id }: ApiToken): string {
    return prefixOf(id);
  }

  @FieldResolver(() => [ID], {
    nullable: true,
    description: 'The instances that it is good for, as far as its owner may see them; null means all of those.',
  })
  instanceIds(@Root() { instanceIds }: ApiToken): string[] | null {
    return instanceIds?.map((id) => toGlobalId('Instance', id)) ?? null;
  }

  @FieldResolver(() => User, { description: 'Its owner, as whom it acts.' })
  user(@Root() { userId }: ApiToken, @Ctx() { reads }: Context): Promise<User | null> {
    return reads.behind(User, userId);
  }
}

@Resolver(() => User)
export class ApiTokensOfUserResolver {
  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @SessionOnly()
  @FieldResolver(() => ApiTokenConnection, {
    nullable: true,
    description: 'Their API tokens, newest first, also those that have ended; null unless it is you, or you are ADMIN.',
  })
  async apiTokens(
    @Root() user: User,
    @Ctx() context: Context,
    @Args(() => PageArgs) args: PageArgs,
  ): Promise<Connection<ApiToken> | null> {
    const mayLook = knowsAll(context, user) && context.actor.status !== UserStatus.INVITED;
    return mayLook ? context.reads.listBelow(API_TOKENS, 't.user_id', user.id, args) : null;
  }
}
