/** One operation from claim to end: look at the instance, hand over to the kind's handler, record what came of it. */
import type { DataSource, EntityManager } from 'typeorm';
import { isDatabaseAway, patiently } from '../db/away';
import { findRow } from '../db/rows';
import { inTransaction } from '../db/transaction';
import type { EngineAway } from '../engine/breaker';
import { EngineError, type Engine, type InstanceFacts } from '../engine/engine';
import { OperationKind, OperationStatus } from '../entities/enums';
import { Instance } from '../entities/instance';
import type { Operation } from '../entities/operation';
import { Snapshot } from '../entities/snapshot';
import type { Audit } from '../services/audit';
import { beginStep, claim, ClaimLost, finish, note, release, type Claim } from '../services/operations';
import { postpone } from '../services/postponement';
import { handlers } from './handlers';
import type { Outcome, Work } from './handlers/handler';
import { recordInstance } from './observation';
import { toOperationError } from './outcome';
import { isTransient, NotStarted } from './transient';
import { mayHaveBegun, nextAttempt, untilWoken, waitsFor } from './waiting';

/** What the engine said is kept in mind so long when the database is away: engines forget it after five seconds. */
const REMEMBER_MS = 60_000;

export interface Parts {
  db: DataSource;
  engine: Engine;
  audit: Audit;
  /** Whether the engine is known to be away. */
  away?: () => EngineAway | null;
  log: (level: 'info' | 'warn' | 'error', what: object, message: string) => void;
}

/** Works on the operation unless it has ended or another job holds it. Throws only when nothing can be recorded. */
export async function runOperation(parts: Parts, operationId: string, jobId: string, stop: AbortSignal): Promise<void> {
  // Not taken up at all: hundreds of operations that wait cost the database next to nothing.
  const away = parts.away?.();
  if (away && (await postpone(parts.db, operationId, waitsFor(away), untilWoken()))) return;
  const held = await claim(parts.db, operationId, jobId);
  if (!held) return;
  try {
    const instance = await findRow(parts.db, Instance, held.operation.instanceId);
    if (!instance) throw new Error('an operation without its instance');
    const outcome = await attempt(parts, held, instance, stop);
    const facts = await parts.engine.findInstance(instance, stop).catch(() => null);
    const end = async (tx: EntityManager) => {
      await outcome.record(tx);
      if (facts?.uid === instance.uid) await recordInstance(tx, instance, facts);
      await finish(tx, held, outcome.error, parts.audit);
    };
    await patiently(stop, () => inTransaction(parts.db, end), REMEMBER_MS);
    parts.log(
      'info',
      { operation: operationId, error: outcome.error?.code, correlationId: held.operation.correlationId },
      'an operation ended',
    );
  } catch (error) {
    // To the queue this attempt has failed, which it only notes while the job is still ours: whoever holds it now goes on.
    if (error instanceof ClaimLost) throw error;
    // The job goes back into the queue; the next attempt sees the steps and looks.
    if (stop.aborted || isDatabaseAway(error)) throw error;
    await putBack(parts, held, error);
  }
}

async function attempt(parts: Parts, held: Claim, instance: Instance, signal: AbortSignal): Promise<Outcome> {
  const { db, engine } = parts;
  const { operation } = held;
  const known = recorded(operation);
  await beginStep(db, held, 'check');
  const facts = await find(engine, instance, signal);
  const failure: Work['failure'] = (error, more) => {
    report(parts, operation, error);
    return toOperationError(error, operation.correlationId, more);
  };
  if (!facts) return withoutInstance(operation, failure);
  const at = { project: facts.project, name: facts.name, uid: instance.uid };
  return handlers[operation.kind]({
    operation,
    instance,
    at,
    signal,
    known,
    failure,
    engine,
    snapshot: await findRow(db, Snapshot, operation.snapshotId),
    refTo: (name) => ({ instance: at, name }),
    read: (entity, id) => findRow(db, entity, id),
    isPast: (time) => isPast(db, time),
    step: (name, also) => patiently(signal, () => beginStep(db, held, name, also), REMEMBER_MS),
    note: (what) => patiently(signal, () => note(db, held, what), REMEMBER_MS),
  });
}

/** What earlier attempts left on record of their asking the engine. */
function recorded({ steps }: Operation): Work['known'] {
  const has = (step: string) => steps.some(({ name }) => name === step);
  return has('verify') ? 'success' : has('act') ? 'interrupted' : 'nothing';
}

function report({ log }: Parts, { id, correlationId }: Operation, error: unknown): void {
  if (error instanceof EngineError) {
    const { code, detail } = error;
    log('warn', { operation: id, correlationId, code, detail, err: error }, 'the engine refused');
  } else {
    log('error', { operation: id, correlationId, err: error }, 'an operation failed');
  }
}

async function isPast(db: DataSource, time: Date | null): Promise<boolean> {
  const [row] = await db.query<{ past: boolean | null }[]>('select $1::timestamptz <= now() as past', [time]);
  return row?.past === true;
}

/** The instance by where it was last seen, and failing that wherever it is: a rename keeps its uid. */
async function find(engine: Engine, instance: Instance, signal: AbortSignal): Promise<InstanceFacts | null> {
  const there = await engine.findInstance(instance, signal);
  if (there?.uid === instance.uid) return there;
  for await (const facts of engine.instances(signal)) if (facts.uid === instance.uid) return facts;
  return null;
}

/** The engine has no such instance any more, and with it went its snapshots: only rows are left to be deleted. */
function withoutInstance(operation: Operation, failure: Work['failure']): Outcome {
  const gone = () => failure(new EngineError('NOT_FOUND', 'The instance is no longer on the engine.'));
  const { kind, snapshotId, items } = operation;
  // A snapshot that was to be restored went with its instance; the next look says so.
  const deletes = kind === OperationKind.SNAPSHOTS_DELETE;
  const removed = items.map((item) => item.snapshotId);
  if (kind === OperationKind.SNAPSHOT_CREATE && snapshotId) removed.push(snapshotId);
  for (const item of items) item.status = OperationStatus.SUCCEEDED;
  return {
    error: deletes ? null : gone(),
    record: async (tx) => {
      await tx.query('delete from snapshots where id = any($1)', [removed]);
      await tx.query(`update snapshots set status = 'AVAILABLE' where id = $1 and status = 'RESTORING'`, [snapshotId]);
    },
  };
}

/** What could not begin or be looked at waits in the queue, and says why; what is our fault ends as INTERNAL. */
async function putBack(parts: Parts, held: Claim, error: unknown): Promise<void> {
  const { db, log } = parts;
  const { operation } = held;
  const cause = error instanceof NotStarted ? error.cause : error;
  // A check has no effect, however it ends.
  const notStarted = error instanceof NotStarted || operation.steps.at(-1)?.name === 'check';
  const transient = isTransient(cause, operation.attempts);
  const pause = transient ? await nextAttempt(db, operation, cause, notStarted) : null;
  if (pause !== null) {
    await inTransaction(db, (tx) => release(tx, held, waitsFor(cause as Error), pause, notStarted));
    return;
  }
  log('error', { operation: operation.id, err: cause }, 'an operation failed');
  const begun = mayHaveBegun(operation, notStarted);
  const failure = toOperationError(cause, operation.correlationId, begun ? {} : { addition: 'Nothing was begun.' });
  const open = operation.items.filter(({ status }) => !isFinal(status));
  for (const item of open) Object.assign(item, { status: OperationStatus.FAILED, error: failure });
  await inTransaction(db, async (tx) => {
    const touched = [operation.snapshotId, ...open.map(({ snapshotId }) => snapshotId)];
    if (begun) await tx.query(SUSPECT, [touched, JSON.stringify(failure)]);
    else await tx.query(NOT_BEGUN, [touched]);
    await finish(tx, held, failure, parts.audit);
  });
}

const isFinal = (status: OperationStatus) => status !== OperationStatus.QUEUED && status !== OperationStatus.RUNNING;

/**
 * What was to be made never was, unless it was there half made before, or others are making it; what was to be restored is
 * as it was.
 */
const NOT_BEGUN = `
with never_made as (
  delete from snapshots where id = any($1) and status in ('PENDING', 'CREATING') and error is null and origin <> 'EXTERNAL'
)
update snapshots set status = case when error is null then 'AVAILABLE' else 'ERROR' end
where id = any($1) and (status = 'RESTORING' or status in ('PENDING', 'CREATING') and error is not null)`;

/**
 * It ended in the middle of something, and nobody saw how: what was being made or deleted is suspect. What was being restored
 * is good still, for a restore only reads it. The time of what is taken anew is that of what was there before, and would make
 * what is there now another one, found as good: from here on it is known by its name alone.
 */
const SUSPECT = `
update snapshots set error = case status when 'RESTORING' then error else $2::jsonb end,
  observed_at = case when status = 'CREATING' and origin <> 'EXTERNAL' then null else observed_at end,
  status = case status when 'RESTORING' then 'AVAILABLE' else 'ERROR' end
where id = any($1) and status in ('PENDING', 'CREATING', 'DELETING', 'RESTORING')`;
