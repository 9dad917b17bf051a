/**
 * Taking a snapshot. It becomes AVAILABLE only when its creation was seen to succeed: engines list a half-written one
 * like any other, and restore it with Success.
 */
import type { EntityManager } from 'typeorm';
import { EngineError, type SnapshotFacts } from '../../engine/engine';
import { NotStarted, throwIfOpen } from '../transient';
import type { Handler, Outcome, Work } from './handler';

export const create: Handler = async (work) => {
  const ref = work.refTo(work.operation.snapshotName ?? '');
  const found = await work.engine.findSnapshot(ref, work.signal);
  if (found) return work.actedBefore ? suspect(work, interrupted(), found) : refused(work, taken());
  await work.step('act', { change: (tx) => setCreating(tx, work.operation.snapshotId) });
  const started = Date.now();
  try {
    await work.engine.createSnapshot(ref, { stateful: work.operation.input.stateful === true }, work.signal);
  } catch (error) {
    if (error instanceof EngineError && error.code === 'UNAVAILABLE') throw new NotStarted(error);
    const left = await work.engine.findSnapshot(ref, work.signal);
    if (left && !isRefusalOfName(error)) return suspect(work, error, left);
    // The engine may have ended only now what an earlier attempt began.
    if (left && work.actedBefore) return suspect(work, interrupted(), left);
    // Nothing is there yet. What has an unknown outcome may still come: the next attempt looks again.
    throwIfOpen(error, work.operation.attempts);
    return mayStillCome(work, error) ? suspect(work, interrupted(), null) : refused(work, error);
  }
  const seconds = (Date.now() - started) / 1000;
  await work.step('verify');
  const made = await work.engine.findSnapshot(ref, work.signal);
  return made ? available(work, made, seconds) : refused(work, vanished());
};

function available({ operation }: Work, made: SnapshotFacts, seconds: number): Outcome {
  const record = async (tx: EntityManager) => {
    await tx.query(
      `update snapshots set status = 'AVAILABLE', created_at = $2, size_bytes = $3, duration_seconds = $4,
         observed_at = now(), error = null where id = $1`,
      [operation.snapshotId, made.createdAt, made.sizeBytes ?? null, seconds],
    );
  };
  return { error: null, record };
}

/** Nothing is left on the engine: the row goes, and its name is free at once. */
function refused(work: Work, cause: unknown): Outcome {
  const record = async (tx: EntityManager) => {
    await tx.query('delete from snapshots where id = $1', [work.operation.snapshotId]);
  };
  return { error: work.failure(cause), record };
}

/** Something of that name is there (or may come) and may be half made: it stays as ERROR, is never restored, and can be deleted. */
function suspect(work: Work, cause: unknown, seen: SnapshotFacts | null): Outcome {
  const error = work.failure(cause, 'What is there under this name may be incomplete; delete it and take it again.');
  const record = async (tx: EntityManager) => {
    await tx.query(SUSPECT, [work.operation.snapshotId, JSON.stringify(error), seen?.createdAt ?? null]);
  };
  return { error, record };
}

async function setCreating(tx: EntityManager, snapshotId: string | null): Promise<void> {
  await tx.query(`update snapshots set status = 'CREATING' where id = $1`, [snapshotId]);
}

/** With the engine's time for it, by which it is known again. */
const SUSPECT = `
update snapshots set status = 'ERROR', error = $2, created_at = coalesce($3, created_at),
  observed_at = case when $3::timestamptz is null then null else now() end
where id = $1`;

/** Whether the engine may yet make what it was asked for, by this attempt or by one before. */
function mayStillCome({ actedBefore }: Work, error: unknown): boolean {
  if (!(error instanceof EngineError)) return false;
  return error.code === 'OUTCOME_UNKNOWN' || (actedBefore && error.code === 'BUSY');
}

const taken = () => new EngineError('NAME_TAKEN', 'The engine has a snapshot of this name already.');
const interrupted = () => new EngineError('OUTCOME_UNKNOWN', 'Taking the snapshot was interrupted.');
const vanished = () => new EngineError('REJECTED', 'The engine reported success, but the snapshot is not there.');

/** The snapshot that is there is somebody else's, and not half made by us. */
const isRefusalOfName = (error: unknown) => error instanceof EngineError && error.code === 'NAME_TAKEN';
