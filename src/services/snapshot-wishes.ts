/** What each wish for a snapshot is judged by and becomes, in the caller's transaction: asked for at first, or once again. */
import type { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { Request } from '../auth/actor';
import { OperationKind, OperationStatus } from '../entities/enums';
import type { Operation } from '../entities/operation';
import type { Snapshot } from '../entities/snapshot';
import { invalidInput } from '../errors';
import { INSTANCES } from '../read/lists';
import type { Made } from './accepted';
import { changesOf } from './audit';
import { judgeName } from './names';
import { accept, type Work } from './operations';
import { obstacleToCreate, obstacleToDelete, obstacleToRename, obstacleToRestore, refuse } from './permissions';
import { insertPending, named, nameTaken, takeAnew, visible, visibleSnapshot } from './snapshot-rows';

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

const LONGEST_DESCRIPTION = 1000;

/** The snapshot as PENDING, and the work to take it; `replaced` is the row of one that is half made, to be taken anew. */
export async function create(
  tx: EntityManager,
  request: Request,
  wish: CreateSnapshot,
  replaced: Snapshot | null = null,
): Promise<Made> {
  judgeName(wish.name);
  judgeDescription(wish.description);
  await judgeExpiry(tx, wish.expiresAt);
  const instance = await visible(tx, request, INSTANCES, wish.instanceId, 'instanceId', 'instance');
  refuse(obstacleToCreate(instance, wish.stateful === true));
  const operationId = uuidv7();
  const snapshot = replaced
    ? await takeAnew(tx, request, replaced, operationId)
    : await insertPending(tx, request, instance, wish, operationId);
  const { stateful, description, expiresAt } = snapshot;
  const operation = await accept(tx, {
    id: operationId,
    ...onSnapshot(request, wish, OperationKind.SNAPSHOT_CREATE, snapshot),
    input: {
      stateful,
      ...(description !== null && { description }),
      ...(expiresAt && { expiresAt: expiresAt.toISOString() }),
      ...(replaced && { replaces: true }),
    },
  });
  const changes = changesOf({}, { instance: instance.name, name: snapshot.name, stateful, description, expiresAt });
  return { snapshot, operation, changes };
}

/** The work to bring an instance back. */
export async function restore(tx: EntityManager, request: Request, wish: RestoreSnapshot): Promise<Made> {
  const { snapshot, instance } = await visibleSnapshot(tx, request, wish.snapshotId);
  refuse(obstacleToRestore(instance, snapshot));
  const restoreMemory = wish.restoreMemory ?? snapshot.stateful;
  if (restoreMemory && !snapshot.stateful) {
    throw invalidInput('restoreMemory', `${snapshot.name} is stateless: it holds no memory to restore.`);
  }
  const work = onSnapshot(request, wish, OperationKind.SNAPSHOT_RESTORE, snapshot);
  const input = { restoreMemory, generationBefore: instance.generation };
  const changes = changesOf({}, { restoreMemory });
  return { snapshot, operation: await accept(tx, { ...work, input }), changes };
}

/** The work to give a snapshot another name. */
export async function rename(tx: EntityManager, request: Request, wish: RenameSnapshot): Promise<Made> {
  judgeName(wish.name);
  const { snapshot, instance } = await visibleSnapshot(tx, request, wish.snapshotId);
  refuse(obstacleToRename(instance, snapshot));
  const existing = await named(tx, instance.id, wish.name);
  if (existing) throw nameTaken(existing);
  const work = onSnapshot(request, wish, OperationKind.SNAPSHOT_RENAME, snapshot);
  const operation = await accept(tx, { ...work, input: { newName: wish.name } });
  return { snapshot, operation, changes: changesOf({ name: snapshot.name }, { name: wish.name }) };
}

/** The work to delete one snapshot. */
export async function remove(tx: EntityManager, request: Request, wish: OnSnapshot): Promise<Made> {
  const { snapshot, instance } = await visibleSnapshot(tx, request, wish.snapshotId);
  refuse(obstacleToDelete(instance, snapshot));
  return { snapshot, operation: await acceptDeletion(tx, instance.id, [snapshot], by(request, wish)) };
}

/** The work to delete these snapshots of one instance. */
export function acceptDeletion(
  tx: EntityManager,
  instanceId: string,
  snapshots: Snapshot[],
  by: Pick<Work, 'actorId' | 'correlationId' | 'idempotencyKey' | 'input'>,
): Promise<Operation> {
  const [only] = snapshots;
  const one = snapshots.length === 1 && only ? { snapshotId: only.id, snapshotName: only.name } : {};
  return accept(tx, {
    kind: OperationKind.SNAPSHOTS_DELETE,
    instanceId,
    ...one,
    items: snapshots.map(({ id, name }) => ({
      snapshotId: id,
      snapshotName: name,
      status: OperationStatus.QUEUED,
      error: null,
    })),
    ...by,
  });
}

/** Who asks for work, and under which key. */
export function by({ actor, correlationId }: Request, { idempotencyKey }: { idempotencyKey?: string | null }) {
  return { actorId: actor.userId, correlationId, idempotencyKey };
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
    ...by(request, wish),
  };
}

/** Throws INVALID_INPUT for a description that cannot be kept. */
export function judgeDescription(description: string | null | undefined): void {
  if ((description?.length ?? 0) > LONGEST_DESCRIPTION)
    throw invalidInput('description', `A description has at most ${LONGEST_DESCRIPTION} characters.`);
  if (description?.includes('\0')) throw invalidInput('description', 'A description cannot hold a null character.');
}

/** Throws INVALID_INPUT for a time that has passed, by the clock that will decide when it is due. */
export async function judgeExpiry(tx: EntityManager, expiresAt: Date | null | undefined): Promise<void> {
  if (!expiresAt) return;
  const [row] = await tx.query<{ past: boolean }[]>('select $1::timestamptz <= now() as past', [expiresAt]);
  if (row?.past) throw invalidInput('expiresAt', 'The time of expiry has passed already.');
}
