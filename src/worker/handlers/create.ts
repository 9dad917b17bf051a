/**
 * Taking a snapshot. It becomes AVAILABLE only when its creation was seen to succeed: engines list a half-written one
 * like any other, and restore it with Success.
 */
import type { EntityManager } from 'typeorm';
import { EngineError, type SnapshotFacts } from '../../engine/engine';
import { carryOut, type Conclusion } from '../carry-out';
import { CREATE } from '../decisions';
import { isSame, type Handler, type Outcome, type Work } from './handler';

export const create: Handler = async (work) => {
  const { operation, snapshot, engine, signal } = work;
  const ref = work.refTo(operation.snapshotName ?? '');
  // What an earlier creation left half made goes first, and counts as gone until this one has begun.
  let replacing = operation.input.replaces === true && work.known === 'nothing';
  const conclusion = await carryOut(work, {
    table: CREATE,
    look: async () => {
      const found = await engine.findSnapshot(ref, signal);
      const counts = found && !(replacing && snapshot && isSame(snapshot, found));
      return [counts ? 'present' : 'absent', found];
    },
    begin: () => ({ change: (tx) => setCreating(tx, operation.snapshotId) }),
    act: async (started) => {
      const isThere = replacing;
      replacing = false;
      if (isThere) await engine.deleteSnapshot(ref, signal);
      await engine.createSnapshot(ref, { stateful: operation.input.stateful === true }, signal, started);
    },
  });
  switch (conclusion.verdict) {
    case 'succeeded':
      return available(work, conclusion);
    case 'refused':
      return refused(work, conclusion);
    default:
      return suspect(work, conclusion);
  }
};

function available({ operation }: Work, { seen, seconds }: Conclusion<SnapshotFacts | null>): Outcome {
  const record = async (tx: EntityManager) => {
    await tx.query(
      `update snapshots set status = 'AVAILABLE', created_at = $2, size_bytes = $3, duration_seconds = $4,
         observed_at = now(), error = null where id = $1`,
      [operation.snapshotId, seen?.createdAt, seen?.sizeBytes ?? null, seconds],
    );
  };
  return { error: null, record };
}

/** Nothing of ours is on the engine: the row goes, and its name is free at once. */
function refused(work: Work, { seen, error }: Conclusion<SnapshotFacts | null>): Outcome {
  const record = async (tx: EntityManager) => {
    await tx.query('delete from snapshots where id = $1', [work.operation.snapshotId]);
  };
  return { error: work.failure(error ?? (seen ? taken() : vanished())), record };
}

/** Something of that name is there (or may come) and may be half made: it stays as ERROR, and can be deleted or replaced. */
function suspect(work: Work, { seen, error }: Conclusion<SnapshotFacts | null>): Outcome {
  const failure = work.failure(error ?? interrupted(), {
    addition: 'What is there under this name may be incomplete, so it cannot be restored; delete it, or take it again.',
    retryable: true,
  });
  const record = async (tx: EntityManager) => {
    await tx.query(SUSPECT, [work.operation.snapshotId, JSON.stringify(failure), seen?.createdAt ?? null]);
  };
  return { error: failure, record };
}

async function setCreating(tx: EntityManager, snapshotId: string | null): Promise<void> {
  await tx.query(`update snapshots set status = 'CREATING' where id = $1`, [snapshotId]);
}

/** With the engine's time for it, by which it is known again. */
const SUSPECT = `
update snapshots set status = 'ERROR', error = $2, created_at = coalesce($3, created_at),
  observed_at = case when $3::timestamptz is null then null else now() end
where id = $1`;

const taken = () => new EngineError('NAME_TAKEN', 'The engine has a snapshot of this name already.');
const interrupted = () => new EngineError('OUTCOME_UNKNOWN', 'Taking the snapshot was interrupted.');
const vanished = () => new EngineError('REJECTED', 'The engine reported success, but the snapshot is not there.');
