/**
 * Bringing an instance back. The engine's generation id tells whether an interrupted restore completed the disk; without one
 * nobody can know, and a second run would discard what was written since the first.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { EntityManager } from 'typeorm';
import { EngineError, type InstanceFacts } from '../../engine/engine';
import { SnapshotStatus } from '../../entities/enums';
import type { Snapshot } from '../../entities/snapshot';
import { carryOut, type Conclusion } from '../carry-out';
import { RESTORE, RESTORE_MEMORY, type Known } from '../decisions';
import { isSame, type Handler, type Outcome, type Work } from './handler';

const SETTLE_MS = 1000;
/** Copying helpers of a dead engine write on without a trace; a second copy beside theirs is begun as late as is bearable. */
const QUIET_LOOKS = 3;

export const restore: Handler = async (work) => {
  const { operation, instance, engine, signal } = work;
  const memory = operation.input.restoreMemory === true;
  const ref = work.refTo(operation.snapshotName ?? '');
  const conclusion = await carryOut(work, {
    table: memory ? RESTORE_MEMORY : RESTORE,
    quietLooks: QUIET_LOOKS,
    look: (known) => look(work, known),
    begin: ({ generation, status }) => ({
      input: { generationBefore: generation, ranBefore: ranBefore(work) ?? status === 'RUNNING' },
      change: (tx) => setStatus(tx, operation.snapshotId, 'RESTORING'),
    }),
    act: async (started) => {
      try {
        await engine.restoreSnapshot(ref, { memory }, signal, started);
      } catch (error) {
        // For a moment the engine takes processes that could not be restored for running ones.
        if (memory) await pause(SETTLE_MS, undefined, { signal }).catch(() => undefined);
        throw error;
      }
    },
  });
  return ended(work, instance.name, conclusion);
};

async function look(work: Work, known: Known): Promise<readonly [keyof typeof RESTORE.nothing, InstanceFacts]> {
  const { operation, snapshot, engine, signal, refTo, at } = work;
  const facts = await engine.findInstance(at, signal);
  if (facts?.uid !== at.uid) throw new EngineError('NOT_FOUND', 'The instance is no longer on the engine.');
  const { generationBefore = null } = operation.input;
  const isTold = generationBefore !== null && facts.generation !== null;
  if (isTold && facts.generation !== generationBefore) return ['changed', facts];
  if (known === 'nothing' || known === 'interrupted') {
    const found = snapshot && (await engine.findSnapshot(refTo(operation.snapshotName ?? ''), signal));
    if (!found || !isSame(snapshot, found) || !isWhole(snapshot)) return ['gone', facts];
  }
  return [isTold ? 'unchanged' : 'untold', facts];
}

/** Judged anew: between a look at the row and the acceptance of this restore, a deletion may have failed half-way. */
const isWhole = ({ status }: Snapshot) => status === SnapshotStatus.AVAILABLE || status === SnapshotStatus.RESTORING;

/** The snapshot itself is only read by a restore: it stays good however the restore ended. */
function ended(work: Work, name: string, { verdict, seen, error }: Conclusion<InstanceFacts>): Outcome {
  const record = async (tx: EntityManager) => {
    await setStatus(tx, work.operation.snapshotId, 'AVAILABLE');
    // By which the next restore is judged, also when the instance cannot be looked at any more in the end.
    await tx.query('update instances set generation = $2 where id = $1', [work.instance.id, seen.generation]);
  };
  if (verdict === 'succeeded' && ranBefore(work) === true && seen.status === 'STOPPED') {
    return { error: work.failure(leftStopped(name), { addition: diskOf(work, seen) }), record };
  }
  if (verdict === 'succeeded') return { error: null, record };
  const asked = work.operation.steps.some(({ name: step }) => step === 'act');
  // A failed restore is not a no-op: the instance may be stopped, and its disk rolled back already.
  const addition = asked ? `${name} is ${seen.status} now. ${diskOf(work, seen)}` : '';
  const cause = verdict === 'unknown' ? unknown(asked) : (error ?? (asked ? vanished() : gone()));
  return { error: work.failure(cause, { addition }), record };
}

/** Engines stop an instance first and start it last. One that finds it stopped by a restore that was cut off leaves it so. */
function ranBefore({ known, operation }: Work): boolean | undefined {
  return known === 'nothing' ? undefined : operation.input.ranBefore;
}

function diskOf({ operation }: Work, { generation }: InstanceFacts): string {
  const { generationBefore } = operation.input;
  if (!generation || !generationBefore) return 'This engine leaves no trace that tells whether its disk was restored.';
  return generation === generationBefore ? 'Its disk may be half restored.' : 'Its disk is that of the snapshot.';
}

async function setStatus(tx: EntityManager, snapshotId: string | null, status: string): Promise<void> {
  await tx.query(`update snapshots set status = $2 where id = $1 and status in ('AVAILABLE', 'RESTORING')`, [
    snapshotId,
    status,
  ]);
}

const leftStopped = (name: string) =>
  new EngineError('STATE_INVALID', `${name} ran before, and is STOPPED now: the restore was cut off in between.`);
const gone = () => new EngineError('NOT_FOUND', 'The snapshot is no longer on the engine as it was.');
const vanished = () => new EngineError('REJECTED', 'The engine reported success, but did not restore the instance.');
const unknown = (asked: boolean) =>
  new EngineError(
    'OUTCOME_UNKNOWN',
    asked
      ? 'The restore was interrupted, and how it ended cannot be known.'
      : 'The instance was restored since this was asked for, perhaps by this very operation. Nothing was done now.',
  );
