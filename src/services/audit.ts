/** Who did what: an entry in the transaction of every change, and one for what was refused. */
import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { Actor, Request } from '../auth/actor';
import type { AuditEvent, FieldChange } from '../entities/audit-event';
import { textOf, type AuditKeys } from './audit-keys';

/**
 * Of whom it is told: a request, also one of nobody who has signed in; the person whose wish ended later, by the id alone;
 * or, without an actor, the system itself.
 */
export type Author = Omit<Request, 'actor'> & { actor: Actor | Pick<Actor, 'userId'> | null };

export interface AuditEntry {
  /** The mutation, as the schema names it, or what the system did. */
  action: string;
  outcome?: AuditEvent['outcome'];
  /** Why it was refused or failed: the code that the caller got. */
  code?: string;
  resource?: { type: string; id: string | null; name: string | null };
  changes?: FieldChange[];
}

/** Of what the system does by itself, under the id of the work that it begins or ends. */
export function bySystem(correlationId: string): Author {
  return { actor: null, correlationId, origin: { address: null, client: null } };
}

/** So many entries of one person a minute tell of what changed nothing: nobody fills a log that only grows. */
const SPARING_PER_MINUTE = 120;

/** How many such entries somebody has had in a minute, and how many were left out. */
interface Pace {
  minute: number;
  written: number;
  leftOut: number;
}

export class Audit {
  private readonly paces = new Map<string, Pace>();

  /** Without keys entries are written unsigned, and verification names them. */
  constructor(private readonly keys: AuditKeys | null) {}

  /**
   * Writes what was refused or read by somebody. Beyond so many a minute they are counted only, and their number stands in
   * an entry of its own as soon as the person asks again in a later minute.
   */
  async recordSparingly(db: DataSource, author: Request, ...entries: AuditEntry[]): Promise<void> {
    const { userId } = author.actor;
    const minute = Math.floor(Date.now() / 60_000);
    const last = this.paces.get(userId);
    const pace = last?.minute === minute ? last : { minute, written: 0, leftOut: 0 };
    this.paces.set(userId, pace);
    const taken = entries.slice(0, Math.max(0, SPARING_PER_MINUTE - pace.written));
    pace.written += taken.length;
    pace.leftOut += entries.length - taken.length;
    if (last && last !== pace && last.leftOut > 0) taken.unshift(leftOut(last.leftOut));
    await this.record(db, author, ...taken);
  }

  /** Writes an entry, or several of one request; with `tx` they are there if, and only if, what they tell of is. */
  async record(tx: EntityManager | DataSource, author: Author, ...entries: AuditEntry[]): Promise<void> {
    if (entries.length === 0) return;
    const rows = entries.map((entry) => this.row(author, entry));
    const places = rows.map((row, at) => `(${row.map((_, of) => `$${at * row.length + of + 1}`).join(', ')})`);
    await tx.query(`${INSERT} ${places.join(', ')}`, rows.flat());
  }

  private row({ actor, origin, correlationId }: Author, entry: AuditEntry): unknown[] {
    const { action, outcome = 'SUCCEEDED', code, resource, changes = [] } = entry;
    const known = actor && 'role' in actor ? actor : null;
    const said = {
      id: uuidv7(),
      // The application's clock, for what is signed must be known before it is written; the order is the chain's.
      createdAt: new Date(),
      actorId: actor?.userId ?? null,
      actorRole: known?.role ?? null,
      credentialKind: known?.credential.kind ?? null,
      credentialId: known?.credential.id ?? null,
      address: plain(origin.address),
      client: plain(origin.client),
      action: plain(action) ?? '',
      outcome,
      code: plain(code),
      resourceType: plain(resource?.type),
      resourceId: resource?.id ?? null,
      resourceName: plain(resource?.name),
      changes: JSON.stringify(changes.map(redacted)),
      correlationId: plain(correlationId) ?? '',
      keyId: this.keys?.id ?? null,
    };
    return [...Object.values(said), this.keys?.sign(textOf(said)) ?? null];
  }
}

function leftOut(count: number): AuditEntry {
  return { action: 'entries.leftOut', outcome: 'REFUSED', changes: [{ field: 'count', before: null, after: count }] };
}

/** Exactly as it will stand in the row: Postgres takes no null character, and no half of a surrogate pair. */
function plain(text: string | null | undefined): string | null {
  return text === null || text === undefined ? null : Buffer.from(text.replaceAll('\0', '\uFFFD')).toString();
}

const SECRET = /password|secret|token|hash|credential|idempotency|private|authorization/i;
const REDACTED = '[redacted]';

/** What goes by the name of a secret is not told, wherever it stands; that it changed is. */
function redacted({ field, before, after }: FieldChange): FieldChange {
  const told = (value: unknown): unknown => {
    if (value === null || value === undefined) return null;
    if (SECRET.test(field)) return REDACTED;
    const text = JSON.stringify(value, (key, inner: unknown) => (SECRET.test(key) ? REDACTED : inner));
    return JSON.parse(text) as unknown;
  };
  return { field, before: told(before), after: told(after) };
}

const INSERT = `
insert into audit_events (id, created_at, actor_id, actor_role, credential_kind, credential_id, address, client, action, outcome,
  code, resource_type, resource_id, resource_name, changes, correlation_id, key_id, mac)
values`;

/** The fields that differ, each with what it was and has become. */
export function changesOf(before: Record<string, unknown>, after: Record<string, unknown>): FieldChange[] {
  const text = (value: unknown) => JSON.stringify(value ?? null);
  return Object.keys(after)
    .filter((field) => text(before[field]) !== text(after[field]))
    .map((field) => ({ field, before: before[field] ?? null, after: after[field] ?? null }));
}
