/** Which instances an actor may see. Every read of an instance, or of anything below one, goes through this rule. */
import type { Actor } from '../auth/actor';
import { Role } from '../entities/enums';
import type { Params } from './params';

/** A condition on the instance whose id is `instanceId` (an SQL expression). */
export function visibleInstance(actor: Actor, instanceId: string, params: Params): string {
  if (actor.role !== Role.USER) return 'true';
  return `exists (select from instance_assignments seen
    where seen.instance_id = ${instanceId} and seen.user_id = ${params.add(actor.userId)})`;
}

/** A condition on the user whose id is `userId`: people see themselves, ADMIN sees everyone who has not been removed. */
export function visibleUser(actor: Actor, user: string, params: Params): string {
  const self = actor.role === Role.ADMIN ? 'true' : `${user}.id = ${params.add(actor.userId)}`;
  return `${user}.removed_at is null and ${self}`;
}
