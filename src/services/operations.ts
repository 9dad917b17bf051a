/**
 * Work from acceptance to outcome. The Operation row is the truth; a job in the queue is only a claim on it, and every
 * write of a worker is fenced by the claim it holds.
 */
import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { columnsOf, queryEntities, toEntity } from '../db/rows';
import { inTransaction } from '../db/transaction';
import { OperationStatus, type OperationKind } from '../entities/enums';
import {
  Operation,
  type OperationError,
  type OperationInput,
  type OperationItem,
  type OperationStep,
} from '../entities/operation';
import { bySystem, changesOf, type Audit } from './audit';
import { instanceBusy } from './permissions';

export interface Work {
  /** Given when another row of the same transaction names the operation before it is there. */
  id?: string;
  kind: OperationKind;
  instanceId: string;
  snapshotId?: string;
  snapshotName?: string;
  input?: OperationInput;
  items?: OperationItem[];
  /** Null for what the system does by itself. */
  actorId: string | null;
  correlationId: string;
  idempotencyKey?: string | null | undefined;
}

/** A worker's hold on an operation. `operation` is kept as the row is. */
export interface Claim {
  operation: Operation;
  token: string;
  /** By the database's clock. */
  now: () => Date;
}

/** What is written down of an operation that goes on, with a change of other rows at the same moment. */
export interface Note {
  input?: OperationInput;
  change?: (tx: EntityManager) => Promise<void>;
}

/** Another worker holds the operation now, or it has ended: stop, and change nothing. */
export class ClaimLost extends Error {
  constructor() {
    super('the claim on this operation was lost');
    this.name = 'ClaimLost';
  }
}

/** Records the work and its job in the caller's transaction. Throws INSTANCE_BUSY when other work is unfinished. */
export async function accept(tx: EntityManager, work: Work): Promise<Operation> {
  const [operation] = await queryEntities(tx, Operation, INSERT(columnsOf(tx, Operation, 'o')), [
    work.id ?? uuidv7(),
    work.kind,
    work.instanceId,
    work.snapshotId ?? null,
    work.snapshotName ?? null,
    JSON.stringify(work.input ?? {}),
    JSON.stringify(work.items ?? []),
    work.actorId,
    work.idempotencyKey ?? null,
    work.correlationId,
  ]);
  if (!operation) throw instanceBusy(await unfinished(tx, work.instanceId));
  return operation;
}

/** A worker takes the operation up; null when it has ended or another job holds it. */
export async function claim(db: DataSource, operationId: string, jobId: string): Promise<Claim | null> {
  const columns = columnsOf(db, Operation, 'o');
  const [claimed] = await db.query<{ at: Date }[]>(CLAIM(columns), [operationId, jobId]);
  if (!claimed) return null;
  const { at, ...row } = claimed;
  const operation = toEntity(Operation, row);
  const ahead = at.getTime() - Date.now();
  return { operation, token: operation.attemptToken ?? '', now: () => new Date(Date.now() + ahead) };
}

/** Ends the running step and begins the next. */
export async function beginStep(db: DataSource, held: Claim, name: string, also: Note = {}): Promise<void> {
  const { operation } = held;
  const now = held.now();
  // A step that is still running when the operation is checked anew was cut off.
  const ended = name === 'check' ? OperationStatus.FAILED : OperationStatus.SUCCEEDED;
  const before = closeSteps(operation.steps, ended, now);
  const steps = [...before, { name, status: OperationStatus.RUNNING, startedAt: now, finishedAt: null }];
  await note(db, held, also, steps);
  operation.steps = steps; // not before it is written: who could not write it tries again
}

/** Writes down how far the operation is: its steps, items and input. */
export async function note(
  db: DataSource,
  held: Claim,
  { input, change }: Note,
  steps = held.operation.steps,
): Promise<void> {
  const { operation } = held;
  operation.input = { ...operation.input, ...input };
  await inTransaction(db, async (tx) => {
    await change?.(tx);
    await write(tx, held, { steps, items: operation.items, input: operation.input });
  });
}

/**
 * Puts the operation back into the queue; it is taken up again after a pause. When its running step was `notStarted` the step
 * goes: a step that is there later tells that it may have had an effect.
 */
export async function release(
  tx: EntityManager,
  held: Claim,
  reason: string,
  afterSeconds: number,
  notStarted: boolean,
): Promise<void> {
  const { steps: all } = held.operation;
  const steps = notStarted
    ? all.filter(({ status }) => status !== OperationStatus.RUNNING)
    : closeSteps(all, OperationStatus.FAILED, held.now());
  const { input, attempts } = held.operation;
  const status = OperationStatus.QUEUED;
  await write(tx, held, { status, waiting_reason: reason, attempt_token: null, steps, input, attempts });
  await tx.query(
    `select graphile_worker.add_job('operation', json_build_object('id', $1::text), run_at := now() + $2 * interval '1 second')`,
    [held.operation.id, afterSeconds],
  );
}

/**
 * Puts unfinished operations back into the queue that no job will end; gives how many. `ours` are the holders under which
 * this process locks jobs, `running` the jobs it is really at.
 */
export async function requeueOrphans(db: DataSource, ours: string[], running: string[]): Promise<number> {
  const requeued = await db.query<unknown[]>(REQUEUE_ORPHANS, [ours, running]);
  return requeued.length;
}

/** Records how it ended. The caller records in the same transaction what became of the snapshot. */
export async function finish(
  tx: EntityManager,
  held: Claim,
  error: OperationError | null,
  audit: Audit,
): Promise<void> {
  const status = error ? OperationStatus.FAILED : OperationStatus.SUCCEEDED;
  const { items } = held.operation;
  await write(
    tx,
    held,
    {
      status,
      error,
      items,
      steps: closeSteps(held.operation.steps, status, held.now()),
      waiting_reason: null,
    },
    'finished_at = clock_timestamp()', // not before its last step, which ended since this transaction began
  );
  const { id, kind, snapshotName, actorId, correlationId } = held.operation;
  const author = { ...bySystem(correlationId), actor: actorId === null ? null : { userId: actorId } };
  await audit.record(tx, author, {
    action: 'operation.end',
    resource: { type: 'Operation', id, name: snapshotName },
    changes: changesOf({ status: OperationStatus.RUNNING }, { kind, status }),
    ...(error && { outcome: 'FAILED', code: error.code }),
  });
}

/** Changes columns of a held operation; throws ClaimLost (which undoes the transaction) when it is not held any more. */
async function write(
  tx: EntityManager,
  held: Claim,
  changes: Record<string, unknown>,
  ...more: string[]
): Promise<void> {
  const names = Object.keys(changes);
  const values = Object.values(changes).map((value) => (isJson(value) ? JSON.stringify(value) : value));
  const set = [...names.map((name, index) => `${name} = $${index + 3}`), ...more].join(', ');
  const [, count] = await tx.query<[unknown, number]>(
    `update operations set ${set} where id = $1 and attempt_token = $2 and finished_at is null`,
    [held.operation.id, held.token, ...values],
  );
  if (count !== 1) throw new ClaimLost();
}

async function unfinished(tx: EntityManager, instanceId: string): Promise<Operation> {
  const [operation] = await queryEntities(
    tx,
    Operation,
    `select ${columnsOf(tx, Operation, 'o')} from operations o where instance_id = $1 order by created_at desc, id desc limit 1`,
    [instanceId],
  );
  if (!operation) throw new Error('an instance was busy with an operation that is not there');
  return operation;
}

/** The steps with the one that still runs ended. */
export function closeSteps(steps: OperationStep[], status: OperationStatus, now: Date): OperationStep[] {
  return steps.map((step) => (step.finishedAt ? step : { ...step, status, finishedAt: now }));
}

const isJson = (value: unknown) => typeof value === 'object' && value !== null && !(value instanceof Date);

const INSERT = (columns: string) => `
with o as (
  insert into operations (id, kind, status, instance_id, snapshot_id, snapshot_name, input, items, actor_id,
    idempotency_key, correlation_id, created_at)
  values ($1, $2, 'QUEUED', $3, $4, $5, $6, $7, $8, $9, $10, now())
  on conflict (instance_id) where status in ('QUEUED', 'RUNNING') do nothing
  returning *
), enqueued as (
  select graphile_worker.add_job('operation', json_build_object('id', id)) from o
) select ${columns} from o, enqueued`;

const CLAIM = (columns: string) => `
with o as (
  update operations set status = 'RUNNING', attempts = attempts + 1, waiting_reason = null,
    attempt_token = $2 || ':' || (attempts + 1), started_at = coalesce(started_at, now())
  where id = $1 and (status = 'QUEUED' or status = 'RUNNING' and starts_with(attempt_token, $2 || ':'))
  returning *
) select ${columns}, clock_timestamp() as at from o`;

/**
 * A job stays until its operation was worked on. It never comes up again when it has failed too often, or when this process
 * locked it and could not give it back, as when the database was away at that moment.
 */
const REQUEUE_ORPHANS = `
with orphans as (
  update operations o set status = 'QUEUED', attempt_token = null
  where status in ('QUEUED', 'RUNNING') and created_at < now() - interval '10 seconds'
    and not exists (select from graphile_worker._private_jobs j
      where j.payload ->> 'id' = o.id::text
        and (j.locked_at is null and j.attempts < j.max_attempts
          or j.locked_by <> all($1) or j.id = any($2::bigint[]) or j.locked_at > now() - interval '5 seconds'))
  returning id
)
select graphile_worker.add_job('operation', json_build_object('id', id), job_key := 'again ' || id) from orphans`;
