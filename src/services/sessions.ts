/** Signing in, staying in, leaving. A session is a family of refresh tokens of which only the newest is good. */
import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { session, type Actor, type Request, type Visit } from '../auth/actor';
import { passwordFits } from '../auth/passwords';
import {
  hashOf,
  isHashOf,
  newSecret,
  parseRefreshToken,
  printRefreshToken,
  type RefreshToken,
} from '../auth/refresh-tokens';
import type { Tokens } from '../auth/tokens';
import { findRow } from '../db/rows';
import { inTransaction } from '../db/transaction';
import { UserStatus } from '../entities/enums';
import { Session } from '../entities/session';
import { User } from '../entities/user';
import { AppError, UserErrorCode } from '../errors';
import type { Audit, AuditEntry } from './audit';
import { endSessions, onOwnAccount } from './session-rows';

const SESSION_DAYS = 30;
const WRONG = 'The e-mail address or the password is wrong.';

export interface SignedIn {
  accessToken: string;
  refreshToken: string;
  expiresAt: Date;
  viewer: User;
  actor: Actor;
}

export class Sessions {
  constructor(
    private readonly db: DataSource,
    private readonly tokens: Tokens,
    private readonly audit: Audit,
  ) {}

  /**
   * INVALID_CREDENTIALS in the same words, the same time and the same statements for a wrong password, an unknown and a
   * locked account.
   */
  async signIn(visit: Visit, email: string, password: string): Promise<SignedIn> {
    const user = await this.db
      .getRepository(User)
      .createQueryBuilder('u')
      // Postgres refuses a text with a null character; no address has one.
      .where('u.email = lower(:email) and u.removed_at is null', { email: email.trim().replaceAll('\0', ' ') })
      .getOne();
    const fits = await passwordFits(user?.passwordHash ?? null, password);
    const opened = user && fits && user.status !== UserStatus.LOCKED && (await this.open(visit, user));
    if (opened) return opened;
    // Of an address that nobody has, nothing is kept: people type passwords in its place.
    await this.audit.record(this.db, anonymous(visit), {
      action: 'signIn',
      ...REFUSED,
      ...(user && { resource: person(user) }),
    });
    throw badCredentials(WRONG);
  }

  /** Gives the next token of the family. A token that was used before ends the whole family: one of two is a thief. */
  async refresh(visit: Visit, refreshToken: string): Promise<SignedIn> {
    const given = parseRefreshToken(refreshToken);
    const next = newSecret();
    const user = given && (await inTransaction(this.db, (tx) => this.renew(tx, visit, given, next)));
    if (!user) throw badCredentials('This refresh token is no longer good; sign in again.');
    return this.answer(user, { ...given, secret: next });
  }

  async signOut(request: Request): Promise<void> {
    const { actor } = request;
    await onOwnAccount(this.db, actor, async (tx, user) => {
      if ((await endSessions(tx, user.id, { only: actor.credential.id })) > 0)
        await this.audit.record(tx, request, { action: 'signOut', resource: person(user) });
    });
  }

  /** Null, and commits, when the token is no good. Whoever knows no more than a session's id can do nothing to it. */
  private async renew(tx: EntityManager, visit: Visit, given: RefreshToken, next: string): Promise<User | null> {
    const found = await tx.findOne(Session, { where: { id: given.sessionId }, lock: { mode: 'pessimistic_write' } });
    if (!found?.familyHash || !isHashOf(found.familyHash, given.family)) return null;
    if (found.endedAt || found.expiresAt.getTime() < Date.now()) return null;
    const user = await findRow(tx, User, found.userId);
    if (!user || user.removedAt || user.status === UserStatus.LOCKED) return null;
    if (!isHashOf(found.refreshTokenHash, given.secret)) {
      await endSessions(tx, user.id, { only: found.id });
      await this.audit.record(tx, anonymous(visit), { action: 'refreshSession', ...REFUSED, resource: person(user) });
      return null;
    }
    await tx.query('update sessions set refresh_token_hash = $2, refreshed_at = now() where id = $1', [
      found.id,
      hashOf(next),
    ]);
    return user;
  }

  /** Null when the account was locked, or got another password, while this one was being verified. */
  private open(visit: Visit, user: User): Promise<SignedIn | null> {
    const token = { sessionId: uuidv7(), family: newSecret(), secret: newSecret() };
    return inTransaction(this.db, async (tx) => {
      const { address, client } = visit.origin;
      const hashes = [hashOf(token.family), hashOf(token.secret)];
      const opened = await tx.query<unknown[]>(OPEN, [
        token.sessionId,
        user.id,
        user.passwordHash,
        ...hashes,
        address,
        client,
      ]);
      if (opened.length === 0) return null;
      const signedIn = this.answer(user, token);
      await this.audit.record(
        tx,
        { ...anonymous(visit), actor: signedIn.actor },
        { action: 'signIn', resource: person(user) },
      );
      return signedIn;
    });
  }

  private answer(user: User, token: RefreshToken): SignedIn {
    const { sessionId } = token;
    const { token: accessToken, expiresAt } = this.tokens.signAccess({ userId: user.id, sessionId }, user.role);
    const actor = { userId: user.id, credential: session(sessionId), role: user.role, status: user.status };
    return { accessToken, refreshToken: printRefreshToken(token), expiresAt, viewer: user, actor };
  }
}

/** The account as the audit log names it. */
export function person({ id, displayName }: User): NonNullable<AuditEntry['resource']> {
  return { type: 'User', id, name: displayName };
}

export function badCredentials(message: string, field?: string[]): AppError {
  return new AppError(UserErrorCode.INVALID_CREDENTIALS, message, field && { field });
}

/** Nobody has signed in yet. */
function anonymous({ origin, correlationId }: Visit) {
  return { actor: null, origin, correlationId };
}

const REFUSED = { outcome: 'REFUSED', code: UserErrorCode.INVALID_CREDENTIALS } as const;

/** The lock waits for whoever is changing the account just now, and then looks at what it has become. */
const OPEN = `
insert into sessions (id, user_id, family_hash, refresh_token_hash, address, client, created_at, refreshed_at, expires_at)
select $1, id, $4, $5, $6, $7, now(), now(), now() + interval '${SESSION_DAYS} days' from users
where id = $2 and password_hash = $3 and status <> 'LOCKED' and removed_at is null
for key share
returning 1`;
