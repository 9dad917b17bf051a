/** Giving a snapshot another name. Which of the two names exists tells how an interrupted attempt ended. */
import { EngineError } from '../../engine/engine';
import { carryOut } from '../carry-out';
import { RENAME } from '../decisions';
import { isSame, type Handler, type Work } from './handler';

export const rename: Handler = async (work) => {
  const { operation, engine, signal } = work;
  const newName = operation.input.newName ?? '';
  const { verdict, seen, error } = await carryOut(work, {
    table: RENAME,
    look: async () => {
      const shows = await look(work, newName);
      return [shows, shows];
    },
    begin: () => ({}),
    act: (started) => engine.renameSnapshot(work.refTo(operation.snapshotName ?? ''), newName, signal, started),
  });
  if (verdict === 'succeeded') {
    return {
      error: null,
      record: async (tx) => {
        await tx.query('update snapshots set name = $2, observed_at = now() where id = $1', [
          operation.snapshotId,
          newName,
        ]);
      },
    };
  }
  const cause = verdict === 'unknown' ? unknown() : (error ?? WHY[seen]());
  return { error: work.failure(cause), record: () => Promise.resolve() };
};

async function look({ operation, snapshot, engine, refTo, signal }: Work, newName: string): Promise<keyof typeof WHY> {
  const old = await engine.findSnapshot(refTo(operation.snapshotName ?? ''), signal);
  const now = await engine.findSnapshot(refTo(newName), signal);
  if (!snapshot) return 'gone';
  if (old && isSame(snapshot, old)) return now ? 'taken' : 'old';
  return now && isSame(snapshot, now) ? 'new' : 'gone';
}

const WHY = {
  gone: () => new EngineError('NOT_FOUND', 'The snapshot is no longer on the engine as it was.'),
  taken: () => new EngineError('NAME_TAKEN', 'The engine has a snapshot of this name already.'),
  old: () => new EngineError('REJECTED', 'The engine reported success, but the new name is not there.'),
  new: () => new EngineError('REJECTED', 'The engine refused.'),
};
const unknown = () =>
  new EngineError('OUTCOME_UNKNOWN', 'The engine was given the work, and did not say how it ended.');
