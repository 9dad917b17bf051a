import type { OperationKind } from '../../entities/enums';
import { create } from './create';
import { deleteSnapshots } from './delete';
import type { Handler } from './handler';
import { rename } from './rename';
import { restore } from './restore';

/** One handler for each kind; a new kind does not compile until it has one. */
export const handlers: Record<OperationKind, Handler> = {
  SNAPSHOT_CREATE: create,
  SNAPSHOT_RESTORE: restore,
  SNAPSHOTS_DELETE: deleteSnapshots,
  SNAPSHOT_RENAME: rename,
};
