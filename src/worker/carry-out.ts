/** The one way through every kind of work: look, decide, ask the engine, look again, decide. It may be cut off anywhere. */
import { setTimeout as pause } from 'node:timers/promises';
import { EngineError } from '../engine/engine';
import type { Note } from '../services/operations';
import type { Known, Table, Verdict } from './decisions';
import type { Work } from './handlers/handler';
import { isTransient, NotStarted } from './transient';

const LOOK_AGAIN_MS = 1000;

export interface Kind<Shows extends string, Seen> {
  table: Table<Shows>;
  look: (known: Known) => Promise<readonly [Shows, Seen]>;
  /** What is recorded in the moment before the engine is asked. */
  begin: (seen: Seen) => Note;
  /** `started` is called with what the engine calls the work, when it has taken it on. */
  act: (started: (handle: string) => void) => Promise<void>;
  /** How many looks in a row must show the same after an interruption, a second apart. */
  quietLooks?: number;
}

export interface Conclusion<Seen> {
  verdict: Exclude<Verdict, 'act' | 'wait'>;
  seen: Seen;
  /** What the engine said; null when it was not asked, or said nothing. */
  error: EngineError | null;
  /** How long it worked on it; null when that was not seen from beginning to end. */
  seconds: number | null;
}

/** Brings one piece of work to its end; throws when it is to be looked at again later. */
export async function carryOut<Shows extends string, Seen>(
  work: Work,
  kind: Kind<Shows, Seen>,
  first: Known = work.known,
): Promise<Conclusion<Seen>> {
  let { known, error } = await learn(work, first);
  let seconds: number | null = null;
  let [shows, seen] = known === 'interrupted' ? await lookUntilQuiet(work, kind) : await kind.look(known);
  let verdict = kind.table[known][shows];
  if (verdict === 'act') {
    const { input, ...also } = kind.begin(seen);
    await work.step('act', { ...also, input: { ...input, handle: null } });
    const started = Date.now();
    ({ known, error } = await ask(work, kind, known));
    if (known === 'success') {
      seconds = (Date.now() - started) / 1000;
      await work.step('verify');
    }
    [shows, seen] = await kind.look(known);
    verdict = kind.table[known][shows];
  }
  if (verdict === 'wait') throw error ?? new EngineError('OUTCOME_UNKNOWN', 'The engine did not say how it ended.');
  // It was free a moment ago, and is again: whoever asks once more may have it.
  return { verdict: verdict === 'act' ? 'refused' : verdict, seen, error, seconds };
}

interface Answer {
  known: Known;
  error: EngineError | null;
}

/** What an earlier attempt gave to the engine may still be at work there, or have ended a moment ago. */
async function learn({ operation, engine, signal, step }: Work, known: Known): Promise<Answer> {
  const handle = operation.input.handle;
  if (known !== 'interrupted' || !handle) return { known, error: null };
  try {
    if (!(await engine.outcome(handle, signal))) return { known, error: null };
  } catch (error) {
    if (!(error instanceof EngineError) || error.code === 'UNAVAILABLE') throw error;
    return error.code === 'OUTCOME_UNKNOWN' ? { known, error: null } : { known: 'refusal', error };
  }
  await step('verify');
  return { known: 'success', error: null };
}

async function ask<Shows extends string, Seen>(work: Work, kind: Kind<Shows, Seen>, before: Known): Promise<Answer> {
  let noted: Promise<unknown> = Promise.resolve();
  try {
    // Kept in case this process dies; a claim that was lost shows at the next step.
    await kind.act((handle) => {
      noted = work.note({ input: { handle } }).catch(() => undefined);
    });
    return { known: 'success', error: null };
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    return { known: meaning(error, work, before), error };
  } finally {
    await noted;
  }
}

/** What the engine's error tells of the asking. Throws when nothing was started for a reason that passes. */
function meaning(error: EngineError, { operation }: Work, before: Known): Known {
  const open = isTransient(error, operation.attempts);
  if (error.code === 'OUTCOME_UNKNOWN') return open ? 'open' : 'given-up';
  if (open) throw new NotStarted(error);
  // What an earlier attempt began may be what the engine is busy with.
  if (error.code === 'BUSY' && before === 'interrupted') return 'given-up';
  // Refused because of what is there already: what was known of our own asking is all that is known.
  return error.code === 'NAME_TAKEN' ? before : 'refusal';
}

/** Helpers of an engine that died may still be writing: what it shows is believed when it stays so. */
async function lookUntilQuiet<Shows extends string, Seen>(
  { signal }: Work,
  { look, quietLooks = 2 }: Kind<Shows, Seen>,
): Promise<readonly [Shows, Seen]> {
  let last = await look('interrupted');
  for (let alike = 1; alike < quietLooks;) {
    await pause(LOOK_AGAIN_MS, undefined, { signal }).catch(() => undefined); // the look says that time is over
    const next = await look('interrupted');
    alike = next[0] === last[0] ? alike + 1 : 1;
    last = next;
  }
  return last;
}
