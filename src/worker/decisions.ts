/**
 * How an operation goes on: what the engine shows × what is known of our asking it → a verdict. One table per kind, with
 * every case in it. An instance that is gone from the engine is judged before, in run.ts.
 */

/** What is known of our having asked the engine. */
export type Known =
  /** It was never asked. */
  | 'nothing'
  /** An earlier attempt asked it, and nobody saw the end. */
  | 'interrupted'
  /** It said that it is done. */
  | 'success'
  /** It said no, or that it failed. */
  | 'refusal'
  /** It was asked just now, and did not say how it ended. */
  | 'open'
  /** That is still so after all our patience. */
  | 'given-up';

export type Verdict =
  /** Ask the engine: it was not asked, or asking again does what the first time should have done. */
  | 'act'
  | 'succeeded'
  /** It failed, and nothing of it is there. */
  | 'refused'
  /** It failed, and what is there may be half made or half deleted: never to be restored. */
  | 'suspect'
  /** Nobody can know; a person must look. */
  | 'unknown'
  /** Look again later. */
  | 'wait';

export type Table<Shows extends string> = Readonly<Record<Known, Readonly<Record<Shows, Verdict>>>>;

/** Taking a snapshot: whether one of its name is there. Engines list a half-written one like any other. */
export const CREATE: Table<'absent' | 'present'> = {
  nothing: { absent: 'act', present: 'refused' },
  interrupted: { absent: 'act', present: 'suspect' },
  success: { absent: 'refused', present: 'succeeded' },
  refusal: { absent: 'refused', present: 'suspect' },
  open: { absent: 'wait', present: 'suspect' },
  'given-up': { absent: 'suspect', present: 'suspect' },
};

/**
 * Bringing an instance back: whether its generation id is another than before, which tells that the disk is restored.
 * Untold: the engine has no such id. Gone: the disk is not restored, and the snapshot is not there any more. Changed before
 * we asked: restored by somebody else, or by us in a time that this database, brought back from a backup, knows nothing of.
 */
export const RESTORE: Table<'unchanged' | 'changed' | 'untold' | 'gone'> = {
  nothing: { unchanged: 'act', changed: 'unknown', untold: 'act', gone: 'refused' },
  interrupted: { unchanged: 'act', changed: 'succeeded', untold: 'unknown', gone: 'unknown' },
  success: { unchanged: 'refused', changed: 'succeeded', untold: 'succeeded', gone: 'refused' },
  refusal: { unchanged: 'refused', changed: 'refused', untold: 'refused', gone: 'refused' },
  open: { unchanged: 'wait', changed: 'wait', untold: 'wait', gone: 'wait' },
  'given-up': { unchanged: 'unknown', changed: 'unknown', untold: 'unknown', gone: 'unknown' },
};

/** With memory: the id tells of the disk alone, and nothing whether the processes went on. */
export const RESTORE_MEMORY: typeof RESTORE = {
  ...RESTORE,
  interrupted: { ...RESTORE.interrupted, changed: 'unknown' },
};

/** Deleting a snapshot: whether it is there, or another under its name, which is none of our business. */
export const DELETE: Table<'absent' | 'present' | 'another'> = {
  nothing: { absent: 'succeeded', present: 'act', another: 'succeeded' },
  interrupted: { absent: 'succeeded', present: 'act', another: 'succeeded' },
  success: { absent: 'succeeded', present: 'suspect', another: 'succeeded' },
  refusal: { absent: 'succeeded', present: 'suspect', another: 'succeeded' },
  open: { absent: 'succeeded', present: 'wait', another: 'succeeded' },
  'given-up': { absent: 'succeeded', present: 'suspect', another: 'succeeded' },
};

/** Renaming a snapshot: under which of the two names it is. Taken: still under the old, and another has the new. */
export const RENAME: Table<'old' | 'new' | 'taken' | 'gone'> = {
  nothing: { old: 'act', new: 'succeeded', taken: 'refused', gone: 'refused' },
  interrupted: { old: 'act', new: 'succeeded', taken: 'refused', gone: 'refused' },
  success: { old: 'refused', new: 'succeeded', taken: 'refused', gone: 'refused' },
  refusal: { old: 'refused', new: 'succeeded', taken: 'refused', gone: 'refused' },
  open: { old: 'wait', new: 'succeeded', taken: 'wait', gone: 'wait' },
  'given-up': { old: 'unknown', new: 'succeeded', taken: 'unknown', gone: 'unknown' },
};
