/** People and what is assigned to them. */
import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { hashPassword, oneTimePassword } from '../auth/passwords';
import { endSessionsOf } from '../auth/sessions';
import { announce } from '../db/events';
import { findRow } from '../db/rows';
import { inTransaction } from '../db/transaction';
import { Role, UserStatus } from '../entities/enums';
import { Instance } from '../entities/instance';
import { User } from '../entities/user';
import { AppError, invalidInput, notFound, UserErrorCode } from '../errors';

export interface CreateUser {
  email: string;
  displayName?: string | null;
  role: Role;
}

export interface UpdateUser {
  userId: string | null;
  displayName?: string | null;
  role?: Role | null;
  status?: UserStatus | null;
}

export interface Assignment {
  userId: string | null;
  instanceId: string | null;
}

/** Without what an address may have only in quotes, and without characters that nobody sees. */
const EMAIL = /^[^\s@\p{C}"(),:;<>[\\\]]{1,64}@[^\s@\p{C}"(),:;<>[\\\]]{1,189}$/u;

/** Control characters, halves of characters, and what writes a line backwards; joiners belong to some languages. */
const DECEPTIVE = /[\p{Cc}\p{Cs}\u2028-\u202e\u2066-\u2069]/u;

export class Users {
  constructor(private readonly db: DataSource) {}

  /** Makes an account with a one-time password, which is shown now and never again. */
  async create(wish: CreateUser): Promise<{ user: User; password: string }> {
    const password = oneTimePassword();
    return { user: await this.insert(wish, password, UserStatus.INVITED), password };
  }

  /** Makes an account that is in use at once, with a password that was agreed on elsewhere. */
  async insert({ email, displayName, role }: CreateUser, password: string, status: UserStatus): Promise<User> {
    const address = email.trim().toLowerCase();
    if (!EMAIL.test(address)) throw invalidInput('email', 'This is not an e-mail address.');
    const name = displayName?.trim() ?? address.replace(/@.*/, '');
    judgeDisplayName(name);
    const passwordHash = await hashPassword(password);
    const inserted = await this.db.query<{ id: string }[]>(
      `insert into users (id, email, display_name, role, status, password_hash, one_time_password, created_at)
       values ($1, $2, $3, $4, $5, $6, $5 = 'INVITED', now()) on conflict (email) where removed_at is null do nothing returning id`,
      [uuidv7(), address, name, role, status, passwordHash],
    );
    const user = await findRow(this.db, User, inserted[0]?.id ?? null);
    if (!user) throw invalidInput('email', 'There is an account with this e-mail address already.');
    return user;
  }

  /** Changes name, role or status; what is absent or null stays. A lock ends all sessions of the account. */
  async update(wish: UpdateUser): Promise<User> {
    if (wish.displayName !== null && wish.displayName !== undefined) judgeDisplayName(wish.displayName.trim());
    return this.change(wish.userId, async (tx, user) => {
      const status = nextStatus(user, wish.status ?? user.status);
      await tx.query('update users set display_name = $2, role = $3, status = $4 where id = $1', [
        user.id,
        wish.displayName?.trim() ?? user.displayName,
        wish.role ?? user.role,
        status,
      ]);
      if (status === UserStatus.LOCKED) await endSessionsOf(tx, user.id);
    });
  }

  /** Takes the account and its assignments away; the person's name stays on what they did. */
  async remove(userId: string | null): Promise<User> {
    return this.change(userId, async (tx, user) => {
      await tx.query('update users set removed_at = now() where id = $1', [user.id]);
      await tx.query('delete from instance_assignments where user_id = $1', [user.id]);
      await endSessionsOf(tx, user.id);
    });
  }

  /** Lets a user see an instance. Assigning twice is assigning once. */
  assign(wish: Assignment): Promise<{ user: User; instance: Instance }> {
    return this.onAssignment(wish, async (tx, user, instance) => {
      await tx.query(
        `insert into instance_assignments (id, user_id, instance_id, created_at) values ($1, $2, $3, now())
         on conflict (user_id, instance_id) do nothing`,
        [uuidv7(), user.id, instance.id],
      );
    });
  }

  /** Hides an instance from a user again, also in subscriptions that run. */
  unassign(wish: Assignment): Promise<{ user: User; instance: Instance }> {
    return this.onAssignment(wish, async (tx, user, instance) => {
      await tx.query('delete from instance_assignments where user_id = $1 and instance_id = $2', [
        user.id,
        instance.id,
      ]);
    });
  }

  /** Changes an account, unless that would leave nobody who can administer. */
  private change(userId: string | null, work: (tx: EntityManager, user: User) => Promise<void>): Promise<User> {
    return inTransaction(this.db, async (tx) => {
      // Locks the administrators too, so that two of them cannot remove each other at the same instant.
      await tx.query(
        `select from users where (role = 'ADMIN' or id = $1) and removed_at is null order by id for update`,
        [userId],
      );
      const user = await present(tx, userId);
      await work(tx, user);
      const [left] = await tx.query<{ count: number }[]>(
        `select count(*)::int as count from users where role = 'ADMIN' and status = 'ACTIVE' and removed_at is null`,
      );
      if (user.role === Role.ADMIN && left?.count === 0) {
        throw new AppError(
          UserErrorCode.LAST_ADMIN,
          'This is the last administrator; somebody must remain who can manage users.',
          {
            remediation: 'Make another account ADMIN first.',
          },
        );
      }
      await announce(tx, `user:${user.id}`);
      return (await findRow(tx, User, user.id)) ?? user;
    });
  }

  private onAssignment(
    wish: Assignment,
    work: (tx: EntityManager, user: User, instance: Instance) => Promise<void>,
  ): Promise<{ user: User; instance: Instance }> {
    return inTransaction(this.db, async (tx) => {
      const user = await present(tx, wish.userId);
      const instance = await findRow(tx, Instance, wish.instanceId);
      if (!instance) throw notFound('instanceId', 'instance');
      await work(tx, user, instance);
      await announce(tx, `user:${user.id}`);
      return { user, instance };
    });
  }
}

async function present(tx: EntityManager, userId: string | null): Promise<User> {
  const user = await findRow(tx, User, userId);
  if (!user || user.removedAt) throw notFound('userId', 'user');
  return user;
}

/** Whoever never changed their one-time password is INVITED until they do, also after a lock. */
function nextStatus({ status, oneTimePassword }: User, wanted: UserStatus): UserStatus {
  if (wanted === UserStatus.INVITED && !oneTimePassword) {
    throw invalidInput('status', 'An account that has a password of its own cannot be INVITED again.');
  }
  if (wanted === UserStatus.ACTIVE && status === UserStatus.INVITED) {
    throw invalidInput('status', 'An INVITED account becomes ACTIVE when its one-time password is changed.');
  }
  return wanted === UserStatus.ACTIVE && oneTimePassword ? UserStatus.INVITED : wanted;
}

function judgeDisplayName(name: string): void {
  if (name.length < 1 || name.length > 200 || DECEPTIVE.test(name))
    throw invalidInput('displayName', 'A name has 1 to 200 characters, none of them invisible.');
}
