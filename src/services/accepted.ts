/** Work that was accepted for a request, once for each idempotency key. */
import type { DataSource, EntityManager } from 'typeorm';
import type { Request } from '../auth/actor';
import { asActor } from '../auth/standing';
import { findRow } from '../db/rows';
import type { FieldChange } from '../entities/audit-event';
import { Operation } from '../entities/operation';
import { Snapshot } from '../entities/snapshot';
import type { Audit, AuditEntry } from './audit';
import { once } from './idempotency';

/** What one wish became: the operation, and its snapshot unless it is about several. */
export interface Made {
  snapshot: Snapshot | null;
  operation: Operation;
  /** What the audit log is told of it. */
  changes?: FieldChange[];
}

type Resource = NonNullable<AuditEntry['resource']>;

/** Work that was accepted, now or when the same idempotency key was first used. */
export interface Accepted {
  snapshot: Snapshot | null;
  operation: Operation | null;
  replayed: boolean;
}

/**
 * Runs a wish once per idempotency key; a repeat answers the rows of the first time. So `work` judges the wish: what was
 * accepted once is not judged again by a later clock.
 */
export function acceptOnce(
  { db, audit }: { db: DataSource; audit: Audit },
  request: Request,
  mutation: string,
  wish: { idempotencyKey?: string | null },
  work: (tx: EntityManager) => Promise<Made & { about?: Resource }>,
): Promise<Accepted> {
  return asActor(db, request, async (tx) => {
    let made: Made | undefined;
    const { result, replayed } = await once(tx, request, mutation, wish, async () => {
      const { about, changes = [], ...rows } = await work(tx);
      made = rows;
      const resource = about ?? resourceOf(made);
      await audit.record(tx, request, { action: mutation, resource, changes });
      return { snapshotId: made.snapshot?.id ?? null, operationId: made.operation.id };
    });
    if (made) return { ...made, replayed };
    return {
      snapshot: await findRow(tx, Snapshot, result.snapshotId),
      operation: await findRow(tx, Operation, result.operationId),
      replayed,
    };
  });
}

function resourceOf({ snapshot, operation }: Made): Resource {
  return snapshot ? aboutSnapshot(snapshot) : aboutOperation(operation);
}

/** A snapshot as the audit log names it. */
export function aboutSnapshot({ id, name }: Snapshot): Resource {
  return { type: 'Snapshot', id, name };
}

/** An operation as the audit log names it: by its snapshot, when it has one. */
export function aboutOperation({ id, snapshotName }: Operation): Resource {
  return { type: 'Operation', id, name: snapshotName };
}
