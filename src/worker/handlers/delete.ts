/** Deleting one or several snapshots of an instance, one after another, each with an outcome of its own. */
import type { EntityManager } from 'typeorm';
import { EngineError } from '../../engine/engine';
import { OperationErrorCode, OperationStatus, SnapshotStatus } from '../../entities/enums';
import type { OperationError, OperationItem } from '../../entities/operation';
import { Snapshot } from '../../entities/snapshot';
import { carryOut } from '../carry-out';
import { DELETE, type Known } from '../decisions';
import { isTransient, NotStarted } from '../transient';
import { isSame, type Handler, type Work } from './handler';

export const deleteSnapshots: Handler = async (work) => {
  const { items } = work.operation;
  const each = forItems(work);
  for (const item of items) if (!isFinal(item.status)) await deleteOne(each, item);
  await work.step('verify');
  const failed = items.flatMap(({ error }) => error ?? []);
  return { error: failed.length === 0 ? null : summary(failed, items.length), record: () => Promise.resolve() };
};

/** The items share one step of asking, and are looked at one by one. */
function forItems(work: Work): Work {
  let begun = false;
  const step: Work['step'] = async (name, also = {}) => {
    if (name === 'verify') return;
    await (begun ? work.note(also) : work.step(name, also));
    begun = true;
  };
  return { ...work, step };
}

async function deleteOne(work: Work, item: OperationItem): Promise<void> {
  const row = await work.read(Snapshot, item.snapshotId);
  // The name of a MISSING one may belong to another snapshot by now: only the entry goes.
  if (!row || row.status === SnapshotStatus.MISSING) return end(work, item, OperationStatus.SUCCEEDED);
  const begun = row.status === SnapshotStatus.DELETING;
  // What expires is deleted only if it still does: somebody may have thought better of it in the meantime.
  if (work.operation.input.onlyIfExpired === true && !begun && !(await work.isPast(row.expiresAt))) {
    return end(work, item, OperationStatus.CANCELLED, row);
  }
  try {
    const { verdict, error } = await remove(work, item, row, begun ? 'interrupted' : 'nothing');
    if (verdict === 'succeeded') await end(work, item, OperationStatus.SUCCEEDED);
    else await fail(work, item, error ?? stillThere(), null);
  } catch (error) {
    const cause = error instanceof NotStarted ? error.cause : error;
    if (!(cause instanceof EngineError)) throw error;
    const untouched = !begun && (error instanceof NotStarted || item.status === OperationStatus.QUEUED) ? row : null;
    if (!isTransient(cause, work.operation.attempts)) return fail(work, item, cause, untouched);
    item.status = untouched ? OperationStatus.QUEUED : item.status;
    await work.note(untouched ? { change: (tx) => putBack(tx, untouched) } : {});
    // That the engine was asked for another item must stay on record.
    throw work.operation.items.some(({ status }) => status !== OperationStatus.QUEUED) ? cause : error;
  }
}

function remove(work: Work, item: OperationItem, row: Snapshot, known: Known) {
  const { engine, signal } = work;
  const ref = work.refTo(row.name);
  return carryOut(
    work,
    {
      table: DELETE,
      look: async () => {
        const found = await engine.findSnapshot(ref, signal);
        return [!found ? 'absent' : isSame(row, found) ? 'present' : 'another', null];
      },
      begin: () => {
        item.status = OperationStatus.RUNNING;
        // From here on it may be partly gone, also after a crash: it is never restorable again.
        return { change: (tx) => setStatus(tx, row.id, 'DELETING') };
      },
      act: (started) => engine.deleteSnapshot(ref, signal, started),
    },
    known,
  );
}

/** The row goes, unless it was spared. */
async function end(work: Work, item: OperationItem, status: OperationStatus, spared?: Snapshot): Promise<void> {
  item.status = status;
  await work.note({
    change: async (tx) => {
      if (!spared) await tx.query('delete from snapshots where id = $1', [item.snapshotId]);
    },
  });
}

async function fail(work: Work, item: OperationItem, cause: EngineError, untouched: Snapshot | null): Promise<void> {
  const error = work.failure(cause, untouched ? {} : { addition: PARTLY, retryable: true });
  Object.assign(item, { status: OperationStatus.FAILED, error });
  await work.note({ change: (tx) => (untouched ? putBack(tx, untouched) : markSuspect(tx, item.snapshotId, error)) });
}

const PARTLY = 'It may be partly deleted, so it cannot be restored; delete it again.';
const stillThere = () => new EngineError('REJECTED', 'The engine reported success, but the snapshot is still there.');

const isFinal = (status: OperationStatus) => status !== OperationStatus.QUEUED && status !== OperationStatus.RUNNING;

/** Nothing was begun: the row is again what it was. */
const putBack = (tx: EntityManager, row: Snapshot) => setStatus(tx, row.id, row.status);

async function setStatus(tx: EntityManager, snapshotId: string, status: string): Promise<void> {
  await tx.query('update snapshots set status = $2 where id = $1', [snapshotId, status]);
}

async function markSuspect(tx: EntityManager, snapshotId: string, error: OperationError): Promise<void> {
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
