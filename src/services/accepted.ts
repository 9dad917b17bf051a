/** Work that was accepted for a request, once for each idempotency key. */
import type { DataSource, EntityManager } from 'typeorm';
import type { Request } from '../auth/actor';
import { asActor } from '../auth/standing';
import { findRow } from '../db/rows';
import { Operation } from '../entities/operation';
import { Snapshot } from '../entities/snapshot';
import { once } from './idempotency';

/** What one wish became: the operation, and its snapshot unless it is about several. */
export interface Made {
  snapshot: Snapshot | null;
  operation: Operation;
}

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
  db: DataSource,
  request: Request,
  mutation: string,
  wish: { idempotencyKey?: string | null },
  work: (tx: EntityManager) => Promise<Made>,
): Promise<Accepted> {
  return asActor(db, request, async (tx) => {
    let made: Made | undefined;
    const { result, replayed } = await once(tx, request, mutation, wish, async () => {
      made = await work(tx);
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
