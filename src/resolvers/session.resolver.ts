/** Signing in and out. */
import { Arg, Ctx, Field, InputType, Mutation, ObjectType, Resolver } from 'type-graphql';
import { Auth, Public } from '../auth/directives';
import type { Sessions, SignedIn } from '../auth/sessions';
import type { SignInLimit } from '../auth/sign-in-limit';
import { Role } from '../entities/enums';
import { User } from '../entities/user';
import type { Context } from './context';
import { answer, Payload } from './user-errors';

@InputType({ description: 'Who signs in.' })
class SignInInput {
  @Field(() => String, { description: 'E-mail address, in upper or lower case.' })
  email: string;

  @Field(() => String, { description: 'Password.' })
  password: string;
}

@InputType({ description: 'The newest refresh token of a session.' })
class RefreshSessionInput {
  @Field(() => String, { description: 'It is used up by this; a second use ends the session.' })
  refreshToken: string;
}

@InputType({ description: 'A new password of one’s own.' })
class ChangePasswordInput {
  @Field(() => String, { description: 'The present password, also a one-time one.' })
  currentPassword: string;

  @Field(() => String, { description: '15 to 128 characters, and none of the common ones.' })
  newPassword: string;
}

@ObjectType({ description: 'What `signIn` and `refreshSession` answer.' })
class SignInPayload extends Payload {
  @Field(() => String, {
    nullable: true,
    description: 'Send it as `Authorization: Bearer …`; good until `expiresAt`. Null when refused.',
  })
  accessToken: string | null;

  @Field(() => String, { nullable: true, description: 'For `refreshSession`, once; null when refused.' })
  refreshToken: string | null;

  @Field(() => Date, {
    nullable: true,
    description: 'When the access token expires: ten minutes on. Null when refused.',
  })
  expiresAt: Date | null;

  @Field(() => User, { nullable: true, description: 'Who has signed in; null when refused.' })
  viewer: User | null;
}

@ObjectType({ description: 'What `signOut` answers.' })
class SignOutPayload extends Payload {}

@ObjectType({ description: 'What `changePassword` answers.' })
class ChangePasswordPayload extends Payload {
  @Field(() => User, { nullable: true, description: 'You; null when refused.' })
  viewer: User | null;
}

@Resolver()
export class SessionResolver {
  constructor(
    private readonly sessions: Sessions,
    private readonly limit: SignInLimit,
  ) {}

  @Public()
  @Mutation(() => SignInPayload, { description: 'Begins a session. INVALID_CREDENTIALS says no more than that.' })
  signIn(
    @Ctx() context: Context,
    @Arg('input', () => SignInInput, { description: 'Who.' }) { email, password }: SignInInput,
  ): Promise<SignInPayload> {
    const signIn = () => this.sessions.signIn(email, password);
    return answer(context, async () => begin(context, await this.limit.signIn(email, context.origin, signIn)));
  }

  @Public()
  @Mutation(() => SignInPayload, { description: 'Goes on with a session: new tokens for the newest refresh token.' })
  refreshSession(
    @Ctx() context: Context,
    @Arg('input', () => RefreshSessionInput, { description: 'The token.' }) { refreshToken }: RefreshSessionInput,
  ): Promise<SignInPayload> {
    const refresh = () => this.sessions.refresh(refreshToken);
    return answer(context, async () => begin(context, await this.limit.refresh(context.origin, refresh)));
  }

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Mutation(() => SignOutPayload, { description: 'Ends this session, its tokens and its subscriptions.' })
  signOut(@Ctx() context: Context): Promise<SignOutPayload> {
    return answer(context, async () => {
      await this.sessions.signOut(context.actor);
      return {};
    });
  }

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Mutation(() => ChangePasswordPayload, { description: 'Changes your password and ends your other sessions.' })
  changePassword(
    @Ctx() context: Context,
    @Arg('input', () => ChangePasswordInput, { description: 'The passwords.' }) input: ChangePasswordInput,
  ): Promise<ChangePasswordPayload> {
    return answer(context, async () => {
      const viewer = await this.limit.changePassword(context.actor, () =>
        this.sessions.changePassword(context.actor, input.currentPassword, input.newPassword),
      );
      context.become({ ...context.actor, status: viewer.status });
      return { viewer };
    });
  }
}

/** The rest of the operation reads as whoever has just signed in. */
function begin(context: Context, { actor, ...signedIn }: SignedIn): Omit<SignedIn, 'actor'> {
  context.become(actor);
  return signedIn;
}
