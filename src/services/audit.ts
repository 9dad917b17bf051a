/** Who did what: an entry in the transaction of every change, and one for what was refused. */
import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { Actor, Request } from '../auth/actor';
import type { AuditEvent, FieldChange } from '../entities/audit-event';

/** Of whom it is told: a request, also one of nobody who has signed in; or, without an actor, the system itself. */
export type Author = Omit<Request, 'actor'> & { actor: Actor | null };

export interface AuditEntry {
  /** The mutation, as the schema names it, or what the system did. */
  action: string;
  outcome?: AuditEvent['outcome'];
  /** Why it was refused or failed: the code that the caller got. */
  code?: string;
  resource?: { type: string; id: string | null; name: string | null };
  changes?: FieldChange[];
}

export class Audit {
  /** Writes an entry; with `tx` it is there if, and only if, what it tells of is. */
  async record(
    tx: EntityManager | DataSource,
    { actor, origin, correlationId }: Author,
    entry: AuditEntry,
  ): Promise<void> {
    const { action, outcome = 'SUCCEEDED', code = null, resource, changes = [] } = entry;
    await tx.query(INSERT, [
      uuidv7(),
      actor?.userId ?? null,
      actor?.role ?? null,
      actor?.credential.kind ?? null,
      actor?.credential.id ?? null,
      origin.address,
      origin.client,
      action,
      outcome,
      code,
      resource?.type ?? null,
      resource?.id ?? null,
      resource?.name ?? null,
      JSON.stringify(changes),
      correlationId,
    ]);
  }
}

const INSERT = `
insert into audit_events (id, created_at, actor_id, actor_role, credential_kind, credential_id, address, client, action, outcome,
  code, resource_type, resource_id, resource_name, changes, correlation_id)
values ($1, clock_timestamp(), $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`;
