/** `viewerPermissions`: whether the viewer may do something now, by the rules that would refuse the mutation. */
import { Field, ObjectType, registerEnumType } from 'type-graphql';
import type { Operation } from '../entities/operation';
import type { AppError } from '../errors';
import { instanceBusy } from '../services/permissions';
import type { Context } from './context';

export enum PermissionReason {
  FORBIDDEN = 'FORBIDDEN',
  NAME_INVALID = 'NAME_INVALID',
  INSTANCE_BUSY = 'INSTANCE_BUSY',
  INSTANCE_STATE_INVALID = 'INSTANCE_STATE_INVALID',
  STATEFUL_NOT_SUPPORTED = 'STATEFUL_NOT_SUPPORTED',
  STATEFUL_REQUIRES_RUNNING = 'STATEFUL_REQUIRES_RUNNING',
  SNAPSHOT_NOT_READY = 'SNAPSHOT_NOT_READY',
}
registerEnumType(PermissionReason, {
  name: 'PermissionReason',
  description: 'Why something may not be done now: FORBIDDEN, or the code with which the mutation would refuse.',
  valuesConfig: {
    FORBIDDEN: { description: "The viewer's role does not allow it; the message says whom to ask." },
    NAME_INVALID: { description: 'The engine cannot be asked about a snapshot of this name.' },
    INSTANCE_BUSY: { description: 'Another operation is at work on the instance.' },
    INSTANCE_STATE_INVALID: { description: "The instance's status does not allow it." },
    STATEFUL_NOT_SUPPORTED: { description: "The instance's memory cannot be captured." },
    STATEFUL_REQUIRES_RUNNING: { description: 'It needs a running instance.' },
    SNAPSHOT_NOT_READY: { description: 'The snapshot is not AVAILABLE.' },
  },
});

@ObjectType({ description: 'Whether the viewer may do something now, and why not.' })
export class Permission {
  @Field(() => Boolean, { description: 'Whether it may be done.' })
  allowed: boolean;

  @Field(() => PermissionReason, { nullable: true, description: 'Why not; null when it may.' })
  reason: PermissionReason | null;

  @Field(() => String, { nullable: true, description: 'Why not, and whom to ask or what to do; null when it may.' })
  message: string | null;
}

@ObjectType({ description: 'What the viewer may do with an instance now.' })
export class InstancePermissions {
  @Field(() => Permission, { description: 'Take a stateless snapshot.' })
  createSnapshot: Permission;

  @Field(() => Permission, { description: 'Take a stateful snapshot.' })
  createStatefulSnapshot: Permission;

  @Field(() => Permission, { description: 'Restore one of its snapshots that is AVAILABLE.' })
  restoreSnapshot: Permission;

  @Field(() => Permission, { description: 'Delete one of its snapshots.' })
  deleteSnapshot: Permission;
}

@ObjectType({ description: 'What the viewer may do with a snapshot now.' })
export class SnapshotPermissions {
  @Field(() => Permission, { description: 'Bring the instance back to it.' })
  restore: Permission;

  @Field(() => Permission, { description: 'Delete it.' })
  delete: Permission;

  @Field(() => Permission, { description: 'Give it another name.' })
  rename: Permission;

  @Field(() => Permission, { description: 'Change its description or expiry.' })
  update: Permission;
}

/** The role first, by the directive on `mutation`; then what the mutation itself would find in the way. */
export function permission(
  context: Context,
  mutation: string,
  obstacle: AppError | null,
  busy?: Operation,
): Permission {
  const refusal = context.shared.authorizer.refusalOf(mutation, context.actor.role);
  if (refusal) return { allowed: false, reason: PermissionReason.FORBIDDEN, message: refusal };
  const found = obstacle ?? (busy ? instanceBusy(busy) : null);
  if (!found) return { allowed: true, reason: null, message: null };
  const message = [found.message, found.more.remediation].filter(Boolean).join(' ');
  return { allowed: false, reason: PermissionReason[found.code as keyof typeof PermissionReason], message };
}
