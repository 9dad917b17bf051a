/** Deleting one or several snapshots of an instance, one after another, each with an outcome of its own. */
import type { EntityManager } from 'typeorm';
import { findRow } from '../../db/rows';
import { EngineError } from '../../engine/engine';
import { OperationErrorCode, OperationStatus, SnapshotStatus } from '../../entities/enums';
import type { OperationError, OperationItem } from '../../entities/operation';
import { Snapshot } from '../../entities/snapshot';
import { isTransient } from '../transient';
import { isSame, type Handler, type Work } from './handler';

export const deleteSnapshots: Handler = async (work) => {
  await work.step('act');
  const { items } = work.operation;
  for (const item of items) {
    if (item.status === OperationStatus.SUCCEEDED || item.status === OperationStatus.FAILED) continue;
    await deleteOne(work, item);
  }
  await work.step('verify');
  const failed = items.flatMap(({ error }) => error ?? []);
  return { error: failed.length === 0 ? null : summary(failed, items.length), record: () => Promise.resolve() };
};

async function deleteOne(work: Work, item: OperationItem): Promise<void> {
  const before: { row: Snapshot | null } = { row: null };
  await work.write(async (tx) => {
    before.row = await findRow(tx, Snapshot, item.snapshotId);
    item.status = OperationStatus.RUNNING;
    // From here on it may be partly gone, also after a crash: it is never restorable again.
    await tx.query(`update snapshots set status = 'DELETING' where id = $1 and status <> 'MISSING'`, [item.snapshotId]);
  });
  const error = before.row && (await removeFromEngine(work, before.row));
  await work.write(async (tx) => {
    item.status = error ? OperationStatus.FAILED : OperationStatus.SUCCEEDED;
    item.error = error;
    if (error) await markFailed(tx, item.snapshotId, error);
    else await tx.query('delete from snapshots where id = $1', [item.snapshotId]);
  });
}

/** Null when it is gone, by this or before. */
async function removeFromEngine(work: Work, row: Snapshot): Promise<OperationError | null> {
  // The name of a MISSING one may belong to another snapshot by now: only the entry goes.
  if (row.status === SnapshotStatus.MISSING) return null;
  const ref = work.refTo(row.name);
  try {
    const found = await work.engine.findSnapshot(ref, work.signal);
    // A suspect one never learned the engine's time for it, so there is nothing to compare.
    if (!found || (row.error === null && !isSame(row, found))) return null;
    await work.engine.deleteSnapshot(ref, work.signal);
    const left = await work.engine.findSnapshot(ref, work.signal);
    return left
      ? work.failure(new EngineError('REJECTED', 'The engine reported success, but the snapshot is still there.'))
      : null;
  } catch (error) {
    if (isTransient(error, work.operation.attempts)) throw error;
    return work.failure(error, 'It may be partly deleted, so it cannot be restored; delete it again.');
  }
}

async function markFailed(tx: EntityManager, snapshotId: string, error: OperationError): Promise<void> {
  await tx.query(`update snapshots set status = 'ERROR', error = $2 where id = $1`, [
    snapshotId,
    JSON.stringify(error),
  ]);
}

function summary(failed: OperationError[], of: number): OperationError | null {
  const [first] = failed;
  if (!first || of === 1) return first ?? null;
  return {
    ...first,
    code: failed.every(({ code }) => code === first.code) ? first.code : OperationErrorCode.ENGINE_ERROR,
    message: `${failed.length} of ${of} snapshots were not deleted: ${first.message}`,
    retryable: failed.some(({ retryable }) => retryable),
  };
}
