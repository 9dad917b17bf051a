/** Deleting several snapshots at once, by wish or because their time has come: one operation per instance, an item each. */
import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { Request } from '../auth/actor';
import { asActor } from '../auth/standing';
import { columnsOf, queryEntities } from '../db/rows';
import { inTransaction } from '../db/transaction';
import { Operation } from '../entities/operation';
import { Snapshot } from '../entities/snapshot';
import { AppError, UserErrorCode } from '../errors';
import { aboutSnapshot } from './accepted';
import { bySystem, type Audit } from './audit';
import { once } from './idempotency';
import { obstacleToDelete } from './permissions';
import { visibleSnapshot } from './snapshot-rows';
import { acceptDeletion, by } from './snapshot-wishes';

export const MAX_SNAPSHOT_IDS = 100;

export interface DeleteSnapshots {
  /** The id as the caller gave it, and the row's id; null when it names no snapshot at all. */
  snapshots: { given: string; snapshotId: string | null }[];
  idempotencyKey?: string | null;
}

/** What became of one of the ids: work that was accepted, or why not. */
export interface DeletionResult {
  given: string;
  operation: Operation | null;
  errors: AppError[];
}

export interface Deletion {
  operations: Operation[];
  results: DeletionResult[];
  replayed: boolean;
}

/** What a repeat under the same idempotency key is answered from, in the order of the ids given. */
type Kept = { operationId: string | null; error: KeptError | null }[];

interface KeptError {
  code: UserErrorCode;
  message: string;
  more: { field?: string[]; remediation?: string };
  /** The operation that an INSTANCE_BUSY names. */
  busyWith: string | null;
}

export class SnapshotDeletion {
  constructor(
    private readonly db: DataSource,
    private readonly audit: Audit,
  ) {}

  /** Accepts what can be accepted; each id has its own answer. When nothing was accepted, the key stays free. */
  async deleteMany(request: Request, wish: DeleteSnapshots): Promise<Deletion> {
    if (wish.snapshots.length === 0 || wish.snapshots.length > MAX_SNAPSHOT_IDS) {
      throw new AppError(UserErrorCode.INVALID_INPUT, `Give 1 to ${MAX_SNAPSHOT_IDS} snapshots.`, {
        field: ['snapshotIds'],
      });
    }
    let results: DeletionResult[] = [];
    try {
      return await asActor(this.db, request, async (tx) => {
        const { result, replayed } = await once(tx, request, 'deleteSnapshots', wish, async () => {
          results = await this.accept(tx, request, wish);
          if (results.every(({ operation }) => operation === null)) throw new NothingAccepted();
          return results.map(toKept);
        });
        if (replayed) results = await this.replay(tx, wish, result);
        return { operations: distinct(results), results, replayed };
      });
    } catch (error) {
      if (error instanceof NothingAccepted) return { operations: [], results, replayed: false };
      throw error;
    }
  }

  /** Starts the deletion of snapshots whose time has come, on instances that are not busy; the others wait. */
  async deleteExpired(): Promise<void> {
    const due = await this.db.query<{ instanceId: string; ids: string[] }[]>(DUE);
    for (const { instanceId, ids } of due) {
      await inTransaction(this.db, async (tx) => {
        const snapshots = await queryEntities(
          tx,
          Snapshot,
          `select ${columnsOf(tx, Snapshot, 's')} from snapshots s where id = any($1) and expires_at <= now() for update`,
          [ids],
        );
        if (snapshots.length === 0) return;
        const correlationId = uuidv7();
        await acceptDeletion(tx, instanceId, snapshots, {
          actorId: null,
          correlationId,
          input: { onlyIfExpired: true },
        });
        await this.audit.record(tx, bySystem(correlationId), ...entriesOf('snapshot.expire', snapshots));
      }).catch(ignoreBusy);
    }
  }

  private async accept(tx: EntityManager, request: Request, wish: DeleteSnapshots): Promise<DeletionResult[]> {
    const results: DeletionResult[] = [];
    const wanted = new Map<string, { snapshot: Snapshot; result: DeletionResult }[]>();
    for (const { given, snapshotId } of wish.snapshots) {
      const result: DeletionResult = { given, operation: null, errors: [] };
      results.push(result);
      const snapshot = await this.judge(tx, request, snapshotId, result);
      if (snapshot) wanted.set(snapshot.instanceId, [...(wanted.get(snapshot.instanceId) ?? []), { snapshot, result }]);
    }
    // In one order everywhere, so that two requests for the same instances cannot block each other.
    for (const [instanceId, entries] of [...wanted].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const snapshots = [...new Map(entries.map(({ snapshot }) => [snapshot.id, snapshot])).values()];
      try {
        const operation = await acceptDeletion(tx, instanceId, snapshots, by(request, wish));
        for (const { result } of entries) result.operation = operation;
        await this.audit.record(tx, request, ...entriesOf('deleteSnapshots', snapshots));
      } catch (error) {
        if (!(error instanceof AppError)) throw error;
        for (const { result } of entries) result.errors.push(error);
      }
    }
    return results;
  }

  private async judge(
    tx: EntityManager,
    request: Request,
    snapshotId: string | null,
    result: DeletionResult,
  ): Promise<Snapshot | null> {
    try {
      const { snapshot, instance } = await visibleSnapshot(tx, request, snapshotId);
      const obstacle = obstacleToDelete(instance, snapshot);
      if (obstacle) throw obstacle;
      return snapshot;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      result.errors.push(error);
      return null;
    }
  }

  private async replay(tx: EntityManager, { snapshots }: DeleteSnapshots, kept: Kept): Promise<DeletionResult[]> {
    const rows = await queryEntities(
      tx,
      Operation,
      `select ${columnsOf(tx, Operation, 'o')} from operations o where id = any($1)`,
      [kept.flatMap(({ operationId, error }) => [operationId, error?.busyWith ?? null])],
    );
    const operations = new Map<string | null, Operation>(rows.map((row) => [row.id, row]));
    return snapshots.map(({ given }, index) => {
      const { operationId = null, error } = kept[index] ?? {};
      const operation = operations.get(operationId) ?? null;
      return { given, operation, errors: error ? [toError(error, operations.get(error.busyWith))] : [] };
    });
  }
}

class NothingAccepted extends Error {}

function toKept({ operation, errors: [error] }: DeletionResult): Kept[number] {
  if (!error) return { operationId: operation?.id ?? null, error: null };
  const { detail, ...more } = error.more;
  const busyWith = detail?.operation instanceof Operation ? detail.operation.id : null;
  return { operationId: null, error: { code: error.code, message: error.message, more, busyWith } };
}

function toError({ code, message, more }: KeptError, operation: Operation | undefined): AppError {
  return new AppError(code, message, operation ? { ...more, detail: { operation } } : more);
}

function distinct(results: DeletionResult[]): Operation[] {
  const all = results.flatMap(({ operation }) => (operation ? [operation] : []));
  return [...new Map(all.map((operation) => [operation.id, operation])).values()];
}

function entriesOf(action: string, snapshots: Snapshot[]) {
  return snapshots.map((snapshot) => ({ action, resource: aboutSnapshot(snapshot) }));
}

function ignoreBusy(error: unknown): void {
  if (!(error instanceof AppError)) throw error;
}

const DUE = `
select s.instance_id as "instanceId", array_agg(s.id) as ids
from snapshots s
where s.expires_at <= now() and s.status in ('AVAILABLE', 'ERROR', 'MISSING')
  and not exists (select from operations o where o.instance_id = s.instance_id and o.status in ('QUEUED', 'RUNNING'))
  -- After a failed attempt the next one waits: a snapshot that cannot be deleted must not keep the engine busy.
  and not exists (select from operations o where o.instance_id = s.instance_id and o.kind = 'SNAPSHOTS_DELETE'
    and o.status = 'FAILED' and o.actor_id is null and o.finished_at > now() - interval '10 minutes')
group by s.instance_id`;
