/** The closed lists of the data model. GraphQL takes the key as the value's name, the database stores the same word. */
import { registerEnumType } from 'type-graphql';

export enum Role {
  USER = 'USER',
  OPERATIONS = 'OPERATIONS',
  ADMIN = 'ADMIN',
}
registerEnumType(Role, {
  name: 'Role',
  description: 'What a person may do. Every rule names all the roles it admits; none includes another silently.',
  valuesConfig: {
    USER: { description: 'Sees the instances assigned to them and, read-only, the snapshots of each.' },
    OPERATIONS: { description: 'Sees every instance; creates, restores, renames and deletes snapshots.' },
    ADMIN: { description: 'As OPERATIONS, and manages users and assignments.' },
  },
});

export enum UserStatus {
  INVITED = 'INVITED',
  ACTIVE = 'ACTIVE',
  LOCKED = 'LOCKED',
}
registerEnumType(UserStatus, {
  name: 'UserStatus',
  description: 'Whether an account can be used.',
  valuesConfig: {
    INVITED: { description: 'Holds a one-time password, which must be changed before anything else.' },
    ACTIVE: { description: 'In use.' },
    LOCKED: { description: 'Cannot sign in; sessions and subscriptions have ended.' },
  },
});

export enum InstanceStatus {
  PENDING = 'PENDING',
  CREATING = 'CREATING',
  RUNNING = 'RUNNING',
  STOPPED = 'STOPPED',
  STOPPING = 'STOPPING',
  RESTARTING = 'RESTARTING',
  ERROR = 'ERROR',
  DELETING = 'DELETING',
  DELETED = 'DELETED',
}
registerEnumType(InstanceStatus, {
  name: 'InstanceStatus',
  description: "An instance's status, as the engine last showed it.",
  valuesConfig: {
    PENDING: { description: 'Known here, not seen on the engine yet.' },
    CREATING: { description: 'Being made by the engine.' },
    RUNNING: { description: 'Its processes run (or are frozen by the engine).' },
    STOPPED: { description: 'It does not run.' },
    STOPPING: { description: 'On its way to STOPPED.' },
    RESTARTING: { description: 'On its way to RUNNING.' },
    ERROR: { description: 'The engine cannot run it. Restoring a good snapshot may bring it back.' },
    DELETING: { description: 'Being removed by the engine.' },
    DELETED: { description: 'No longer on the engine; kept here with its history.' },
  },
});

export enum InstanceType {
  CONTAINER = 'CONTAINER',
  VIRTUAL_MACHINE = 'VIRTUAL_MACHINE',
}
registerEnumType(InstanceType, {
  name: 'InstanceType',
  description: 'What kind of instance the engine runs.',
  valuesConfig: {
    CONTAINER: { description: "A system container: it shares the host's kernel." },
    VIRTUAL_MACHINE: { description: 'A virtual machine with a kernel of its own.' },
  },
});

export enum SnapshotStatus {
  PENDING = 'PENDING',
  CREATING = 'CREATING',
  AVAILABLE = 'AVAILABLE',
  RESTORING = 'RESTORING',
  DELETING = 'DELETING',
  ERROR = 'ERROR',
  MISSING = 'MISSING',
}
registerEnumType(SnapshotStatus, {
  name: 'SnapshotStatus',
  description: 'Where a snapshot is in its life. Only an AVAILABLE one can be restored.',
  valuesConfig: {
    PENDING: { description: 'Accepted; the engine has not been asked yet.' },
    CREATING: { description: 'The engine is taking it.' },
    AVAILABLE: { description: 'Complete: its creation was seen to succeed, or it was found on the engine.' },
    RESTORING: { description: 'Its instance is being brought back to it.' },
    DELETING: { description: 'The engine is removing it.' },
    ERROR: { description: 'It may be incomplete, so it is never restored; `error` says why. It can be deleted.' },
    MISSING: { description: 'Gone from the engine behind our back. Deleting it removes the entry.' },
  },
});

export enum SnapshotOrigin {
  MANUAL = 'MANUAL',
  SCHEDULED = 'SCHEDULED',
  SAFETY = 'SAFETY',
  GUARD = 'GUARD',
  REQUESTED = 'REQUESTED',
  EXTERNAL = 'EXTERNAL',
}
registerEnumType(SnapshotOrigin, {
  name: 'SnapshotOrigin',
  description: 'Why a snapshot exists.',
  valuesConfig: {
    MANUAL: { description: 'A person or a program asked for it here.' },
    SCHEDULED: { description: 'A policy took it.' },
    SAFETY: { description: 'Taken before a restore, so that the restore can be undone.' },
    GUARD: { description: 'Taken before a risky change.' },
    REQUESTED: { description: 'A user asked for it and it was granted.' },
    EXTERNAL: { description: 'Found on the engine: made there directly, or not known to be ours.' },
  },
});

export enum OperationKind {
  SNAPSHOT_CREATE = 'SNAPSHOT_CREATE',
  SNAPSHOT_RESTORE = 'SNAPSHOT_RESTORE',
  SNAPSHOTS_DELETE = 'SNAPSHOTS_DELETE',
  SNAPSHOT_RENAME = 'SNAPSHOT_RENAME',
}
registerEnumType(OperationKind, {
  name: 'OperationKind',
  description: 'What an operation does.',
  valuesConfig: {
    SNAPSHOT_CREATE: { description: 'Takes one snapshot.' },
    SNAPSHOT_RESTORE: { description: 'Brings an instance back to a snapshot.' },
    SNAPSHOTS_DELETE: { description: 'Deletes one or several snapshots of one instance, an item each.' },
    SNAPSHOT_RENAME: { description: 'Gives a snapshot another name.' },
  },
});

export enum OperationStatus {
  QUEUED = 'QUEUED',
  RUNNING = 'RUNNING',
  SUCCEEDED = 'SUCCEEDED',
  FAILED = 'FAILED',
  CANCELLED = 'CANCELLED',
}
registerEnumType(OperationStatus, {
  name: 'OperationStatus',
  description: 'How far an operation is. The last three are final.',
  valuesConfig: {
    QUEUED: { description: 'Accepted and recorded; it will be worked on.' },
    RUNNING: { description: 'A worker is at it.' },
    SUCCEEDED: { description: 'Done, and seen to be done.' },
    FAILED: { description: 'Ended without its effect; `error` says why and what to do.' },
    CANCELLED: { description: 'Withdrawn before it began.' },
  },
});

export enum EventChange {
  CREATED = 'CREATED',
  UPDATED = 'UPDATED',
  REMOVED = 'REMOVED',
  CAUGHT_UP = 'CAUGHT_UP',
}
registerEnumType(EventChange, {
  name: 'EventChange',
  description: 'What an event tells.',
  valuesConfig: {
    CREATED: { description: 'The object is new, or the instance was assigned to you.' },
    UPDATED: { description: 'Something of it changed.' },
    REMOVED: { description: 'The object is gone, or the instance is no longer assigned to you.' },
    CAUGHT_UP: {
      description: 'Nothing changed: everything up to here was told. It keeps the cursor of a quiet stream fresh.',
    },
  },
});

export enum EngineKind {
  INCUS = 'INCUS',
  LXD = 'LXD',
  LOCAL = 'LOCAL',
}
registerEnumType(EngineKind, {
  name: 'EngineKind',
  description: 'Which engine runs the instances.',
  valuesConfig: {
    INCUS: { description: 'Incus.' },
    LXD: { description: 'LXD.' },
    LOCAL: { description: 'A small engine on a folder of this machine, for trying and testing.' },
  },
});

export enum OperationErrorCode {
  ENGINE_UNAVAILABLE = 'ENGINE_UNAVAILABLE',
  ENGINE_ERROR = 'ENGINE_ERROR',
  STORAGE_FULL = 'STORAGE_FULL',
  NAME_TAKEN = 'NAME_TAKEN',
  NOT_FOUND = 'NOT_FOUND',
  INSTANCE_STATE_INVALID = 'INSTANCE_STATE_INVALID',
  STATEFUL_NOT_SUPPORTED = 'STATEFUL_NOT_SUPPORTED',
  OUTCOME_UNKNOWN = 'OUTCOME_UNKNOWN',
  INTERNAL = 'INTERNAL',
}
registerEnumType(OperationErrorCode, {
  name: 'OperationErrorCode',
  description: 'Why an accepted operation did not succeed.',
  valuesConfig: {
    ENGINE_UNAVAILABLE: { description: 'The engine did not answer.' },
    ENGINE_ERROR: { description: 'The engine refused, or failed at it.' },
    STORAGE_FULL: { description: "The engine's storage has no room." },
    NAME_TAKEN: { description: 'The engine has a snapshot of that name already.' },
    NOT_FOUND: { description: 'The instance or the snapshot is no longer on the engine.' },
    INSTANCE_STATE_INVALID: { description: "The instance's state did not allow it." },
    STATEFUL_NOT_SUPPORTED: { description: 'The memory of this instance cannot be captured.' },
    OUTCOME_UNKNOWN: { description: 'It was interrupted and nobody can say how far it came; look before going on.' },
    INTERNAL: { description: 'Our fault; the correlation id leads to the log.' },
  },
});

export enum AuditOutcome {
  SUCCEEDED = 'SUCCEEDED',
  REFUSED = 'REFUSED',
  FAILED = 'FAILED',
}
registerEnumType(AuditOutcome, {
  name: 'AuditOutcome',
  description: 'What came of what somebody did.',
  valuesConfig: {
    SUCCEEDED: { description: 'It was done, or accepted.' },
    REFUSED: { description: 'It was not done; `code` says why.' },
    FAILED: { description: 'It was accepted, and did not succeed; `code` says why.' },
  },
});

export enum CredentialKind {
  SESSION = 'SESSION',
  API_TOKEN = 'API_TOKEN',
}
registerEnumType(CredentialKind, {
  name: 'CredentialKind',
  description: 'By what a caller was known.',
  valuesConfig: {
    SESSION: { description: 'An access token of a session, begun by signing in.' },
    API_TOKEN: { description: 'A token made for tooling.' },
  },
});
