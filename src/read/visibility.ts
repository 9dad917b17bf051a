/** Which instances an actor may see. Every read of an instance, or of anything below one, goes through this rule. */
import type { Actor } from '../auth/actor';
import { Role } from '../entities/enums';
import type { Params } from './params';

/** A condition on the instance whose id is `instanceId` (an SQL expression). */
export function visibleInstance(actor: Actor, instanceId: string, params: Params): string {
  const listed = listedInstance(actor, instanceId, params);
  if (actor.role !== Role.USER) return listed;
  return `${listed} and exists (select from instance_assignments seen
    where seen.instance_id = ${instanceId} and seen.user_id = ${params.add(actor.userId)})`;
}

/** Of a token that is good for some instances only: whether it is one of them, whoever the owner is. */
function listedInstance({ credential: { instanceIds } }: Actor, instanceId: string, params: Params): string {
  return instanceIds ? `${instanceId} = any(${params.add(instanceIds)}::uuid[])` : 'true';
}

/** A condition on an event: of an instance they may see, or for them alone (those who see every instance are told of no assignment). */
export function visibleEvent(actor: Actor, event: string, params: Params): string {
  const forAll = `${event}.user_id is null and ${visibleInstance(actor, `${event}.instance_id`, params)}`;
  if (actor.role !== Role.USER) return forAll;
  const listed = listedInstance(actor, `${event}.instance_id`, params);
  return `(${event}.user_id = ${params.add(actor.userId)} and ${listed} or ${forAll})`;
}

/** A condition on a session that has not ended: people see their own, ADMIN sees everyone's. */
export function visibleSession(actor: Actor, session: string, params: Params): string {
  const own = actor.role === Role.ADMIN ? 'true' : `${session}.user_id = ${params.add(actor.userId)}`;
  return `${session}.ended_at is null and ${session}.expires_at > now() and ${own}`;
}

/**
 * A condition on an entry of the audit log: ADMIN sees all, OPERATIONS what was done to snapshots, instances and operations,
 * and everyone what they did themselves; for a USER that is what they did as USER, and for an API token what was done by it. A
 * token that is good for some instances only is told of nothing but its own acts.
 */
export function visibleAuditEvent({ userId, role, credential }: Actor, entry: string, params: Params): string {
  if (role === Role.ADMIN && !credential.instanceIds) return 'true';
  const own = [`${entry}.actor_id = ${params.add(userId)}`];
  if (credential.kind === 'API_TOKEN') own.push(`${entry}.credential_id = ${params.add(credential.id)}`);
  if (role === Role.USER) own.push(`${entry}.actor_role = '${Role.USER}'`);
  const theirs = own.join(' and ');
  return role === Role.OPERATIONS && !credential.instanceIds
    ? `(${theirs} or ${entry}.resource_type in ('Snapshot', 'Instance', 'Operation'))`
    : theirs;
}

/** A condition on the user whose id is `userId`: people see themselves, ADMIN sees everyone who has not been removed. */
export function visibleUser(actor: Actor, user: string, params: Params): string {
  const self = actor.role === Role.ADMIN ? 'true' : `${user}.id = ${params.add(actor.userId)}`;
  return `${user}.removed_at is null and ${self}`;
}

/** A condition on an API token: people see their own, ADMIN sees everyone's; whoever comes with an API token sees none. */
export function visibleApiToken(actor: Actor, token: string, params: Params): string {
  if (actor.credential.kind === 'API_TOKEN') return 'false';
  return actor.role === Role.ADMIN ? 'true' : `${token}.user_id = ${params.add(actor.userId)}`;
}
