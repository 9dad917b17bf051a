/**
 * Bringing an instance back. The engine's generation id tells whether an interrupted restore completed the disk; without one
 * nobody can know, and a second run would discard what was written since the first.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { EntityManager } from 'typeorm';
import { EngineError } from '../../engine/engine';
import { throwIfOpen } from '../transient';
import { isSame, type Handler, type Outcome, type Work } from './handler';

const SETTLE_MS = 1000;

export const restore: Handler = async (work) => {
  const { operation, snapshot, engine, signal, facts } = work;
  const memory = operation.input.restoreMemory === true;
  if (work.actedBefore) {
    const verdict = afterInterruption(work, memory);
    if (verdict) return verdict;
  }
  const ref = work.refTo(operation.snapshotName ?? '');
  const found = snapshot && (await engine.findSnapshot(ref, signal));
  if (!found || !isSame(snapshot, found)) return ended(work, gone());
  await work.step('act', {
    input: { generationBefore: facts.generation },
    change: (tx) => setStatus(tx, operation.snapshotId, 'RESTORING'),
  });
  try {
    await engine.restoreSnapshot(ref, { memory }, signal);
  } catch (error) {
    throwIfOpen(error, work.operation.attempts);
    if (work.actedBefore && error instanceof EngineError && error.code === 'BUSY')
      return ended(work, unknown('The engine may still be at it.'));
    // A failed restore is not a no-op: the instance may be stopped, and its disk rolled back already.
    return ended(work, error, await whatIsLeft(work));
  }
  await work.step('verify');
  return ended(work, null);
};

/** What an earlier attempt came to, where that can be told; null when the same restore must simply be done again. */
function afterInterruption(work: Work, memory: boolean): Outcome | null {
  const { generationBefore } = work.operation.input;
  const { generation } = work.facts;
  if (!generationBefore || !generation) return ended(work, unknown('This engine leaves no trace by which to tell.'));
  if (generation === generationBefore) return null;
  return memory
    ? ended(work, unknown('The disk is that of the snapshot; whether its processes went on is not known.'))
    : ended(work, null);
}

/** The snapshot itself is only read by a restore: it stays good however the restore ended. */
function ended(work: Work, cause: unknown, addition = ''): Outcome {
  const record = (tx: EntityManager) => setStatus(tx, work.operation.snapshotId, 'AVAILABLE');
  return { error: cause === null ? null : work.failure(cause, addition), record };
}

async function setStatus(tx: EntityManager, snapshotId: string | null, status: string): Promise<void> {
  await tx.query(`update snapshots set status = $2 where id = $1 and status in ('AVAILABLE', 'RESTORING')`, [
    snapshotId,
    status,
  ]);
}

async function whatIsLeft({ engine, instance, facts, signal }: Work): Promise<string> {
  // For a moment the engine takes processes that could not be restored for running ones.
  await pause(SETTLE_MS, undefined, { signal }).catch(() => undefined);
  const now = await engine.findInstance(instance, signal).catch(() => null);
  if (!now) return '';
  const disk =
    now.generation === null
      ? ''
      : now.generation === facts.generation
        ? ' Its disk may be half restored.'
        : ' Its disk is that of the snapshot.';
  return `The instance is ${now.status} now.${disk}`;
}

const gone = () => new EngineError('NOT_FOUND', 'The snapshot is no longer on the engine as it was.');
const unknown = (why: string) => new EngineError('OUTCOME_UNKNOWN', `The restore was interrupted. ${why}`);
