/** Rows of snapshots as services need them: looked up as far as they are visible, and made. */
import type { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { Request } from '../auth/actor';
import { columnsOf, findRow, queryEntities } from '../db/rows';
import { Instance } from '../entities/instance';
import { Snapshot } from '../entities/snapshot';
import { AppError, notFound, UserErrorCode } from '../errors';
import { SNAPSHOTS, type Listing } from '../read/lists';
import { byIdStatement } from '../read/statement';

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

/** A row the actor may see; NOT_FOUND otherwise. */
export async function visible<T extends object>(
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

/** The row of a snapshot that is wished for; NAME_TAKEN when the instance has one of that name. */
export async function insertPending(
  tx: EntityManager,
  { actor }: Request,
  instance: Instance,
  wish: { name: string; stateful?: boolean | null; description?: string | null; expiresAt?: Date | null },
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

/**
 * The row of a snapshot that is half made, to be taken anew: it stays the same one, as its wish is. Its error is kept, so that
 * it is as suspect as before when the work is withdrawn; time and sight of what is left tell that from another of this name.
 */
export async function takeAnew(
  tx: EntityManager,
  { actor }: Request,
  { id }: Snapshot,
  operationId: string,
): Promise<Snapshot> {
  const [snapshot] = await queryEntities(tx, Snapshot, TAKE_ANEW(columnsOf(tx, Snapshot, 's')), [
    id,
    actor.userId,
    operationId,
  ]);
  if (snapshot) return snapshot;
  throw new AppError(UserErrorCode.INSTANCE_BUSY, 'The snapshot changed a moment ago.', { remediation: 'Ask again.' });
}

/** The snapshot that bears a name within its instance. */
export async function named(tx: EntityManager, instanceId: string, name: string): Promise<Snapshot | undefined> {
  const [existing] = await queryEntities(
    tx,
    Snapshot,
    `select ${columnsOf(tx, Snapshot, 's')} from snapshots s where instance_id = $1 and name = $2 and status <> 'MISSING'`,
    [instanceId, name],
  );
  return existing;
}

/** The name is in use, and by what. */
export function nameTaken(existing: Snapshot): AppError {
  return new AppError(UserErrorCode.NAME_TAKEN, `This instance has a snapshot named ${existing.name} already.`, {
    field: ['name'],
    remediation: 'Choose another name, or delete or rename the existing snapshot.',
    detail: { existing },
  });
}

const INSERT = (columns: string) => `
with s as (
  insert into snapshots (id, instance_id, name, stateful, description, expires_at, created_by_id,
    created_by_operation_id, status, origin, created_at)
  values ($1, $2, $3, $4, $5, $6, $7, $8, 'PENDING', 'MANUAL', now())
  on conflict (instance_id, name) where status <> 'MISSING' do nothing
  returning *
) select ${columns} from s`;

const TAKE_ANEW = (columns: string) => `
with s as (
  update snapshots set status = 'PENDING', created_by_id = $2, created_by_operation_id = $3
  where id = $1 and status = 'ERROR'
  returning *
) select ${columns} from s`;
