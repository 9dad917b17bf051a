/** What can be listed: where its rows come from, who may see them, by what they are ordered and filtered. */
import type { Actor } from '../auth/actor';
import type { EntityClass } from '../db/rows';
import { ApiToken } from '../entities/api-token';
import { AuditEvent } from '../entities/audit-event';
import { Instance } from '../entities/instance';
import { InstanceAssignment } from '../entities/instance-assignment';
import { Operation } from '../entities/operation';
import { Session } from '../entities/session';
import { Snapshot } from '../entities/snapshot';
import { User } from '../entities/user';
import type { Params } from './params';
import { visibleApiToken, visibleAuditEvent, visibleInstance, visibleSession, visibleUser } from './visibility';

export interface Listing<T extends object> {
  entity: EntityClass<T>;
  /** The from clause; the entity's own table has the alias `t`. */
  from: string;
  visible: (actor: Actor, params: Params) => string;
  /** Sort keys by their GraphQL name; each column is never null. The first is the default. */
  orders: Record<string, { column: string; time?: boolean }>;
  defaultOrder: Order;
  /** Filterable columns by field name. */
  filters: Record<string, string>;
}

export interface Order {
  field: string;
  direction: 'ASC' | 'DESC';
}

const BY_CREATION = { CREATED_AT: { column: 't.created_at', time: true } };

export const INSTANCES: Listing<Instance> = {
  entity: Instance,
  from: 'instances t',
  visible: (actor, params) => visibleInstance(actor, 't.id', params),
  orders: { NAME: { column: 't.name' }, ...BY_CREATION },
  defaultOrder: { field: 'NAME', direction: 'ASC' },
  filters: {
    name: 't.name',
    project: 't.project',
    location: 't.location',
    status: 't.status',
    type: 't.type',
    createdAt: 't.created_at',
  },
};

/** The instances assigned to one user, below that user. */
export const ASSIGNED_INSTANCES: Listing<Instance> = {
  ...INSTANCES,
  from: 'instance_assignments a join instances t on t.id = a.instance_id',
};

export const SNAPSHOTS: Listing<Snapshot> = {
  entity: Snapshot,
  from: 'snapshots t',
  visible: (actor, params) => visibleInstance(actor, 't.instance_id', params),
  orders: { ...BY_CREATION, NAME: { column: 't.name' } },
  defaultOrder: { field: 'CREATED_AT', direction: 'DESC' },
  filters: {
    name: 't.name',
    status: 't.status',
    origin: 't.origin',
    stateful: 't.stateful',
    createdAt: 't.created_at',
    expiresAt: 't.expires_at',
  },
};

export const OPERATIONS: Listing<Operation> = {
  entity: Operation,
  from: 'operations t',
  visible: (actor, params) => visibleInstance(actor, 't.instance_id', params),
  orders: BY_CREATION,
  defaultOrder: { field: 'CREATED_AT', direction: 'DESC' },
  filters: { kind: 't.kind', status: 't.status', snapshotName: 't.snapshot_name', createdAt: 't.created_at' },
};

export const USERS: Listing<User> = {
  entity: User,
  from: 'users t',
  visible: (actor, params) => visibleUser(actor, 't', params),
  orders: { EMAIL: { column: 't.email' }, ...BY_CREATION },
  defaultOrder: { field: 'EMAIL', direction: 'ASC' },
  filters: {
    email: 't.email',
    displayName: 't.display_name',
    role: 't.role',
    status: 't.status',
    createdAt: 't.created_at',
  },
};

export const SESSIONS: Listing<Session> = {
  entity: Session,
  from: 'sessions t',
  visible: (actor, params) => visibleSession(actor, 't', params),
  orders: BY_CREATION,
  defaultOrder: { field: 'CREATED_AT', direction: 'DESC' },
  filters: {},
};

export const API_TOKENS: Listing<ApiToken> = {
  entity: ApiToken,
  from: 'api_tokens t',
  visible: (actor, params) => visibleApiToken(actor, 't', params),
  orders: BY_CREATION,
  defaultOrder: { field: 'CREATED_AT', direction: 'DESC' },
  filters: {},
};

export const AUDIT_EVENTS: Listing<AuditEvent> = {
  entity: AuditEvent,
  from: 'audit_events t',
  visible: (actor, params) => visibleAuditEvent(actor, 't', params),
  orders: BY_CREATION,
  defaultOrder: { field: 'CREATED_AT', direction: 'DESC' },
  filters: {
    action: 't.action',
    outcome: 't.outcome',
    code: 't.code',
    actorId: 't.actor_id',
    resourceType: 't.resource_type',
    resourceId: 't.resource_id',
    correlationId: 't.correlation_id',
    createdAt: 't.created_at',
  },
};

export const ASSIGNMENTS: Listing<InstanceAssignment> = {
  entity: InstanceAssignment,
  from: 'instance_assignments t',
  visible: (actor, params) => visibleInstance(actor, 't.instance_id', params),
  orders: BY_CREATION,
  defaultOrder: { field: 'CREATED_AT', direction: 'ASC' },
  filters: {},
};
