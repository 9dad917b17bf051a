/** What every handler is given and answers. A handler looks, acts, and looks again; it may run twice. */
import type { EntityManager } from 'typeorm';
import type { Engine, InstanceFacts, SnapshotFacts, SnapshotRef } from '../../engine/engine';
import type { Instance } from '../../entities/instance';
import type { Operation, OperationError, OperationInput } from '../../entities/operation';
import type { Snapshot } from '../../entities/snapshot';

export interface Work {
  operation: Operation;
  instance: Instance;
  /** The operation's snapshot; null when it has none, or it is gone. */
  snapshot: Snapshot | null;
  /** The instance as the engine showed it a moment ago. */
  facts: InstanceFacts;
  engine: Engine;
  /** Carries the total deadline; aborted also when the process stops. */
  signal: AbortSignal;
  /** An earlier attempt got as far as acting, and nobody saw how that ended. */
  actedBefore: boolean;
  refTo: (snapshotName: string) => SnapshotRef;
  /** Ends the running step and begins the next, recorded (with a note, or a change of rows) before this resolves. */
  step: (
    name: 'act' | 'verify',
    also?: { input?: OperationInput; change?: (tx: EntityManager) => Promise<void> },
  ) => Promise<void>;
  /** Changes rows while the operation goes on, fenced like everything a worker writes. */
  write: (change: (tx: EntityManager) => Promise<void>) => Promise<void>;
  failure: (error: unknown, addition?: string) => OperationError;
}

export interface Outcome {
  /** Null when it succeeded. */
  error: OperationError | null;
  /** What becomes of the rows, in the transaction that ends the operation. */
  record: (tx: EntityManager) => Promise<void>;
}

export type Handler = (work: Work) => Promise<Outcome>;

/**
 * Whether what the engine shows under a row's name is the very snapshot the row is about: one that was deleted and made
 * again behind our back bears the same name, and is another.
 */
export function isSame(row: Snapshot, facts: SnapshotFacts): boolean {
  if (row.observedAt === null) return row.stateful === facts.stateful; // never seen, so its time is not the engine's
  return row.stateful === facts.stateful && row.createdAt.getTime() === facts.createdAt.getTime();
}
