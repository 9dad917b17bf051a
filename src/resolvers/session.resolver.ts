/** Signing in and out, and what people do with their own account. */
import { Arg, Ctx, Field, FieldResolver, ID, InputType, Mutation, ObjectType, Resolver, Root } from 'type-graphql';
import { Auth, Public, SessionOnly } from '../auth/directives';
import type { SignInLimit } from '../auth/sign-in-limit';
import { Role } from '../entities/enums';
import { Session } from '../entities/session';
import { User } from '../entities/user';
import type { OwnAccount } from '../services/own-account';
import type { Sessions, SignedIn } from '../services/sessions';
import type { Context } from './context';
import { idOf, toGlobalId } from './global-id';
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

@InputType({ description: 'Which session to end.' })
class EndSessionInput {
  @Field(() => ID, { description: 'One of your own; the one you ask from, too.' })
  sessionId: string;
}

@InputType({ description: 'A new password of one’s own.' })
class ChangePasswordInput {
  @Field(() => String, { description: 'The present password, also a one-time one.' })
  currentPassword: string;

  @Field(() => String, {
    description: '15 to 128 characters; no common one, nor a few of them or your own names in a row.',
  })
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

@ObjectType()
abstract class ViewerPayload extends Payload {
  @Field(() => User, { nullable: true, description: 'You; null when refused.' })
  viewer: User | null;
}

@ObjectType({ description: 'What `changePassword` answers.' })
class ChangePasswordPayload extends ViewerPayload {}

@ObjectType({ description: 'What `endSession` answers.' })
class EndSessionPayload extends ViewerPayload {}

@ObjectType({ description: 'What `endOtherSessions` answers.' })
class EndOtherSessionsPayload extends ViewerPayload {}

@Resolver(() => Session)
export class SessionResolver {
  constructor(
    private readonly sessions: Sessions,
    private readonly account: OwnAccount,
    private readonly limit: SignInLimit,
  ) {}

  @Public()
  @Mutation(() => SignInPayload, { description: 'Begins a session. INVALID_CREDENTIALS says no more than that.' })
  signIn(
    @Ctx() context: Context,
    @Arg('input', () => SignInInput, { description: 'Who.' }) { email, password }: SignInInput,
  ): Promise<SignInPayload> {
    const signIn = () => this.sessions.signIn(context, email, password);
    return answer(context, async () => begin(context, await this.limit.signIn(email, context.origin, signIn)));
  }

  @Public()
  @Mutation(() => SignInPayload, { description: 'Goes on with a session: new tokens for the newest refresh token.' })
  refreshSession(
    @Ctx() context: Context,
    @Arg('input', () => RefreshSessionInput, { description: 'The token.' }) { refreshToken }: RefreshSessionInput,
  ): Promise<SignInPayload> {
    const refresh = () => this.sessions.refresh(context, refreshToken);
    return answer(context, async () => begin(context, await this.limit.refresh(context.origin, refresh)));
  }

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @SessionOnly()
  @Mutation(() => SignOutPayload, { description: 'Ends this session, its tokens and its subscriptions.' })
  signOut(@Ctx() context: Context): Promise<SignOutPayload> {
    return answer(context, async () => {
      await this.sessions.signOut(context.request);
      return {};
    });
  }

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @SessionOnly()
  @Mutation(() => ChangePasswordPayload, { description: 'Changes your password and ends your other sessions.' })
  changePassword(
    @Ctx() context: Context,
    @Arg('input', () => ChangePasswordInput, { description: 'The passwords.' }) input: ChangePasswordInput,
  ): Promise<ChangePasswordPayload> {
    return answer(context, async () => {
      const viewer = await this.limit.changePassword(context.actor, () =>
        this.account.changePassword(context.request, input.currentPassword, input.newPassword),
      );
      context.become({ ...context.actor, status: viewer.status });
      return { viewer };
    });
  }

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @SessionOnly()
  @Mutation(() => EndSessionPayload, { description: 'Ends one of your sessions, its tokens and its subscriptions.' })
  endSession(
    @Ctx() context: Context,
    @Arg('input', () => EndSessionInput, { description: 'Which.' }) { sessionId }: EndSessionInput,
  ): Promise<EndSessionPayload> {
    return answer(context, async () => {
      await this.account.endSession(context.request, idOf('Session', sessionId));
      return { viewer: await context.reads.behind(User, context.actor.userId) };
    });
  }

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @SessionOnly()
  @Mutation(() => EndOtherSessionsPayload, { description: 'Ends all of your sessions but the one you ask from.' })
  endOtherSessions(@Ctx() context: Context): Promise<EndOtherSessionsPayload> {
    return answer(context, async () => {
      await this.account.endOtherSessions(context.request);
      return { viewer: await context.reads.behind(User, context.actor.userId) };
    });
  }

  @FieldResolver(() => ID, { description: 'Opaque id of the session.' })
  id(@Root() { id }: Session): string {
    return toGlobalId('Session', id);
  }

  @FieldResolver(() => Boolean, { description: 'Whether it is the one that you ask from.' })
  current(@Root() { id }: Session, @Ctx() { actor: { credential } }: Context): boolean {
    return credential.kind === 'SESSION' && credential.id === id;
  }
}

/** The rest of the operation reads as whoever has just signed in. */
function begin(context: Context, { actor, ...signedIn }: SignedIn): Omit<SignedIn, 'actor'> {
  context.become(actor);
  return signedIn;
}
