/** People and what is assigned to them. */
import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { Actor, Request, Visit } from '../auth/actor';
import { hashPassword, oneTimePassword } from '../auth/passwords';
import { keepStanding } from '../auth/standing';
import { announce } from '../db/events';
import { findRow } from '../db/rows';
import { inTransaction } from '../db/transaction';
import type { FieldChange } from '../entities/audit-event';
import { Role, UserStatus } from '../entities/enums';
import { Instance } from '../entities/instance';
import { User } from '../entities/user';
import { AppError, invalidInput, notFound, UserErrorCode } from '../errors';
import type { Audit } from './audit';
import { endSessions } from './session-rows';
import { person } from './sessions';

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
  constructor(
    private readonly db: DataSource,
    private readonly audit: Audit,
  ) {}

  /** Makes an account with a one-time password, which is shown now and never again. */
  async create(author: Visit & { actor: Actor | null }, wish: CreateUser): Promise<{ user: User; password: string }> {
    const password = oneTimePassword();
    return { user: await this.insert(author, wish, password, UserStatus.INVITED), password };
  }

  /** Makes an account that is in use at once, with a password that was agreed on elsewhere. */
  async insert(
    author: Visit & { actor: Actor | null },
    { email, displayName, role }: CreateUser,
    password: string,
    status: UserStatus,
  ): Promise<User> {
    const address = email.trim().toLowerCase();
    if (!EMAIL.test(address)) throw invalidInput('email', 'This is not an e-mail address.');
    const name = displayName?.trim() ?? address.replace(/@.*/, '');
    judgeDisplayName(name);
    const passwordHash = await hashPassword(password);
    return inTransaction(this.db, async (tx) => {
      if (author.actor) await keepStanding(tx, author.actor);
      const values = [uuidv7(), address, name, role, status, passwordHash];
      const [inserted] = await tx.query<{ id: string }[]>(INSERT, values);
      const user = inserted && (await findRow(tx, User, inserted.id));
      if (!user) throw invalidInput('email', 'There is an account with this e-mail address already.');
      await this.audit.record(tx, author, {
        action: 'createUser',
        resource: person(user),
        changes: changesOf(null, user),
      });
      return user;
    });
  }

  /** Changes name, role or status; what is absent or null stays. A lock ends all sessions of the account. */
  async update(request: Request, wish: UpdateUser): Promise<User> {
    if (wish.displayName !== null && wish.displayName !== undefined) judgeDisplayName(wish.displayName.trim());
    return this.change(request, 'updateUser', wish.userId, async (tx, user) => {
      const status = nextStatus(user, wish.status ?? user.status);
      await tx.query('update users set display_name = $2, role = $3, status = $4 where id = $1', [
        user.id,
        wish.displayName?.trim() ?? user.displayName,
        wish.role ?? user.role,
        status,
      ]);
      if (status === UserStatus.LOCKED) await endSessions(tx, user.id);
    });
  }

  /**
   * Gives the account a one-time password, which is shown now and never again, and ends its sessions. API tokens stay: they
   * know no password. Who is locked stays locked.
   */
  async setPassword(request: Request, userId: string | null): Promise<{ user: User; password: string }> {
    const password = oneTimePassword();
    const passwordHash = await hashPassword(password);
    const user = await this.change(request, 'setUserPassword', userId, async (tx, { id, issuer }) => {
      if (issuer !== null) throw invalidInput('userId', passwordIsElsewhere(issuer));
      await tx.query(SET_PASSWORD, [id, passwordHash]);
      await endSessions(tx, id);
    });
    return { user, password };
  }

  /** Takes the account and its assignments away; the person's name stays on what they did. */
  async remove(request: Request, userId: string | null): Promise<User> {
    return this.change(request, 'removeUser', userId, async (tx, user) => {
      await tx.query('update users set removed_at = now() where id = $1', [user.id]);
      await tx.query('delete from instance_assignments where user_id = $1', [user.id]);
      await endSessions(tx, user.id);
    });
  }

  /** Lets a user see an instance. Assigning twice is assigning once. */
  assign(request: Request, wish: Assignment): Promise<{ user: User; instance: Instance }> {
    return this.onAssignment(request, 'assignInstance', wish, async (tx, user, instance) => {
      const inserted = await tx.query<unknown[]>(ASSIGN, [uuidv7(), user.id, instance.id]);
      return inserted.length > 0;
    });
  }

  /** Hides an instance from a user again, also in subscriptions that run. */
  unassign(request: Request, wish: Assignment): Promise<{ user: User; instance: Instance }> {
    return this.onAssignment(request, 'unassignInstance', wish, async (tx, user, instance) => {
      const [, deleted] = await tx.query<[unknown[], number]>(UNASSIGN, [user.id, instance.id]);
      return deleted > 0;
    });
  }

  /** Changes an account, unless that would leave nobody who can administer. */
  private change(
    request: Request,
    action: string,
    userId: string | null,
    work: (tx: EntityManager, user: User) => Promise<void>,
  ): Promise<User> {
    return inTransaction(this.db, async (tx) => {
      // Locks the administrators too, so that two of them cannot remove each other at the same instant; the caller among
      // them before the look at what the caller may, so that two of these cannot block each other.
      await tx.query(LOCK, [userId, request.actor.userId]);
      await keepStanding(tx, request.actor);
      const user = await present(tx, userId);
      await work(tx, user);
      const [left] = await tx.query<{ count: number }[]>(
        `select count(*)::int as count from users where role = 'ADMIN' and status = 'ACTIVE' and removed_at is null`,
      );
      if (user.role === Role.ADMIN && left?.count === 0) throw lastAdmin();
      await announce(tx, `user:${user.id}`);
      const changed = (await findRow(tx, User, user.id)) ?? user;
      await this.audit.record(tx, request, { action, resource: person(user), changes: changesOf(user, changed) });
      return changed;
    });
  }

  /** `work` says whether it changed anything. */
  private onAssignment(
    request: Request,
    action: 'assignInstance' | 'unassignInstance',
    wish: Assignment,
    work: (tx: EntityManager, user: User, instance: Instance) => Promise<boolean>,
  ): Promise<{ user: User; instance: Instance }> {
    return inTransaction(this.db, async (tx) => {
      // A removal takes the assignments away; none may come after it. In the order in which changes lock accounts.
      await tx.query(HOLD, [wish.userId, request.actor.userId]);
      await keepStanding(tx, request.actor);
      const user = await present(tx, wish.userId);
      const instance = await findRow(tx, Instance, wish.instanceId);
      if (!instance) throw notFound('instanceId', 'instance');
      if (!(await work(tx, user, instance))) return { user, instance };
      await announce(tx, `user:${user.id}`);
      const [before, after] = action === 'assignInstance' ? [null, instance.name] : [instance.name, null];
      const changes = [{ field: 'assignedInstances', before, after }];
      await this.audit.record(tx, request, { action, resource: person(user), changes });
      return { user, instance };
    });
  }
}

/** Of an account that signs in at an external provider. */
export function passwordIsElsewhere(issuer: string): string {
  return `This account has no password here; it signs in at ${issuer}. Change the password there.`;
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

/** The fields that differ, but for secrets. */
function changesOf(before: User | null, after: User): FieldChange[] {
  return (['email', 'displayName', 'role', 'status', 'removedAt'] as const)
    .map((field) => ({ field, before: before?.[field] ?? null, after: after[field] }))
    .filter((change) => change.before !== change.after);
}

function lastAdmin(): AppError {
  return new AppError(
    UserErrorCode.LAST_ADMIN,
    'This is the last administrator; somebody must remain who can manage users.',
    { remediation: 'Make another account ADMIN first.' },
  );
}

const INSERT = `
insert into users (id, email, display_name, role, status, password_hash, one_time_password, created_at)
values ($1, $2, $3, $4, $5, $6, $5 = 'INVITED', now()) on conflict (email) where removed_at is null do nothing returning id`;

const SET_PASSWORD = `
update users set password_hash = $2, one_time_password = true,
  status = case status when 'ACTIVE' then 'INVITED' else status end
where id = $1`;

const LOCK = `
select from users where (role = 'ADMIN' or id in ($1, $2)) and removed_at is null order by id for update`;

const HOLD = 'select from users where id in ($1, $2) order by id for key share';

const ASSIGN = `
insert into instance_assignments (id, user_id, instance_id, created_at) values ($1, $2, $3, now())
on conflict (user_id, instance_id) do nothing returning 1`;

const UNASSIGN = 'delete from instance_assignments where user_id = $1 and instance_id = $2';
