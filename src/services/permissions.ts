/**
 * Whether something can be done now, and why not: the same functions refuse a mutation and fill `viewerPermissions`.
 * Roles are not their business; the schema's directives say who may.
 */
import { InstanceStatus, OperationStatus, SnapshotStatus } from '../entities/enums';
import type { Instance } from '../entities/instance';
import type { Operation } from '../entities/operation';
import type { Snapshot } from '../entities/snapshot';
import { AppError, UserErrorCode } from '../errors';
import { canActOn } from './names';

/** Throws what stands in the way. */
export function refuse(obstacle: AppError | null): void {
  if (obstacle) throw obstacle;
}

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
  // One that is being taken anew still holds the error that it had.
  const remediation = snapshot.status === SnapshotStatus.ERROR ? snapshot.error?.remediation : null;
  return new AppError(
    UserErrorCode.SNAPSHOT_NOT_READY,
    `${snapshot.name} is ${snapshot.status}, and only an AVAILABLE snapshot is known to be complete.`,
    { remediation: remediation ?? 'Wait until it is AVAILABLE, or choose another snapshot.' },
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

/** Why an operation cannot be withdrawn any more. A step `act` tells that the engine was asked, or is about to be. */
export function obstacleToCancel({ status, steps }: Operation): AppError | null {
  const because = (message: string, remediation?: string) =>
    new AppError(UserErrorCode.OPERATION_NOT_CANCELLABLE, message, {
      field: ['operationId'],
      ...(remediation && { remediation }),
    });
  if (isFinal(status)) return because(`It has ended already: it is ${status}.`);
  if (status === OperationStatus.RUNNING) return because('It is being worked on.', 'Wait until it is done.');
  if (!steps.some(({ name }) => name === 'act')) return null;
  return because('The engine was asked already, and may have begun.', 'Wait until it is done; it goes on by itself.');
}

/** Why an operation that was asked for cannot be asked for again. */
export function obstacleToRetry({ status, error }: Operation): AppError | null {
  const because = (message: string, remediation: string) =>
    new AppError(UserErrorCode.OPERATION_NOT_RETRYABLE, message, { field: ['operationId'], remediation });
  if (!isFinal(status)) {
    return because('It has not ended.', 'Wait until it is done; what cannot begin yet is tried again by itself.');
  }
  if (status === OperationStatus.SUCCEEDED) return because('It has succeeded.', 'Ask for new work, if you want more.');
  if (!error || error.retryable) return null;
  return because(
    `Asking again would not help. ${error.message}`,
    error.remediation ?? 'Look at the instance and its snapshots, then ask for new work.',
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

/** Whether an operation, or an item, of this status has ended. */
export const isFinal = (status: OperationStatus) =>
  status !== OperationStatus.QUEUED && status !== OperationStatus.RUNNING;
