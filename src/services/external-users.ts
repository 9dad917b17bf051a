/** People whom an external OpenID provider vouches for: made at first sight, with what the provider says of them. */
import { createHash, randomBytes } from 'node:crypto';
import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { session, type Actor, type Actors, type Identifier, type Origin } from '../auth/actor';
import { OidcTokens, type OidcSettings, type Vouched } from '../auth/oidc';
import { announce } from '../db/events';
import { inTransaction } from '../db/transaction';
import type { FieldChange } from '../entities/audit-event';
import { Role, UserStatus } from '../entities/enums';
import type { Audit, Author } from './audit';

interface Surroundings {
  db: DataSource;
  audit: Audit;
  actors: Pick<Actors, 'current'>;
  correlationId: () => string;
  onTrouble: (error: Error) => void;
}

/** Whose a token is that was verified, until it expires. */
interface Known {
  userId: string;
  sessionId: string;
  expiresAt: Date;
}

interface Account {
  id: string;
  email: string;
  role: Role;
  status: UserStatus;
  removedAt: Date | null;
  vouchedAt: Date;
  /** Made just now. */
  isNew: boolean;
}

/** As many tokens are remembered; those that were not used for longest give way. */
const MOST_KNOWN = 10_000;

export class ExternalUsers implements Identifier {
  private known = new Map<string, Known>();
  private readonly tokens: OidcTokens;

  constructor(
    settings: OidcSettings,
    private readonly around: Surroundings,
  ) {
    this.tokens = new OidcTokens(settings, () => (this.known = new Map()), around.onTrouble);
  }

  /** Asks the provider for its keys, so that the first request need not wait; it may be away. */
  start(): void {
    this.tokens.freshen();
  }

  /** A token is verified once; the account and the session behind it are looked at each time. */
  async identify(token: string, origin: Origin): Promise<Actor | null> {
    this.tokens.freshen();
    const hash = createHash('sha256').update(token).digest('base64');
    const known = this.recall(hash) ?? (await this.meet(token, hash, origin));
    return known && this.around.actors.current({ userId: known.userId, credential: session(known.sessionId) });
  }

  private recall(hash: string): Known | null {
    const known = this.known.get(hash);
    this.known.delete(hash);
    if (!known || known.expiresAt.getTime() <= Date.now()) return null;
    this.known.set(hash, known); // the last of them again
    return known;
  }

  private async meet(token: string, hash: string, origin: Origin): Promise<Known | null> {
    const memory = this.known; // another one, when the key that it is verified with has gone meanwhile
    const vouched = await this.tokens.verify(token);
    const known = vouched && (await inTransaction(this.around.db, (tx) => this.admit(tx, vouched, origin)));
    if (!known) return null;
    const [oldest] = memory.keys();
    if (memory.size >= MOST_KNOWN && oldest !== undefined) memory.delete(oldest);
    memory.set(hash, known);
    return known;
  }

  /** Null for whom we have locked or removed, and for a login that was ended here. */
  private async admit(tx: EntityManager, vouched: Vouched, { address, client }: Origin): Promise<Known | null> {
    const author: Author = { actor: null, origin: { address, client }, correlationId: this.around.correlationId() };
    const user = (await this.find(tx, vouched.subject)) ?? (await this.create(tx, vouched, author));
    if (user.removedAt || user.status === UserStatus.LOCKED) return null;
    if (!user.isNew && vouched.issuedAt > user.vouchedAt) await this.update(tx, user, vouched, author);
    const sessionId = await this.open(tx, user, vouched, author);
    return sessionId === null ? null : { userId: user.id, sessionId, expiresAt: vouched.expiresAt };
  }

  /** Locks the row: the tokens of one person are taken in one after another. */
  private async find(tx: EntityManager, subject: string): Promise<Account | null> {
    const [user] = await tx.query<Account[]>(FIND, [this.tokens.issuer, subject]);
    return user ?? null;
  }

  /** An address that an account of ours has stays with it: the two are not one, whatever the provider says. */
  private async create(tx: EntityManager, vouched: Vouched, author: Author): Promise<Account> {
    const nobodys = noAddress(this.tokens.issuer, vouched.subject);
    const role = vouched.role ?? Role.USER;
    for (const email of [vouched.email ?? nobodys, nobodys]) {
      const name = vouched.name ?? email.replace(/@.*/, '');
      const made = await tx.query<Account[]>(CREATE, [uuidv7(), email, name, role, this.tokens.issuer, vouched.subject, vouched.issuedAt]); // prettier-ignore
      const user = await this.find(tx, vouched.subject);
      if (!user) continue;
      const isNew = made.length > 0;
      const changes = [{ field: 'role', before: null, after: role }];
      if (isNew) await this.record(tx, author, 'externalUserCreated', user, changes);
      return { ...user, isNew };
    }
    throw new Error('an external account could neither be made nor found');
  }

  /** By the newest token only: an older one that is shown again changes nothing back. */
  private async update(tx: EntityManager, user: Account, vouched: Vouched, author: Author): Promise<void> {
    const role = vouched.role ?? user.role;
    const addressless = user.email === noAddress(this.tokens.issuer, vouched.subject);
    await tx.query(UPDATE, [user.id, role, vouched.issuedAt, addressless ? vouched.email : null, vouched.name]);
    if (role === user.role) return;
    await this.record(tx, author, 'externalRoleChanged', user, [{ field: 'role', before: user.role, after: role }]);
    await announce(tx, `user:${user.id}`);
    user.role = role;
  }

  /** One session for each login at the provider. Once it was ended here, only a token issued later begins another. */
  private async open(tx: EntityManager, user: Account, vouched: Vouched, author: Author): Promise<string | null> {
    const { login, issuedAt, expiresAt } = vouched;
    const [ended] = await tx.query<unknown[]>(ENDED, [user.id, login, issuedAt]);
    if (ended) return null;
    const [[going]] = await tx.query<[{ id: string }[], number]>(GO_ON, [user.id, login, issuedAt, expiresAt]);
    if (going) return going.id;
    const id = uuidv7();
    const { address, client } = author.origin;
    // A hash of nothing that anybody knows: no refresh token belongs to it.
    await tx.query(OPEN, [id, user.id, login, issuedAt, expiresAt, randomBytes(32), address, client]);
    const actor: Actor = { userId: user.id, role: user.role, status: user.status, credential: session(id) };
    await this.record(tx, { ...author, actor }, 'externalSignIn', user);
    return id;
  }

  private record(tx: EntityManager, author: Author, action: string, user: Account, changes: FieldChange[] = []) {
    return this.around.audit.record(tx, author, {
      action,
      resource: { type: 'User', id: user.id, name: user.email },
      changes,
    });
  }
}

/** For those of whom the provider gives no address that is theirs alone. Nothing can be sent to `.invalid` (RFC 2606). */
function noAddress(issuer: string, subject: string): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([issuer, subject]))
    .digest('hex');
  return `${hash.slice(0, 16)}@no-address.invalid`;
}

const FIND = `
select id, email, role, status, removed_at as "removedAt", vouched_at as "vouchedAt", false as "isNew"
from users where issuer = $1 and subject = $2 for no key update`;

const CREATE = `
insert into users (id, email, display_name, role, status, one_time_password, created_at, issuer, subject, vouched_at)
values ($1, $2, $3, $4, 'ACTIVE', false, now(), $5, $6, $7) on conflict do nothing returning id`;

const UPDATE = `
update users u set role = $2, vouched_at = $3,
  email = case when taken or $4::text is null then email else $4 end,
  display_name = case when taken or $4::text is null then display_name else coalesce($5, display_name) end
from (select exists (select from users where email = $4 and removed_at is null) as taken) others
where u.id = $1`;

const ENDED = `
select 1 from sessions
where user_id = $1 and login = $2 and ended_at is not null and greatest(ended_at, refreshed_at) >= $3 limit 1`;

const GO_ON = `
update sessions set refreshed_at = greatest(refreshed_at, $3), expires_at = greatest(expires_at, $4)
where user_id = $1 and login = $2 and ended_at is null returning id`;

const OPEN = `
insert into sessions (id, user_id, login, created_at, refreshed_at, expires_at, refresh_token_hash, address, client)
values ($1, $2, $3, now(), $4, $5, $6, $7, $8)`;
