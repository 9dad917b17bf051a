/**
 * API tokens: `keyframe_<id>_<secret><checksum>`, all in lower-case hexadecimal digits (32, 40 and 8 of them), so that
 * scanners for leaked secrets find them by `\bkeyframe_[0-9a-f]{32}_[0-9a-f]{48}\b`.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { DataSource } from 'typeorm';
import { Role, type UserStatus } from '../entities/enums';
import type { Actor, Credential, Identifier } from './actor';

const PREFIX = 'keyframe_';
const FORM = /^(keyframe_([0-9a-f]{32})_([0-9a-f]{40}))([0-9a-f]{8})$/;
const SECRET_BYTES = 20;

/** A token that is not used for so long ends, for nobody would miss it but a thief. */
export const API_TOKEN_IDLE_DAYS = 365;

/**
 * A condition on the owner `u`: whom the provider no longer vouches for cannot go on by a token for ever. Tokens of the
 * provider are good for a day at most, so whoever works there is seen often enough.
 */
export const VOUCHED_FOR = `(u.issuer is null or u.vouched_at > now() - interval '7 days')`;

/**
 * A new token, and what is kept of it. A fast hash does: what it hides are 160 random bits, which nobody can guess, while a
 * password's hash has to be slow because people choose them.
 */
export function mintApiToken(id: string): { token: string; secretHash: Buffer } {
  const secret = randomBytes(SECRET_BYTES).toString('hex');
  const body = `${prefixOf(id)}_${secret}`;
  return { token: body + checksum(body), secretHash: sha256(secret) };
}

/** How a token begins, by which people tell theirs apart. */
export function prefixOf(id: string): string {
  return PREFIX + id.replaceAll('-', '');
}

/** Its id and secret; null when it is none of ours or was mistyped, which its checksum tells without a look-up. */
export function parseApiToken(token: string): { id: string; secret: string } | null {
  const [, body, digits, secret, sum] = FORM.exec(token) ?? [];
  if (!body || !digits || !secret || sum !== checksum(body)) return null;
  return { id: digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5'), secret };
}

/** Roles from the least on: who asks by a token has the lower of its own and its owner's. */
const FROM_LEAST = [Role.USER, Role.OPERATIONS, Role.ADMIN];

/** The role that may do less. */
export function lowerOf(one: Role, other: Role): Role {
  return FROM_LEAST.indexOf(one) < FROM_LEAST.indexOf(other) ? one : other;
}

interface Holder {
  id: string;
  userId: string;
  tokenRole: Role;
  role: Role;
  status: UserStatus;
  instanceIds: string[] | null;
  secondsLeft: number | null;
  secretHash: Buffer;
  unnoted: boolean;
}

/** Tells whom API tokens belong to. Each time one statement reads token and owner as they are at that moment. */
export class ApiTokenHolders implements Identifier {
  /** Ids of tokens that were used and of which that is not written yet. */
  private readonly used = new Set<string>();
  private writing = false;

  constructor(
    private readonly db: DataSource,
    private readonly onTrouble: (error: Error) => void,
  ) {}

  /** Costs the same for an unknown token, one that has ended, and a wrong secret. */
  async identify(token: string): Promise<Actor | null> {
    const given = parseApiToken(token);
    if (!given) return null;
    const holder = await this.find(given.id);
    const fits = timingSafeEqual(holder?.secretHash ?? NOTHING, sha256(given.secret));
    return holder && fits ? this.admit(holder) : null;
  }

  async current({ kind, id }: Credential): Promise<Actor | null> {
    const holder = kind === 'API_TOKEN' ? await this.find(id) : null;
    return holder && this.admit(holder);
  }

  private async find(id: string): Promise<Holder | null> {
    const [holder] = await this.db.query<Holder[]>(HOLDER, [id]);
    return holder ?? null;
  }

  private admit(holder: Holder): Actor {
    const { id, userId, status, instanceIds, secondsLeft } = holder;
    if (holder.unnoted) this.note(id);
    // By this process's clock, which need not be the database's.
    const expiresAt = secondsLeft === null ? null : new Date(Date.now() + Math.ceil(secondsLeft * 1000));
    const credential: Credential = { kind: 'API_TOKEN', id, instanceIds, expiresAt };
    return { userId, credential, role: lowerOf(holder.role, holder.tokenRole), status };
  }

  /** Nobody waits for it: what is noted meanwhile is written together, by one statement at a time. */
  private note(id: string): void {
    this.used.add(id);
    if (this.writing) return;
    this.writing = true;
    void this.write().finally(() => (this.writing = false));
  }

  private async write(): Promise<void> {
    while (this.used.size > 0) {
      const ids = [...this.used];
      this.used.clear();
      // When it fails, as while the database is away, the next use is noted.
      await this.db.query(NOTE_USE, [ids]).catch(this.onTrouble);
    }
  }
}

/** Of a token as good as it is now; an owner who is not ACTIVE, as with a one-time password, has none. */
const HOLDER = `
select t.id, t.user_id as "userId", t.role as "tokenRole", u.role, u.status, t.instance_ids as "instanceIds",
  extract(epoch from t.expires_at - now())::float8 as "secondsLeft", t.secret_hash as "secretHash",
  coalesce(t.last_used_at < now() - interval '1 minute', true) as unnoted
from api_tokens t join users u on u.id = t.user_id
where t.id = $1 and t.revoked_at is null and (t.expires_at is null or t.expires_at > now())
  and coalesce(t.last_used_at, t.created_at) > now() - interval '${API_TOKEN_IDLE_DAYS} days'
  and u.removed_at is null and u.status = 'ACTIVE' and ${VOUCHED_FOR}`;

/** What another process is writing at this moment is written by it. */
const NOTE_USE = `
update api_tokens set last_used_at = now() where id in (
  select id from api_tokens
  where id = any($1) and coalesce(last_used_at < now() - interval '1 minute', true)
  order by id for no key update skip locked)`;

const sha256 = (text: string) => createHash('sha256').update(text).digest();
const checksum = (body: string) => crc32(body).toString(16).padStart(8, '0');
const NOTHING = Buffer.alloc(32);
