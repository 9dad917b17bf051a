/** Snapshots as their callers wish them: each wish becomes rows and an operation in one transaction; no engine is called. */
import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { Request } from '../auth/actor';
import { columnsOf, findRow, queryEntities } from '../db/rows';
import { inTransaction } from '../db/transaction';
import { OperationKind } from '../entities/enums';
import { Operation } from '../entities/operation';
import { Snapshot } from '../entities/snapshot';
import { AppError, invalidInput, notFound, UserErrorCode } from '../errors';
import { INSTANCES } from '../read/lists';
import { once } from './idempotency';
import { judgeName } from './names';
import { accept } from './operations';
import { obstacleToCreate, obstacleToDelete, obstacleToRename, obstacleToRestore } from './permissions';
import { insertPending, itemOf, named, nameTaken, visible, visibleSnapshot } from './snapshot-rows';

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
        throw invalidInput('restoreMemory', `${snapshot.name} is stateless: it holds no memory to restore.`);
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

function judgeDescription(description: string | null | undefined): void {
  if ((description?.length ?? 0) > LONGEST_DESCRIPTION)
    throw invalidInput('description', `A description has at most ${LONGEST_DESCRIPTION} characters.`);
  if (description?.includes('\0')) throw invalidInput('description', 'A description cannot hold a null character.');
}

function judgeExpiry(expiresAt: Date | null | undefined): void {
  if (expiresAt && expiresAt.getTime() <= Date.now())
    throw invalidInput('expiresAt', 'The time of expiry has passed already.');
}

function versionConflict(): AppError {
  return new AppError(UserErrorCode.VERSION_CONFLICT, 'Somebody changed this snapshot in the meantime.', {
    field: ['version'],
    remediation: 'Read it again, and give its new version.',
  });
}

/** What is absent is not even read: another change at the same moment stays. */
const UPDATE = (columns: string) => `
with s as (
  update snapshots set description = case when $3 then $4 else description end,
    expires_at = case when $5 then $6::timestamptz else expires_at end, version = version + 1
  where id = $1 and version = coalesce($2, version)
  returning *
) select ${columns} from s`;
