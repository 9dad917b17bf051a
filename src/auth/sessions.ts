/** Signing in, staying in, leaving. A session is a family of refresh tokens of which only the newest is good. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { announce } from '../db/events';
import { UserStatus } from '../entities/enums';
import { Session } from '../entities/session';
import { User } from '../entities/user';
import { AppError, UserErrorCode } from '../errors';
import { session, type Actor } from './actor';
import { hashPassword, judgePassword, passwordFits } from './passwords';
import type { Tokens } from './tokens';

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
  ) {}

  /** INVALID_CREDENTIALS in the same words and the same time for a wrong password, an unknown and a locked account. */
  async signIn(email: string, password: string): Promise<SignedIn> {
    const user = await this.db
      .getRepository(User)
      .createQueryBuilder('u')
      // Postgres refuses a text with a null character; no address has one.
      .where('u.email = lower(:email) and u.removed_at is null', { email: email.trim().replaceAll('\0', ' ') })
      .getOne();
    const fits = await passwordFits(user?.passwordHash ?? null, password);
    if (!user || !fits || user.status === UserStatus.LOCKED) throw badCredentials(WRONG);
    return this.open(user);
  }

  /** Gives the next token of the family. A token that was used before ends the whole family: one of two is a thief. */
  async refresh(refreshToken: string): Promise<SignedIn> {
    const refused = badCredentials('This refresh token is no longer good; sign in again.');
    const given = parseRefreshToken(refreshToken);
    if (!given) throw refused;
    const next = newSecret();
    const renewed = await this.db.transaction(async (tx) => {
      const session = await tx.findOne(Session, {
        where: { id: given.sessionId },
        lock: { mode: 'pessimistic_write' },
      });
      if (!session || session.endedAt || session.expiresAt.getTime() < Date.now()) return null;
      if (!timingSafeEqual(session.refreshTokenHash, sha256(given.secret))) {
        await end(tx, session.id);
        return null;
      }
      const user = await tx.findOneBy(User, { id: session.userId });
      if (!user || user.removedAt || user.status === UserStatus.LOCKED) return null;
      await tx.update(Session, session.id, { refreshTokenHash: sha256(next), refreshedAt: new Date() });
      return { user, sessionId: session.id };
    });
    if (!renewed) throw refused;
    return this.answer(renewed.user, renewed.sessionId, next);
  }

  async signOut(actor: Actor): Promise<void> {
    await this.db.transaction((tx) => end(tx, actor.credential.id));
  }

  /** Changes the caller's own password, ends their other sessions, and makes an invited account active. */
  async changePassword(actor: Actor, current: string, wanted: string): Promise<User> {
    const user = await this.db.getRepository(User).findOneByOrFail({ id: actor.userId });
    if (user.issuer !== null) {
      const sentence = `This account has no password here; it signs in at ${user.issuer}. Change the password there.`;
      throw new AppError(UserErrorCode.INVALID_INPUT, sentence, { field: ['currentPassword'] });
    }
    judgePassword(wanted, ['newPassword']);
    if (!(await passwordFits(user.passwordHash, current)))
      throw badCredentials('The current password is wrong.', ['currentPassword']);
    if (current === wanted) {
      throw new AppError(UserErrorCode.INVALID_INPUT, 'The new password must differ from the current one.', {
        field: ['newPassword'],
      });
    }
    const passwordHash = await hashPassword(wanted);
    return this.db.transaction(async (tx) => {
      // A lock that was put on in the meantime stays.
      await tx.query(CHANGE_PASSWORD, [user.id, passwordHash]);
      await tx.query(`update sessions set ended_at = now() where user_id = $1 and id <> $2 and ended_at is null`, [
        user.id,
        actor.credential.id,
      ]);
      await announce(tx, `user:${user.id}`);
      return tx.findOneByOrFail(User, { id: user.id });
    });
  }

  /** The account may have been locked, or have got another password, while this one was being verified. */
  private async open(user: User): Promise<SignedIn> {
    const [secret, sessionId] = [newSecret(), uuidv7()];
    const opened = await this.db.query<unknown[]>(OPEN, [sessionId, user.id, sha256(secret), user.passwordHash]);
    if (opened.length === 0) throw badCredentials(WRONG);
    return this.answer(user, sessionId, secret);
  }

  private answer(user: User, sessionId: string, secret: string): SignedIn {
    const { token, expiresAt } = this.tokens.signAccess({ userId: user.id, sessionId }, user.role);
    const actor = { userId: user.id, credential: session(sessionId), role: user.role, status: user.status };
    return { accessToken: token, refreshToken: `${sessionId}.${secret}`, expiresAt, viewer: user, actor };
  }
}

/** Ends every session of a user, as a lock, a removal or a new password does. */
export async function endSessionsOf(tx: EntityManager, userId: string): Promise<void> {
  await tx.query('update sessions set ended_at = now() where user_id = $1 and ended_at is null', [userId]);
}

async function end(tx: EntityManager, sessionId: string): Promise<void> {
  const [rows] = await tx.query<[{ userId: string }[], number]>(
    'update sessions set ended_at = now() where id = $1 and ended_at is null returning user_id as "userId"',
    [sessionId],
  );
  for (const { userId } of rows) await announce(tx, `user:${userId}`);
}

function badCredentials(message: string, field?: string[]): AppError {
  return new AppError(UserErrorCode.INVALID_CREDENTIALS, message, field && { field });
}

function parseRefreshToken(token: string): { sessionId: string; secret: string } | null {
  const [, sessionId, secret] = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([\w-]{43})$/.exec(token) ?? [];
  return sessionId && secret ? { sessionId, secret } : null;
}

const OPEN = `
insert into sessions (id, user_id, refresh_token_hash, created_at, refreshed_at, expires_at)
select $1, id, $3, now(), now(), now() + interval '${SESSION_DAYS} days' from users
where id = $2 and password_hash = $4 and status <> 'LOCKED' and removed_at is null
returning 1`;

const CHANGE_PASSWORD = `
update users set password_hash = $2, one_time_password = false,
  status = case status when 'INVITED' then 'ACTIVE' else status end
where id = $1`;

const newSecret = () => randomBytes(32).toString('base64url');
const sha256 = (text: string) => createHash('sha256').update(text).digest();
