/** Operations as their callers wish them: withdrawn while nothing was begun, or asked for once again. */
import type { DataSource, EntityManager } from 'typeorm';
import type { Request } from '../auth/actor';
import { asActor } from '../auth/standing';
import { columnsOf, findRow, queryEntities } from '../db/rows';
import { OperationKind, OperationStatus, SnapshotStatus } from '../entities/enums';
import { Instance } from '../entities/instance';
import { Operation } from '../entities/operation';
import { Snapshot } from '../entities/snapshot';
import { AppError, notFound, UserErrorCode } from '../errors';
import { OPERATIONS } from '../read/lists';
import { aboutOperation, acceptOnce, type Accepted, type Made } from './accepted';
import { changesOf, type Audit } from './audit';
import { closeSteps } from './operations';
import { isFinal, obstacleToCancel, obstacleToDelete, obstacleToRetry, refuse } from './permissions';
import { named, visible } from './snapshot-rows';
import { acceptDeletion, by, create, rename, restore } from './snapshot-wishes';

export interface CancelOperation {
  operationId: string | null;
}

export interface RetryOperation {
  operationId: string | null;
  idempotencyKey?: string | null;
}

export class Operations {
  constructor(
    readonly db: DataSource,
    readonly audit: Audit,
  ) {}

  /** Withdraws what was not begun. The lock on the row decides between this and a worker that claims it at this moment. */
  cancel(request: Request, { operationId }: CancelOperation): Promise<Operation> {
    return asActor(this.db, request, async (tx) => {
      const { id } = await visible(tx, request, OPERATIONS, operationId, 'operationId', 'operation');
      const [locked] = await queryEntities(tx, Operation, LOCK(columnsOf(tx, Operation, 'o')), [id]);
      if (!locked) throw notFound('operationId', 'operation');
      refuse(obstacleToCancel(locked));
      await withdraw(tx, locked);
      const changes = changesOf({ status: locked.status }, { status: OperationStatus.CANCELLED });
      await this.audit.record(tx, request, { action: 'cancelOperation', resource: aboutOperation(locked), changes });
      return (await findRow(tx, Operation, id)) ?? locked;
    });
  }

  /** Accepts the same wish as new work of whoever asks, judged by what is true now. */
  retry(request: Request, wish: RetryOperation): Promise<Accepted> {
    return acceptOnce(this, request, 'retryOperation', wish, async (tx) => {
      const { operationId, ...key } = wish;
      const operation = await visible(tx, request, OPERATIONS, operationId, 'operationId', 'operation');
      refuse(obstacleToRetry(operation));
      const made = await AGAIN[operation.kind](tx, request, operation, key).catch(blameOperation);
      return { ...made, about: aboutOperation(operation) };
    });
  }
}

/**
 * The row, which this transaction has locked, says that nobody holds it and nothing was begun. What was to be made goes; any
 * other snapshot is again what it was, which an attempt that could not begin may have changed.
 */
async function withdraw(tx: EntityManager, operation: Operation): Promise<void> {
  const { id, kind, snapshotId, items, steps, input } = operation;
  if (kind === OperationKind.SNAPSHOT_CREATE && input.replaces !== true) {
    await tx.query('delete from snapshots where id = $1', [snapshotId]);
  }
  await tx.query(PUT_BACK, [[snapshotId, ...items.map((item) => item.snapshotId)], ATTEMPTED[kind]]);
  await tx.query(WITHDRAW, [
    id,
    JSON.stringify(items.map((item) => (isFinal(item.status) ? item : { ...item, status: OperationStatus.CANCELLED }))),
    JSON.stringify(closeSteps(steps, OperationStatus.FAILED, new Date())),
  ]);
}

/** The statuses that an attempt at each kind gives a snapshot. */
const ATTEMPTED: Record<OperationKind, SnapshotStatus[]> = {
  SNAPSHOT_CREATE: [SnapshotStatus.PENDING, SnapshotStatus.CREATING],
  SNAPSHOT_RESTORE: [SnapshotStatus.RESTORING],
  SNAPSHOT_RENAME: [],
  SNAPSHOTS_DELETE: [SnapshotStatus.DELETING],
};

type Again = (
  tx: EntityManager,
  request: Request,
  operation: Operation,
  key: { idempotencyKey?: string | null },
) => Promise<Made>;

/** How each kind is asked for again; a new kind does not compile until it has its way. */
const AGAIN: Record<OperationKind, Again> = {
  SNAPSHOT_CREATE: async (tx, request, { id, instanceId, snapshotName, input }, key) => {
    const name = snapshotName ?? '';
    const there = await named(tx, instanceId, name);
    // Only what this very operation left half made is taken anew; anything else of this name is in the way.
    const left = there?.status === SnapshotStatus.ERROR && there.createdByOperationId === id ? there : null;
    const { stateful = false, description = null, expiresAt } = input;
    const kept = left ?? { stateful, description, expiresAt: expiresAt ? new Date(expiresAt) : null };
    return create(tx, request, { ...kept, instanceId, name, ...key }, left);
  },
  SNAPSHOT_RESTORE: (tx, request, { snapshotId, input }, key) =>
    restore(tx, request, { snapshotId, restoreMemory: input.restoreMemory ?? null, ...key }),
  SNAPSHOT_RENAME: (tx, request, { snapshotId, input }, key) =>
    rename(tx, request, { snapshotId, name: input.newName ?? '', ...key }),
  SNAPSHOTS_DELETE: async (tx, request, { instanceId, status, items, input }, key) => {
    // Those that ended as the whole did: of a deletion that failed, the ones that were not deleted.
    const open = items.filter((item) => item.status === status).map(({ snapshotId }) => snapshotId);
    const snapshots = await queryEntities(tx, Snapshot, THOSE_LEFT(columnsOf(tx, Snapshot, 's')), [open]);
    const instance = await findRow(tx, Instance, instanceId);
    if (!instance || snapshots.length === 0) throw nothingLeft();
    for (const snapshot of snapshots) refuse(obstacleToDelete(instance, snapshot));
    const ifExpired = input.onlyIfExpired === true && { input: { onlyIfExpired: true } };
    const operation = await acceptDeletion(tx, instanceId, snapshots, { ...by(request, key), ...ifExpired });
    return { snapshot: snapshots.length === 1 ? (snapshots[0] ?? null) : null, operation };
  },
};

/** Whichever value of the old wish is no good now, all that the caller gave is the operation. */
function blameOperation(error: unknown): never {
  if (!(error instanceof AppError) || !error.more.field) throw error;
  throw new AppError(error.code, error.message, { ...error.more, field: ['operationId'] });
}

function nothingLeft(): AppError {
  return new AppError(UserErrorCode.OPERATION_NOT_RETRYABLE, 'What it was to delete is gone already.', {
    field: ['operationId'],
    remediation: 'There is nothing left to do.',
  });
}

const LOCK = (columns: string) => `select ${columns} from operations o where id = $1 for update`;

/** One that carries an error is suspect; without one it was good. */
const PUT_BACK = `
update snapshots set status = case when error is null then 'AVAILABLE' else 'ERROR' end
where id = any($1) and status = any($2)`;

const WITHDRAW = `
update operations set status = 'CANCELLED', finished_at = clock_timestamp(), waiting_reason = null, items = $2, steps = $3
where id = $1`;

const THOSE_LEFT = (columns: string) =>
  `select ${columns} from snapshots s where id = any($1) order by array_position($1::uuid[], id)`;
