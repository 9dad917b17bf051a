/** Giving a snapshot another name. Which of the two names exists tells how an interrupted attempt ended. */
import { EngineError } from '../../engine/engine';
import { throwIfOpen } from '../transient';
import { isSame, type Handler, type Outcome, type Work } from './handler';

export const rename: Handler = async (work) => {
  const { operation, snapshot, engine, signal } = work;
  const newName = operation.input.newName ?? '';
  const from = work.refTo(operation.snapshotName ?? '');
  const to = work.refTo(newName);
  if (work.actedBefore && (await isDone(work, newName))) return renamed(work, newName);
  const found = snapshot && (await engine.findSnapshot(from, signal));
  if (!found || !isSame(snapshot, found)) return failed(work, gone());
  if (await engine.findSnapshot(to, signal)) return failed(work, taken());
  await work.step('act');
  try {
    await engine.renameSnapshot(from, newName, signal);
  } catch (error) {
    if (await isDone(work, newName)) return renamed(work, newName);
    throwIfOpen(error, work.operation.attempts);
    return failed(work, error);
  }
  await work.step('verify');
  return (await isDone(work, newName)) ? renamed(work, newName) : failed(work, vanished());
};

async function isDone({ operation, snapshot, engine, refTo, signal }: Work, newName: string): Promise<boolean> {
  const [old, now] = [
    await engine.findSnapshot(refTo(operation.snapshotName ?? ''), signal),
    await engine.findSnapshot(refTo(newName), signal),
  ];
  return old === null && now !== null && snapshot !== null && isSame(snapshot, now);
}

function renamed({ operation }: Work, newName: string): Outcome {
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

function failed(work: Work, cause: unknown): Outcome {
  return { error: work.failure(cause), record: () => Promise.resolve() };
}

const gone = () => new EngineError('NOT_FOUND', 'The snapshot is no longer on the engine as it was.');
const taken = () => new EngineError('NAME_TAKEN', 'The engine has a snapshot of this name already.');
const vanished = () => new EngineError('REJECTED', 'The engine reported success, but the new name is not there.');
