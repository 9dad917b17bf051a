import { EngineError, type EngineErrorCode } from './engine';

/** What was being done when the engine answered: the same text means different things. */
export type Act = 'read' | 'create' | 'restore' | 'rename' | 'delete';

interface Rule {
  text: RegExp;
  code: EngineErrorCode;
  say: string | Partial<Record<Act, string>>;
  /** Where it applies; everywhere when absent. */
  acts?: Act[];
}

const DUMP_FAILED =
  'The memory of the instance could not be captured. It keeps running, and no snapshot was left behind. ' +
  'A snapshot of its disk alone is still possible.';
const RESTORE_FAILED =
  'The memory of the snapshot could not be restored. The disk is already back at the snapshot and the instance may ' +
  'be stopped: start it, or restore the snapshot without memory.';
const FULL = 'The storage pool is full.';

/**
 * The engine answers with texts instead of codes, so the texts are the protocol. The order matters: what is narrow
 * stands first. All of them were seen on Incus 6.0 or LXD 5.0.
 */
const RULES: Rule[] = [
  {
    text: /migration\.stateful/i,
    code: 'STATEFUL_NOT_SUPPORTED',
    say: 'The instance does not allow snapshots of its memory: set migration.stateful to true on it.',
  },
  {
    text: /stateful snapshot restore requested|snapshot is stateless/i,
    code: 'REJECTED',
    say: 'The snapshot holds no memory, so none can be restored from it.',
  },
  {
    text: /stateful snapshot\. The instance isn't running|instance (?:is not|isn't) running/i,
    code: 'STATE_INVALID',
    say: 'The instance is not running, so it has no memory to capture.',
  },
  {
    text: /no space left on device|ENOSPC|disk quota exceeded|not enough (?:free )?space|quota (?:has been )?exceeded/i,
    code: 'STORAGE_FULL',
    say: { create: FULL, restore: `${FULL} The instance may have been stopped, with its disk already restored.` },
  },
  {
    text: /doesn't allow for snapshot creation/i,
    code: 'REJECTED',
    say: 'The project does not allow snapshots (restricted.snapshots on the engine).',
  },
  {
    text: /record count doesn't match|is busy running|matching (?:non-reusable )?operation|database is locked|already running/i,
    code: 'BUSY',
    say: 'The engine is busy with another operation on this instance.',
  },
  {
    text: /UNIQUE constraint failed|already exists|already in use/i,
    code: 'NAME_TAKEN',
    say: 'The instance has a snapshot of that name already.',
    acts: ['create', 'rename'],
  },
  {
    // Incus puts "Failed taking stateful checkpoint" before the failure of a restore as well: the act decides.
    text: /stateful checkpoint|dump failed|migration failed|forkmigrate|\bcriu\b/i,
    code: 'REJECTED',
    say: { create: DUMP_FAILED, restore: RESTORE_FAILED },
    acts: ['create', 'restore'],
  },
  {
    // The last ones come from a member that could not hand the request on to the instance's own.
    text: /isn't ready yet|is not ready|shutting down|no available (?:dqlite|cowsql) leader|missing event connection|dial (?:tcp|unix).*(?:refused|timeout|no route)/i,
    code: 'UNAVAILABLE',
    say: 'The engine, or the cluster member of this instance, is not ready.',
  },
  {
    text: /^not authorized|(?:does|do) not have permissions?|certificate is restricted|forbidden/i,
    code: 'REJECTED',
    say: 'The engine says that this service is not authorized to do this.',
  },
  {
    text: /project not found/i,
    code: 'NOT_FOUND',
    say: 'The project is not on the engine.',
  },
  {
    text: /^snapshot \S+ does not exist|(?:instance|container|snapshot|operation)\S* not found|^not found$|no such object/i,
    code: 'NOT_FOUND',
    say: { create: 'The instance is no longer on the engine.', read: 'The engine has nothing of that name.' },
  },
];

const BY_STATUS: Record<number, Pick<Rule, 'code' | 'say'>> = {
  403: { code: 'REJECTED', say: 'The engine says that this service is not authorized to do this.' },
  404: { code: 'NOT_FOUND', say: { create: 'The instance is no longer on the engine.' } },
  409: { code: 'BUSY', say: 'The engine reports a conflict with something else that happens to this instance.' },
  412: { code: 'BUSY', say: 'The instance was changed on the engine at the same time.' },
  429: { code: 'UNAVAILABLE', say: 'The engine refuses more requests for now.' },
  503: { code: 'UNAVAILABLE', say: 'The engine is not ready.' },
};

const ELSE: Partial<Record<Act, string>> = { restore: 'The snapshot is no longer on the engine.' };

/** Whether a direct error means that a member handed a request on and then lost sight of it. */
export function isLostOnTheWay(status: number, text: string): boolean {
  return (
    status === 502 ||
    status === 504 ||
    /\bEOF\b|connection reset|broken pipe|read tcp|context (?:deadline|cancel)/i.test(text)
  );
}

/** The engine's own refusal, before anything was started. */
export function refusal(act: Act, status: number, text: string): EngineError {
  const found = RULES.find((rule) => rule.text.test(text) && (rule.acts?.includes(act) ?? true)) ?? BY_STATUS[status];
  return found ? make(found.code, sentence(found, act), text) : make('REJECTED', refused(text), text);
}

/**
 * How an operation that was started ended, when it ended badly. "Not ready" in the middle of one does not mean that
 * nothing happened, so it becomes OUTCOME_UNKNOWN.
 */
export function failure(act: Act, text: string): EngineError {
  const error = refusal(act, 400, text);
  return error.code === 'UNAVAILABLE' ? unknownOutcome(`The operation broke off: ${text}`) : error;
}

/** Something was started and nobody can say how it ended. */
export function unknownOutcome(detail: string, cause?: unknown): EngineError {
  return make('OUTCOME_UNKNOWN', 'The engine was given the work, but its outcome is not known.', detail, cause);
}

/** Nothing was started, and the engine did not answer. */
export function unavailable(message: string, detail?: string, cause?: unknown): EngineError {
  return make('UNAVAILABLE', message, detail, cause);
}

function make(code: EngineErrorCode, message: string, detail?: string, cause?: unknown): EngineError {
  return new EngineError(code, tidy(message), detail?.slice(0, 8_000), cause === undefined ? undefined : { cause });
}

function sentence(rule: Pick<Rule, 'code' | 'say'>, act: Act): string {
  if (typeof rule.say === 'string') return rule.say;
  const fallback: Partial<Record<EngineErrorCode, string>> = {
    NOT_FOUND: ELSE[act] ?? 'The snapshot is no longer on the engine.',
    STORAGE_FULL: FULL,
  };
  return rule.say[act] ?? fallback[rule.code] ?? 'The engine refused.';
}

function refused(text: string): string {
  return text.trim() === '' ? 'The engine refused without a reason.' : `The engine refused: ${text}`;
}

/** Engine texts name host paths and can run to tens of kilobytes: what people read is one short line without them. */
export function tidy(text: string): string {
  const line = text
    .slice(0, 4_000)
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .replace(/(^|[\s"'`(=:[<])\/[^\s"'`(),:;\]>]+/g, '$1…')
    .trim();
  // No half of a character, which no database keeps: what failed could never be recorded.
  return (line.length > 300 ? `${line.slice(0, 299)}…` : line).replace(/\p{Cs}/gu, '');
}
