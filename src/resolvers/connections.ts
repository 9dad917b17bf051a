/** Relay's connections, for each listed type. */
import { ArgsType, Field, Int, ObjectType, type ClassType } from 'type-graphql';
import { ApiToken } from '../entities/api-token';
import { AuditEvent } from '../entities/audit-event';
import { Instance } from '../entities/instance';
import { InstanceAssignment } from '../entities/instance-assignment';
import { Operation } from '../entities/operation';
import { Session } from '../entities/session';
import { Snapshot } from '../entities/snapshot';
import { User } from '../entities/user';
import type { Connection } from '../read/reads';

@ArgsType()
export class PageArgs {
  @Field(() => Int, { nullable: true, description: 'How many from the start: 1 to 100, 25 when neither is given.' })
  first?: number | null;

  @Field(() => String, { nullable: true, description: 'Only what follows this cursor.' })
  after?: string | null;

  @Field(() => Int, { nullable: true, description: 'How many from the end: 1 to 100; not together with `first`.' })
  last?: number | null;

  @Field(() => String, { nullable: true, description: 'Only what comes before this cursor.' })
  before?: string | null;
}

@ObjectType({ description: 'Where a page stands in its list.' })
export class PageInfo {
  @Field(() => Boolean, { description: 'Whether more follow.' })
  hasNextPage: boolean;

  @Field(() => Boolean, { description: 'Whether some come before.' })
  hasPreviousPage: boolean;

  @Field(() => String, { nullable: true, description: 'Cursor of the first entry; null when the page is empty.' })
  startCursor: string | null;

  @Field(() => String, { nullable: true, description: 'Cursor of the last entry; null when the page is empty.' })
  endCursor: string | null;
}

/** The connection type of one node type; `plural` is how people call its nodes. */
function connectionOf<T extends object>(node: ClassType<T>, plural: string): ClassType<Connection<T>> {
  @ObjectType(`${node.name}Edge`, { description: `One of the ${plural} of a page.` })
  class Edge {
    @Field(() => node, { description: 'The entry itself.' })
    node: T;

    @Field(() => String, { description: 'Its place in the list, for `after` and `before`.' })
    cursor: string;
  }

  @ObjectType(`${node.name}Connection`, { description: `A page of ${plural}.` })
  class Page {
    @Field(() => [Edge], { description: 'The entries with their cursors.' })
    edges: Edge[];

    @Field(() => [node], { description: 'The entries.' })
    nodes: T[];

    @Field(() => PageInfo, { description: 'Whether there is more, and where to go on.' })
    pageInfo: PageInfo;

    @Field(() => Int, { description: 'How many there are on all pages; counted only when asked for.' })
    totalCount: Promise<number>;
  }
  return Page;
}

export const InstanceConnection = connectionOf(Instance, 'instances');
export const SnapshotConnection = connectionOf(Snapshot, 'snapshots');
export const OperationConnection = connectionOf(Operation, 'operations');
export const UserConnection = connectionOf(User, 'users');
export const SessionConnection = connectionOf(Session, 'sessions');
export const AuditEventConnection = connectionOf(AuditEvent, 'entries of the audit log');
export const ApiTokenConnection = connectionOf(ApiToken, 'API tokens');
export const InstanceAssignmentConnection = connectionOf(InstanceAssignment, 'assignments');
