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
  const { row } = before;
  // What expires is deleted only if it still does: somebody may have thought better of it in the meantime.
  const spared =
    row !== null && work.operation.input.onlyIfExpired === true && !hasBegun(row) && !isPast(row.expiresAt);
  const result: Removal = row && !spared ? await removeFromEngine(work, row) : { error: null, begun: false };
  if (result.thrown) {
    if (!result.begun) await work.write((tx) => putBack(tx, row));
    throw result.thrown;
  }
  await work.write(async (tx) => {
    item.status = spared
      ? OperationStatus.CANCELLED
      : result.error
        ? OperationStatus.FAILED
        : OperationStatus.SUCCEEDED;
    item.error = result.error;
    if (spared || (result.error && !result.begun)) await putBack(tx, row);
    else if (result.error) await markSuspect(tx, item.snapshotId, result.error);
    else await tx.query('delete from snapshots where id = $1', [item.snapshotId]);
  });
}

interface Removal {
  /** Null when it is gone, by this or before. */
  error: OperationError | null;
  /** Whether anything of it may be gone. */
  begun: boolean;
  /** No answer yet: the next attempt goes on. */
  thrown?: Error;
}

async function removeFromEngine(work: Work, row: Snapshot): Promise<Removal> {
  // The name of a MISSING one may belong to another snapshot by now: only the entry goes.
  if (row.status === SnapshotStatus.MISSING) return { error: null, begun: false };
  const ref = work.refTo(row.name);
  // An earlier attempt may have begun it.
  let begun = hasBegun(row);
  try {
    const found = await work.engine.findSnapshot(ref, work.signal);
    if (!found || !isSame(row, found)) return { error: null, begun };
    await work.engine.deleteSnapshot(ref, work.signal).catch((error: unknown) => {
      begun ||= !(error instanceof EngineError && error.code === 'UNAVAILABLE');
      throw error;
    });
    begun = true;
    const left = await work.engine.findSnapshot(ref, work.signal);
    return { error: left ? work.failure(stillThere(), PARTLY) : null, begun };
  } catch (error) {
    if (error instanceof EngineError && isTransient(error, work.operation.attempts)) {
      return { error: null, begun, thrown: error };
    }
    return { error: work.failure(error, begun ? PARTLY : ''), begun };
  }
}

const PARTLY = 'It may be partly deleted, so it cannot be restored; delete it again.';
const stillThere = () => new EngineError('REJECTED', 'The engine reported success, but the snapshot is still there.');

/** An earlier attempt was at it. */
const hasBegun = (row: Snapshot) => row.status === SnapshotStatus.DELETING;

/** Nothing was begun: the row is again what it was. */
async function putBack(tx: EntityManager, row: Snapshot | null): Promise<void> {
  await tx.query('update snapshots set status = $2 where id = $1', [row?.id, row?.status]);
}

async function markSuspect(tx: EntityManager, snapshotId: string, error: OperationError): Promise<void> {
  await tx.query(`update snapshots set status = 'ERROR', error = $2 where id = $1`, [
    snapshotId,
    JSON.stringify(error),
  ]);
}

const isPast = (time: Date | null) => time !== null && time.getTime() <= Date.now();

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
