/** Snapshots as their callers wish them: each wish becomes rows and an operation in one transaction; no engine is called. */
import type { DataSource } from 'typeorm';
import type { Request } from '../auth/actor';
import { asActor } from '../auth/standing';
import { columnsOf, queryEntities } from '../db/rows';
import { Snapshot } from '../entities/snapshot';
import { AppError, notFound, UserErrorCode } from '../errors';
import { aboutSnapshot, acceptOnce, type Accepted } from './accepted';
import { changesOf, type Audit } from './audit';
import { visibleSnapshot } from './snapshot-rows';
import {
  create,
  judgeDescription,
  judgeExpiry,
  remove,
  rename,
  restore,
  type CreateSnapshot,
  type OnSnapshot,
  type RenameSnapshot,
  type RestoreSnapshot,
} from './snapshot-wishes';

export interface UpdateSnapshot {
  snapshotId: string | null;
  description?: string | null;
  expiresAt?: Date | null;
  version?: number | null;
}

export class Snapshots {
  constructor(
    readonly db: DataSource,
    readonly audit: Audit,
  ) {}

  /** Records the snapshot as PENDING and the work to take it. */
  create(request: Request, wish: CreateSnapshot): Promise<Accepted> {
    return acceptOnce(this, request, 'createSnapshot', wish, (tx) => create(tx, request, wish));
  }

  /** Records the work to bring the instance back to the snapshot, with its memory when it has one and nobody objects. */
  restore(request: Request, wish: RestoreSnapshot): Promise<Accepted> {
    return acceptOnce(this, request, 'restoreSnapshot', wish, (tx) => restore(tx, request, wish));
  }

  /** Records the work to give it another name; it keeps the old one until the engine has done so. */
  rename(request: Request, wish: RenameSnapshot): Promise<Accepted> {
    return acceptOnce(this, request, 'renameSnapshot', wish, (tx) => rename(tx, request, wish));
  }

  /** Records the work to delete one snapshot. */
  delete(request: Request, wish: OnSnapshot): Promise<Accepted> {
    return acceptOnce(this, request, 'deleteSnapshot', wish, (tx) => remove(tx, request, wish));
  }

  /** Changes what only we know of a snapshot. Absent keeps, null clears; a version that is not the row's is refused. */
  update(request: Request, wish: UpdateSnapshot): Promise<Snapshot> {
    judgeDescription(wish.description);
    return asActor(this.db, request, async (tx) => {
      await judgeExpiry(tx, wish.expiresAt);
      const { snapshot } = await visibleSnapshot(tx, request, wish.snapshotId);
      const { version = null, description, expiresAt } = wish;
      const [before = {}] = await tx.query<Record<string, unknown>[]>(BEFORE, [snapshot.id]);
      const [updated] = await queryEntities(tx, Snapshot, UPDATE(columnsOf(tx, Snapshot, 's')), [
        snapshot.id,
        version,
        description !== undefined,
        description,
        expiresAt !== undefined,
        expiresAt,
      ]);
      if (!updated) throw version === null ? notFound('snapshotId', 'snapshot') : versionConflict();
      const after = { description: updated.description, expiresAt: updated.expiresAt };
      const resource = aboutSnapshot(updated);
      await this.audit.record(tx, request, { action: 'updateSnapshot', resource, changes: changesOf(before, after) });
      return updated;
    });
  }
}

function versionConflict(): AppError {
  return new AppError(UserErrorCode.VERSION_CONFLICT, 'Somebody changed this snapshot in the meantime.', {
    field: ['version'],
    remediation: 'Read it again, and give its new version.',
  });
}

/** Locked, so that it is what this change changes. */
const BEFORE = 'select description, expires_at as "expiresAt" from snapshots where id = $1 for update';

/** What is absent is not even read: another change at the same moment stays. */
const UPDATE = (columns: string) => `
with s as (
  update snapshots set description = case when $3 then $4 else description end,
    expires_at = case when $5 then $6::timestamptz else expires_at end, version = version + 1
  where id = $1 and version = coalesce($2, version)
  returning *
) select ${columns} from s`;
