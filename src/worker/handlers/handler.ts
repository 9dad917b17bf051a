/** What every handler is given and answers. A handler may run twice, and be cut off anywhere. */
import type { EntityManager } from 'typeorm';
import type { EntityClass } from '../../db/rows';
import type { Engine, InstanceRef, SnapshotFacts, SnapshotRef } from '../../engine/engine';
import type { Instance } from '../../entities/instance';
import type { Operation, OperationError } from '../../entities/operation';
import type { Snapshot } from '../../entities/snapshot';
import type { Note } from '../../services/operations';
import type { Known } from '../decisions';

export interface Work {
  operation: Operation;
  instance: Instance;
  /** The operation's snapshot; null when it has none, or it is gone. */
  snapshot: Snapshot | null;
  engine: Engine;
  /** Carries the total deadline; aborted also when the process stops. */
  signal: AbortSignal;
  /** What earlier attempts left on record. */
  known: Extract<Known, 'nothing' | 'interrupted' | 'success'>;
  /** Where the instance stands, which may be elsewhere than its row says. */
  at: InstanceRef;
  refTo: (snapshotName: string) => SnapshotRef;
  /** A row as it is now. */
  read: <T extends object>(entity: EntityClass<T>, id: string) => Promise<T | null>;
  /** By the database's clock; false for null. */
  isPast: (time: Date | null) => Promise<boolean>;
  /** Ends the running step and begins the next; recorded before this resolves. */
  step: (name: 'act' | 'verify', also?: Note) => Promise<void>;
  /** Changes rows or the operation's input and items while it goes on. */
  note: (note: Note) => Promise<void>;
  /** An error as people see it; what may be asked for again by `retryOperation` can be said to be so. */
  failure: (error: unknown, more?: { addition?: string; retryable?: boolean }) => OperationError;
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
