/**
 * Whether something can be done now, and why not: the same functions refuse a mutation and fill `viewerPermissions`.
 * Roles are not their business; the schema's directives say who may.
 */
import { InstanceStatus, SnapshotStatus } from '../entities/enums';
import type { Instance } from '../entities/instance';
import type { Operation } from '../entities/operation';
import type { Snapshot } from '../entities/snapshot';
import { AppError, UserErrorCode } from '../errors';
import { canActOn } from './names';

const AT_REST = [InstanceStatus.RUNNING, InstanceStatus.STOPPED, InstanceStatus.ERROR];

/** Why no snapshot of it can be taken; null when one can. */
export function obstacleToCreate(instance: Instance, stateful: boolean): AppError | null {
  if (!AT_REST.includes(instance.status)) return wrongState(instance);
  if (!stateful) return null;
  if (instance.status !== InstanceStatus.RUNNING) {
    return new AppError(
      UserErrorCode.STATEFUL_REQUIRES_RUNNING,
      `A stateful snapshot holds the memory of running processes, and ${instance.name} is ${instance.status}.`,
      {
        field: ['stateful'],
        remediation: 'Start the instance first, or take a stateless snapshot.',
        detail: { status: instance.status },
      },
    );
  }
  if (instance.statefulObstacles.length === 0) return null;
  return new AppError(
    UserErrorCode.STATEFUL_NOT_SUPPORTED,
    `The memory of ${instance.name} cannot be captured: ${instance.statefulObstacles.join(' ')}`,
    {
      field: ['stateful'],
      remediation: 'Take a stateless snapshot, or have the instance prepared for stateful ones.',
      detail: { reasons: instance.statefulObstacles },
    },
  );
}

/** Why the instance cannot be restored at all, whichever the snapshot. */
export function obstacleToRestoreAny(instance: Instance): AppError | null {
  return AT_REST.includes(instance.status) ? null : wrongState(instance);
}

/** Why the instance cannot be brought back to this snapshot. */
export function obstacleToRestore(instance: Instance, snapshot: Snapshot): AppError | null {
  const obstacle = obstacleToRestoreAny(instance) ?? obstacleOfName(snapshot);
  if (obstacle) return obstacle;
  if (snapshot.status === SnapshotStatus.AVAILABLE) return null;
  return new AppError(
    UserErrorCode.SNAPSHOT_NOT_READY,
    `${snapshot.name} is ${snapshot.status}, and only an AVAILABLE snapshot is known to be complete.`,
    { remediation: snapshot.error?.remediation ?? 'Wait until it is AVAILABLE, or choose another snapshot.' },
  );
}

/** Why this snapshot cannot be deleted. What is gone from the engine can always be taken off the list. */
export function obstacleToDelete(instance: Instance, snapshot: Snapshot): AppError | null {
  if (snapshot.status === SnapshotStatus.MISSING || instance.status === InstanceStatus.DELETED) return null;
  return obstacleOfName(snapshot);
}

/** Why this snapshot cannot be renamed. */
export function obstacleToRename(instance: Instance, snapshot: Snapshot): AppError | null {
  if (instance.status === InstanceStatus.DELETED) return wrongState(instance);
  if (snapshot.status === SnapshotStatus.AVAILABLE) return obstacleOfName(snapshot);
  return new AppError(
    UserErrorCode.SNAPSHOT_NOT_READY,
    `${snapshot.name} is ${snapshot.status}; only an AVAILABLE snapshot can be renamed.`,
  );
}

/** One thing at a time on an instance: the engine would let two spoil each other. */
export function instanceBusy(operation: Operation): AppError {
  return new AppError(
    UserErrorCode.INSTANCE_BUSY,
    `Another operation (${operation.kind}) is at work on this instance.`,
    { remediation: 'Wait until it is done, then ask again.', detail: { operation } },
  );
}

function wrongState(instance: Instance): AppError {
  return new AppError(UserErrorCode.INSTANCE_STATE_INVALID, `${instance.name} is ${instance.status}.`, {
    remediation:
      instance.status === InstanceStatus.DELETED
        ? 'The instance is no longer on the engine.'
        : 'Wait until it is RUNNING or STOPPED, then ask again.',
  });
}

function obstacleOfName(snapshot: Snapshot): AppError | null {
  if (canActOn(snapshot.name)) return null;
  return new AppError(
    UserErrorCode.NAME_INVALID,
    'The engine cannot be asked about a snapshot of this name, which was given to it directly.',
    { remediation: 'Ask whoever runs the engine to rename or delete it there.' },
  );
}
