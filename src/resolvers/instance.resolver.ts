/** Instances: what may be snapshotted, by whom it is seen, and what is going on with it. */
import {
  Arg,
  Args,
  ArgsType,
  Ctx,
  Field,
  FieldResolver,
  ID,
  ObjectType,
  Query,
  Resolver,
  Root,
  Subscription,
} from 'type-graphql';
import { Auth } from '../auth/directives';
import { Engine } from '../entities/engine';
import { InstanceStatus, OperationStatus, Role } from '../entities/enums';
import { Instance } from '../entities/instance';
import { InstanceAssignment } from '../entities/instance-assignment';
import { Operation } from '../entities/operation';
import { Snapshot } from '../entities/snapshot';
import { User } from '../entities/user';
import { RequestError } from '../errors';
import { ASSIGNMENTS, INSTANCES, OPERATIONS, SNAPSHOTS } from '../read/lists';
import type { Connection } from '../read/reads';
import { obstacleToCreate, obstacleToRestoreAny } from '../services/permissions';
import {
  InstanceAssignmentConnection,
  InstanceConnection,
  OperationConnection,
  PageArgs,
  SnapshotConnection,
} from './connections';
import type { Context } from './context';
import { InstanceFilter, InstanceOrder, InstanceOrderField, OperationFilter, OrderDirection } from './filters.inputs';
import { follow } from './follow';
import { idOf, toGlobalId } from './global-id';
import { InstancePermissions, permission } from './permission';
import { SnapshotsArgs } from './snapshot.inputs';

@ArgsType()
export class InstancesArgs extends PageArgs {
  @Field(() => InstanceFilter, { nullable: true, description: 'Which of them.' })
  filter?: InstanceFilter | null;

  @Field(() => InstanceOrder, {
    nullable: true,
    defaultValue: { field: InstanceOrderField.NAME, direction: OrderDirection.ASC },
    description: 'In which order.',
  })
  orderBy?: InstanceOrder | null;
}

@ArgsType()
export class OperationsArgs extends PageArgs {
  @Field(() => OperationFilter, { nullable: true, description: 'Which of them.' })
  filter?: OperationFilter | null;
}

@ObjectType({ description: 'Whether a stateful snapshot can be taken now.' })
class StatefulSnapshotSupport {
  @Field(() => Boolean, { description: 'Whether it can.' })
  supported: boolean;

  @Field(() => [String], { description: 'Why not, a sentence each; empty when it can.' })
  reasons: string[];
}

@Resolver(() => Instance)
export class InstanceResolver {
  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Query(() => Instance, {
    nullable: true,
    description: 'One instance, by id or by name; null when hidden or missing.',
  })
  async instance(
    @Ctx() { reads }: Context,
    @Arg('id', () => ID, { nullable: true, description: 'Its id.' }) id?: string | null,
    @Arg('name', () => String, { nullable: true, description: 'Its name, instead of the id.' }) name?: string | null,
    @Arg('project', () => String, { nullable: true, defaultValue: 'default', description: 'The project of the name.' })
    project?: string | null,
  ): Promise<Instance | null> {
    if ((id ?? null) !== null && (name ?? null) !== null) throw eitherIdOrName();
    if (typeof id === 'string') {
      const key = idOf('Instance', id);
      return key ? reads.byId(INSTANCES, key) : null;
    }
    if (typeof name !== 'string') throw eitherIdOrName();
    const filter = {
      name: { eq: name },
      project: { eq: project ?? 'default' },
      not: { status: { eq: InstanceStatus.DELETED } },
    };
    return (await reads.list(INSTANCES, { first: 1, filter })).nodes[0] ?? null;
  }

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Query(() => InstanceConnection, { description: 'The instances you may see, by name.' })
  async instances(
    @Ctx() { reads }: Context,
    @Args(() => InstancesArgs) args: InstancesArgs,
  ): Promise<Connection<Instance>> {
    return reads.list(INSTANCES, args);
  }

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Subscription(() => Instance, {
    description:
      'The instance now, and again whenever it, its snapshots or its operations change. Hidden or missing: it completes at once. ' +
      'It ends with FORBIDDEN when it is taken from you.',
    subscribe: ({ args, context }: { args: { id: string }; context: Context }) => {
      const key = idOf('Instance', args.id);
      return follow(context, INSTANCES, key, [`instance:${key}`]);
    },
  })
  instanceUpdated(@Root() instance: Instance, @Arg('id', () => ID, { description: 'Its id.' }) _id: string): Instance {
    return instance;
  }

  @FieldResolver(() => ID, { description: 'Opaque, global id.' })
  id(@Root() instance: Instance): string {
    return toGlobalId('Instance', instance.id);
  }

  @FieldResolver(() => Engine, { description: 'The engine it runs on.' })
  engine(@Root() { engineId }: Instance, @Ctx() { reads }: Context): Promise<Engine | null> {
    return reads.behind(Engine, engineId);
  }

  @FieldResolver(() => SnapshotConnection, { description: 'Its snapshots, newest first.' })
  async snapshots(
    @Root() { id }: Instance,
    @Ctx() { reads }: Context,
    @Args(() => SnapshotsArgs) args: SnapshotsArgs,
  ): Promise<Connection<Snapshot>> {
    return reads.listBelow(SNAPSHOTS, 't.instance_id', id, args);
  }

  @FieldResolver(() => Snapshot, {
    nullable: true,
    description: 'The newest of its snapshots; null when there is none.',
  })
  async latestSnapshot(@Root() { id }: Instance, @Ctx() { reads }: Context): Promise<Snapshot | null> {
    return (await reads.listBelow(SNAPSHOTS, 't.instance_id', id, { first: 1 })).nodes[0] ?? null;
  }

  @FieldResolver(() => Operation, {
    nullable: true,
    description: 'What is queued or being done; null when nothing is.',
  })
  async activeOperation(@Root() { id }: Instance, @Ctx() context: Context): Promise<Operation | null> {
    return (await unfinishedOperation(context, id)) ?? null;
  }

  @FieldResolver(() => OperationConnection, { description: 'What was done with it, newest first.' })
  async operations(
    @Root() { id }: Instance,
    @Ctx() { reads }: Context,
    @Args(() => OperationsArgs) args: OperationsArgs,
  ): Promise<Connection<Operation>> {
    return reads.listBelow(OPERATIONS, 't.instance_id', id, args);
  }

  @Auth(Role.OPERATIONS, Role.ADMIN)
  @FieldResolver(() => InstanceAssignmentConnection, { description: 'To whom it is assigned, oldest first.' })
  async assignments(
    @Root() { id }: Instance,
    @Ctx() { reads }: Context,
    @Args(() => PageArgs) args: PageArgs,
  ): Promise<Connection<InstanceAssignment>> {
    return reads.listBelow(ASSIGNMENTS, 't.instance_id', id, args);
  }

  @FieldResolver(() => StatefulSnapshotSupport, { description: 'Whether its memory can be captured now, and why not.' })
  statefulSnapshotSupport(@Root() instance: Instance): StatefulSnapshotSupport {
    const notRunning =
      instance.status === InstanceStatus.RUNNING ? [] : [`The instance is ${instance.status}, not RUNNING.`];
    const reasons = [...notRunning, ...instance.statefulObstacles];
    return { supported: reasons.length === 0, reasons };
  }

  @FieldResolver(() => InstancePermissions, { description: 'What you may do with it now, and why not.' })
  async viewerPermissions(@Root() instance: Instance, @Ctx() context: Context): Promise<InstancePermissions> {
    const busy = await unfinishedOperation(context, instance.id);
    return {
      createSnapshot: permission(context, 'createSnapshot', obstacleToCreate(instance, false), busy),
      createStatefulSnapshot: permission(context, 'createSnapshot', obstacleToCreate(instance, true), busy),
      restoreSnapshot: permission(context, 'restoreSnapshot', obstacleToRestoreAny(instance), busy),
      deleteSnapshot: permission(context, 'deleteSnapshot', null, busy),
    };
  }
}

@Resolver(() => Engine)
export class EngineResolver {
  @FieldResolver(() => ID, { description: 'Opaque id of the engine.' })
  id(@Root() engine: Engine): string {
    return toGlobalId('Engine', engine.id);
  }
}

@Resolver(() => InstanceAssignment)
export class InstanceAssignmentResolver {
  @FieldResolver(() => ID, { description: 'Opaque id of the assignment.' })
  id(@Root() assignment: InstanceAssignment): string {
    return toGlobalId('InstanceAssignment', assignment.id);
  }

  @FieldResolver(() => User, { description: 'Who may see the instance.' })
  user(@Root() assignment: InstanceAssignment, @Ctx() { reads }: Context): Promise<User | null> {
    return reads.behind(User, assignment.userId);
  }

  @FieldResolver(() => Instance, { description: 'The instance.' })
  instance(@Root() assignment: InstanceAssignment, @Ctx() { reads }: Context): Promise<Instance | null> {
    return reads.byId(INSTANCES, assignment.instanceId);
  }
}

/** What is queued or being done with an instance. */
export async function unfinishedOperation({ reads }: Context, instanceId: string): Promise<Operation | undefined> {
  const filter = { status: { in: [OperationStatus.QUEUED, OperationStatus.RUNNING] } };
  return (await reads.listBelow(OPERATIONS, 't.instance_id', instanceId, { first: 1, filter })).nodes[0];
}

function eitherIdOrName(): RequestError {
  return new RequestError('BAD_USER_INPUT', 'Give either `id` or `name`.');
}
