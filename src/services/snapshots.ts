/** Snapshots as their callers wish them: each wish becomes rows and an operation in one transaction; no engine is called. */
import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { Request } from '../auth/actor';
import { announce } from '../db/events';
import { columnsOf, findRow, queryEntities } from '../db/rows';
import { inTransaction } from '../db/transaction';
import { OperationKind, OperationStatus, SnapshotStatus } from '../entities/enums';
import { Instance } from '../entities/instance';
import { Operation, type OperationItem } from '../entities/operation';
import { Snapshot } from '../entities/snapshot';
import { AppError, UserErrorCode } from '../errors';
import { INSTANCES, SNAPSHOTS, type Listing } from '../read/lists';
import { byIdStatement } from '../read/statement';
import { once } from './idempotency';
import { judgeName } from './names';
import { accept } from './operations';
import { obstacleToCreate, obstacleToDelete, obstacleToRename, obstacleToRestore } from './permissions';

export interface CreateSnapshot {
  instanceId: string | null;
  name: string;
  stateful?: boolean | null;
  description?: string | null;
  expiresAt?: Date | null;
  idempotencyKey?: string | null;
}

export interface OnSnapshot {
  snapshotId: string | null;
  idempotencyKey?: string | null;
}

export interface RestoreSnapshot extends OnSnapshot {
  restoreMemory?: boolean | null;
}

export interface RenameSnapshot extends OnSnapshot {
  name: string;
}

export interface UpdateSnapshot {
  snapshotId: string | null;
  description?: string | null;
  expiresAt?: Date | null;
  version?: number | null;
}

/** Work that was accepted, now or when the same idempotency key was first used. */
export interface Accepted {
  snapshot: Snapshot | null;
  operation: Operation | null;
  replayed: boolean;
}

const LONGEST_DESCRIPTION = 1000;

export class Snapshots {
  constructor(private readonly db: DataSource) {}

  /** Records the snapshot as PENDING and the work to take it. */
  create(request: Request, wish: CreateSnapshot): Promise<Accepted> {
    return this.accepted(request, 'createSnapshot', wish, async (tx) => {
      judgeName(wish.name);
      judgeDescription(wish.description);
      judgeExpiry(wish.expiresAt);
      const instance = await visible(tx, request, INSTANCES, wish.instanceId, 'instanceId', 'instance');
      refuse(obstacleToCreate(instance, wish.stateful === true));
      const operationId = uuidv7();
      const snapshot = await insertPending(tx, request, instance, wish, operationId);
      const operation = await accept(tx, {
        id: operationId,
        ...onSnapshot(request, wish, OperationKind.SNAPSHOT_CREATE, snapshot),
        input: { stateful: snapshot.stateful },
      });
      return { snapshot, operation };
    });
  }

  /** Records the work to bring the instance back to the snapshot, with its memory when it has one and nobody objects. */
  restore(request: Request, wish: RestoreSnapshot): Promise<Accepted> {
    return this.accepted(request, 'restoreSnapshot', wish, async (tx) => {
      const { snapshot, instance } = await visibleSnapshot(tx, request, wish.snapshotId);
      refuse(obstacleToRestore(instance, snapshot));
      const restoreMemory = wish.restoreMemory ?? snapshot.stateful;
      if (restoreMemory && !snapshot.stateful) {
        throw invalid('restoreMemory', `${snapshot.name} is stateless: it holds no memory to restore.`);
      }
      const work = onSnapshot(request, wish, OperationKind.SNAPSHOT_RESTORE, snapshot);
      return { snapshot, operation: await accept(tx, { ...work, input: { restoreMemory } }) };
    });
  }

  /** Records the work to give it another name; it keeps the old one until the engine has done so. */
  rename(request: Request, wish: RenameSnapshot): Promise<Accepted> {
    return this.accepted(request, 'renameSnapshot', wish, async (tx) => {
      judgeName(wish.name);
      const { snapshot, instance } = await visibleSnapshot(tx, request, wish.snapshotId);
      refuse(obstacleToRename(instance, snapshot));
      const existing = await named(tx, instance.id, wish.name);
      if (existing) throw nameTaken(existing);
      const work = onSnapshot(request, wish, OperationKind.SNAPSHOT_RENAME, snapshot);
      return { snapshot, operation: await accept(tx, { ...work, input: { newName: wish.name } }) };
    });
  }

  /** Records the work to delete one snapshot. */
  delete(request: Request, wish: OnSnapshot): Promise<Accepted> {
    return this.accepted(request, 'deleteSnapshot', wish, async (tx) => {
      const { snapshot, instance } = await visibleSnapshot(tx, request, wish.snapshotId);
      refuse(obstacleToDelete(instance, snapshot));
      const work = onSnapshot(request, wish, OperationKind.SNAPSHOTS_DELETE, snapshot);
      return { snapshot, operation: await accept(tx, { ...work, items: [itemOf(snapshot)] }) };
    });
  }

  /** Changes what only we know of a snapshot. Absent keeps, null clears; a version that is not the row's is refused. */
  update(request: Request, wish: UpdateSnapshot): Promise<Snapshot> {
    judgeDescription(wish.description);
    judgeExpiry(wish.expiresAt);
    return inTransaction(this.db, async (tx) => {
      const { snapshot } = await visibleSnapshot(tx, request, wish.snapshotId);
      const { version = null, description, expiresAt } = wish;
      const [updated] = await queryEntities(tx, Snapshot, UPDATE(columnsOf(tx, Snapshot, 's')), [
        snapshot.id,
        version,
        description !== undefined,
        description,
        expiresAt !== undefined,
        expiresAt,
      ]);
      if (!updated) throw version === null ? notFound('snapshotId', 'snapshot') : versionConflict();
      await announce(tx, `instance:${snapshot.instanceId}`);
      return updated;
    });
  }

  /**
   * Runs a wish once per idempotency key; a repeat answers the rows of the first time. So `work` judges the wish: what was
   * accepted once is not judged again by a later clock.
   */
  private accepted(
    request: Request,
    mutation: string,
    wish: { idempotencyKey?: string | null },
    work: (tx: EntityManager) => Promise<{ snapshot: Snapshot; operation: Operation }>,
  ): Promise<Accepted> {
    return inTransaction(this.db, async (tx) => {
      let made: { snapshot: Snapshot; operation: Operation } | undefined;
      const { result, replayed } = await once(tx, request, mutation, wish, async () => {
        made = await work(tx);
        return { snapshotId: made.snapshot.id, operationId: made.operation.id };
      });
      if (made) return { ...made, replayed };
      return {
        snapshot: await findRow(tx, Snapshot, result.snapshotId),
        operation: await findRow(tx, Operation, result.operationId),
        replayed,
      };
    });
  }
}

/** The snapshot and its instance; NOT_FOUND, in the same words, when it is hidden or missing. */
export async function visibleSnapshot(
  tx: EntityManager,
  request: Request,
  snapshotId: string | null,
): Promise<{ snapshot: Snapshot; instance: Instance }> {
  const snapshot = await visible(tx, request, SNAPSHOTS, snapshotId, 'snapshotId', 'snapshot');
  const instance = await findRow(tx, Instance, snapshot.instanceId);
  if (!instance) throw new Error('a snapshot without its instance');
  return { snapshot, instance };
}

/** One item of an operation that deletes. */
export function itemOf(snapshot: Snapshot): OperationItem {
  return { snapshotId: snapshot.id, snapshotName: snapshot.name, status: OperationStatus.QUEUED, error: null };
}

async function visible<T extends object>(
  tx: EntityManager,
  { actor }: Request,
  listing: Listing<T>,
  id: string | null,
  field: string,
  what: string,
): Promise<T> {
  const { sql, values } = byIdStatement(tx.dataSource, actor, listing, id ? [id] : []);
  const [row] = await queryEntities(tx, listing.entity, sql, values);
  if (!row) throw notFound(field, what);
  return row;
}

async function insertPending(
  tx: EntityManager,
  { actor }: Request,
  instance: Instance,
  wish: CreateSnapshot,
  operationId: string,
): Promise<Snapshot> {
  const [snapshot] = await queryEntities(tx, Snapshot, INSERT(columnsOf(tx, Snapshot, 's')), [
    uuidv7(),
    instance.id,
    wish.name,
    wish.stateful === true,
    wish.description ?? null,
    wish.expiresAt ?? null,
    actor.userId,
    operationId,
  ]);
  if (snapshot) return snapshot;
  const existing = await named(tx, instance.id, wish.name);
  if (existing) throw nameTaken(existing);
  throw new AppError(UserErrorCode.INSTANCE_BUSY, 'The name was in use a moment ago.', { remediation: 'Ask again.' });
}

async function named(tx: EntityManager, instanceId: string, name: string): Promise<Snapshot | undefined> {
  const [existing] = await queryEntities(
    tx,
    Snapshot,
    `select ${columnsOf(tx, Snapshot, 's')} from snapshots s where instance_id = $1 and name = $2 and status <> 'MISSING'`,
    [instanceId, name],
  );
  return existing;
}

function onSnapshot(
  request: Request,
  wish: { idempotencyKey?: string | null },
  kind: OperationKind,
  snapshot: Snapshot,
) {
  return {
    kind,
    instanceId: snapshot.instanceId,
    snapshotId: snapshot.id,
    snapshotName: snapshot.name,
    actorId: request.actor.userId,
    correlationId: request.correlationId,
    idempotencyKey: wish.idempotencyKey,
  };
}

function refuse(obstacle: AppError | null): void {
  if (obstacle) throw obstacle;
}

function nameTaken(existing: Snapshot): AppError {
  return new AppError(UserErrorCode.NAME_TAKEN, `This instance has a snapshot named ${existing.name} already.`, {
    field: ['name'],
    remediation: 'Choose another name, or delete or rename the existing snapshot.',
    detail: { existing },
  });
}

function judgeDescription(description: string | null | undefined): void {
  if ((description?.length ?? 0) > LONGEST_DESCRIPTION)
    throw invalid('description', `A description has at most ${LONGEST_DESCRIPTION} characters.`);
  if (description?.includes('\0')) throw invalid('description', 'A description cannot hold a null character.');
}

function judgeExpiry(expiresAt: Date | null | undefined): void {
  if (expiresAt && expiresAt.getTime() <= Date.now())
    throw invalid('expiresAt', 'The time of expiry has passed already.');
}

function notFound(field: string, what: string): AppError {
  return new AppError(UserErrorCode.NOT_FOUND, `There is no such ${what}.`, { field: [field] });
}

function versionConflict(): AppError {
  return new AppError(UserErrorCode.VERSION_CONFLICT, 'Somebody changed this snapshot in the meantime.', {
    field: ['version'],
    remediation: 'Read it again, and give its new version.',
  });
}

function invalid(field: string, message: string): AppError {
  return new AppError(UserErrorCode.INVALID_INPUT, message, { field: [field] });
}

const INSERT = (columns: string) => `
with s as (
  insert into snapshots (id, instance_id, name, stateful, description, expires_at, created_by_id,
    created_by_operation_id, status, origin, created_at)
  values ($1, $2, $3, $4, $5, $6, $7, $8, '${SnapshotStatus.PENDING}', 'MANUAL', now())
  on conflict (instance_id, name) where status <> 'MISSING' do nothing
  returning *
) select ${columns} from s`;

/** What is absent is not even read: another change at the same moment stays. */
const UPDATE = (columns: string) => `
with s as (
  update snapshots set description = case when $3 then $4 else description end,
    expires_at = case when $5 then $6::timestamptz else expires_at end, version = version + 1
  where id = $1 and version = coalesce($2, version)
  returning *
) select ${columns} from s`;
