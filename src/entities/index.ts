import { ApiToken } from './api-token';
import { AuditCheckpoint } from './audit-checkpoint';
import { AuditEvent } from './audit-event';
import { Engine } from './engine';
import { Event } from './event';
import { IdempotencyKey } from './idempotency-key';
import { Instance } from './instance';
import { InstanceAssignment } from './instance-assignment';
import { Operation } from './operation';
import { Session } from './session';
import { Snapshot } from './snapshot';
import { User } from './user';

/** Every table of ours. */
export const entities = [
  User,
  Session,
  ApiToken,
  Engine,
  Instance,
  InstanceAssignment,
  Snapshot,
  Operation,
  IdempotencyKey,
  Event,
  AuditEvent,
  AuditCheckpoint,
];
