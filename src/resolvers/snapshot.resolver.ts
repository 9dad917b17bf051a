/** Snapshots: the tab's three columns, what is known besides, and the mutations that change them. */
import { Arg, Args, Ctx, Field, FieldResolver, ID, Mutation, ObjectType, Query, Resolver, Root } from 'type-graphql';
import { Auth } from '../auth/directives';
import { Role, SnapshotStatus } from '../entities/enums';
import { Instance } from '../entities/instance';
import { Operation, OperationError } from '../entities/operation';
import { Snapshot } from '../entities/snapshot';
import { User } from '../entities/user';
import { INSTANCES, OPERATIONS, SNAPSHOTS } from '../read/lists';
import type { Connection } from '../read/reads';
import { obstacleToDelete, obstacleToRename, obstacleToRestore } from '../services/permissions';
import type { SnapshotDeletion } from '../services/snapshot-deletion';
import type { Snapshots } from '../services/snapshots';
import { SnapshotConnection } from './connections';
import type { Context } from './context';
import { idOf, toGlobalId } from './global-id';
import { unfinishedOperation } from './instance.resolver';
import { permission, SnapshotPermissions } from './permission';
import { BigInt } from './scalars';
import {
  CreateSnapshotInput,
  DeleteSnapshotInput,
  DeleteSnapshotsInput,
  RenameSnapshotInput,
  RestoreSnapshotInput,
  SnapshotsArgs,
  UpdateSnapshotInput,
} from './snapshot.inputs';
import {
  CreateSnapshotPayload,
  DeleteSnapshotPayload,
  DeleteSnapshotsPayload,
  RenameSnapshotPayload,
  RestoreSnapshotPayload,
  UpdateSnapshotPayload,
} from './snapshot.payloads';
import { answer, toUserError } from './user-errors';

@ObjectType({ description: 'What a snapshot holds.' })
class SnapshotContents {
  @Field(() => Boolean, { description: 'The file system: always.' })
  fileSystem: boolean;

  @Field(() => Boolean, { description: "The instance's configuration: always." })
  configuration: boolean;

  @Field(() => Boolean, { description: 'The memory of running processes: when it is stateful.' })
  memory: boolean;
}

@Resolver(() => Snapshot)
export class SnapshotResolver {
  constructor(
    private readonly snapshots: Snapshots,
    private readonly deletion: SnapshotDeletion,
  ) {}

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Query(() => Snapshot, { nullable: true, description: 'One snapshot; null when it is hidden or missing.' })
  async snapshot(
    @Ctx() { reads }: Context,
    @Arg('id', () => ID, { description: 'Its id.' }) id: string,
  ): Promise<Snapshot | null> {
    const key = idOf('Snapshot', id);
    return key ? reads.byId(SNAPSHOTS, key) : null;
  }

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Query(() => SnapshotConnection, {
    name: 'snapshots',
    description: 'The snapshots of every instance you may see, newest first.',
  })
  async snapshotList(
    @Ctx() { reads }: Context,
    @Args(() => SnapshotsArgs) args: SnapshotsArgs,
  ): Promise<Connection<Snapshot>> {
    return reads.list(SNAPSHOTS, args);
  }

  @Auth(Role.OPERATIONS, Role.ADMIN)
  @Mutation(() => CreateSnapshotPayload, { description: 'Starts a snapshot; follow the operation for the result.' })
  createSnapshot(
    @Ctx() context: Context,
    @Arg('input', () => CreateSnapshotInput, { description: 'The wish.' }) input: CreateSnapshotInput,
  ): Promise<CreateSnapshotPayload> {
    return answer(context, () =>
      this.snapshots.create(context.request, { ...input, instanceId: idOf('Instance', input.instanceId) }),
    );
  }

  @Auth(Role.OPERATIONS, Role.ADMIN)
  @Mutation(() => RestoreSnapshotPayload, {
    description:
      'Starts to bring the instance back: file system and configuration, and with a stateful snapshot its processes. What was written since is lost. A running instance is stopped hard, and runs again afterwards.',
  })
  restoreSnapshot(
    @Ctx() context: Context,
    @Arg('input', () => RestoreSnapshotInput, { description: 'The wish.' }) input: RestoreSnapshotInput,
  ): Promise<RestoreSnapshotPayload> {
    return answer(context, () => this.snapshots.restore(context.request, withSnapshotId(input)));
  }

  @Auth(Role.OPERATIONS, Role.ADMIN)
  @Mutation(() => DeleteSnapshotPayload, { description: 'Starts to delete a snapshot. It cannot be brought back.' })
  deleteSnapshot(
    @Ctx() context: Context,
    @Arg('input', () => DeleteSnapshotInput, { description: 'The wish.' }) input: DeleteSnapshotInput,
  ): Promise<DeleteSnapshotPayload> {
    return answer(context, () => this.snapshots.delete(context.request, withSnapshotId(input)));
  }

  @Auth(Role.OPERATIONS, Role.ADMIN)
  @Mutation(() => DeleteSnapshotsPayload, {
    description: 'Starts to delete several snapshots: one operation for each instance touched, a result for each id.',
  })
  async deleteSnapshots(
    @Ctx() context: Context,
    @Arg('input', () => DeleteSnapshotsInput, { description: 'The wish.' }) input: DeleteSnapshotsInput,
  ): Promise<DeleteSnapshotsPayload> {
    const snapshots = input.snapshotIds.map((given) => ({ given, snapshotId: idOf('Snapshot', given) }));
    const payload = await answer(context, async () => {
      const { results, operations, replayed } = await this.deletion.deleteMany(context.request, {
        ...input,
        snapshots,
      });
      return {
        operations,
        replayed,
        results: results.map(({ given, operation, errors }) => ({
          snapshotId: given,
          operation,
          userErrors: errors.map((error) => toUserError(error, context)),
        })),
      };
    });
    // A refusal of the whole has no results, yet the lists are there: empty.
    return { ...{ operations: [], results: [], replayed: null }, ...payload };
  }

  @Auth(Role.OPERATIONS, Role.ADMIN)
  @Mutation(() => RenameSnapshotPayload, { description: 'Starts to give a snapshot another name.' })
  renameSnapshot(
    @Ctx() context: Context,
    @Arg('input', () => RenameSnapshotInput, { description: 'The wish.' }) input: RenameSnapshotInput,
  ): Promise<RenameSnapshotPayload> {
    return answer(context, () => this.snapshots.rename(context.request, withSnapshotId(input)));
  }

  @Auth(Role.OPERATIONS, Role.ADMIN)
  @Mutation(() => UpdateSnapshotPayload, {
    description: 'Changes the description or the expiry of a snapshot at once.',
  })
  updateSnapshot(
    @Ctx() context: Context,
    @Arg('input', () => UpdateSnapshotInput, { description: 'The changes.' }) input: UpdateSnapshotInput,
  ): Promise<UpdateSnapshotPayload> {
    return answer(context, async () => ({
      snapshot: await this.snapshots.update(context.request, withSnapshotId(input)),
    }));
  }

  @FieldResolver(() => ID, { description: 'Opaque, global id.' })
  id(@Root() snapshot: Snapshot): string {
    return toGlobalId('Snapshot', snapshot.id);
  }

  @FieldResolver(() => Instance, { description: 'The instance it is a copy of.' })
  instance(@Root() snapshot: Snapshot, @Ctx() { reads }: Context): Promise<Instance | null> {
    return reads.byId(INSTANCES, snapshot.instanceId);
  }

  @FieldResolver(() => OperationError, { nullable: true, description: 'Why it is ERROR; null otherwise.' })
  error(@Root() { status, error }: Snapshot): OperationError | null {
    return status === SnapshotStatus.ERROR ? error : null;
  }

  @FieldResolver(() => BigInt, { nullable: true, description: 'Bytes it holds; null when the engine does not know.' })
  sizeBytes(@Root() snapshot: Snapshot): number | null {
    return snapshot.sizeBytes;
  }

  @FieldResolver(() => SnapshotContents, { description: 'What it holds.' })
  contents(@Root() { stateful }: Snapshot): SnapshotContents {
    return { fileSystem: true, configuration: true, memory: stateful };
  }

  @FieldResolver(() => User, { nullable: true, description: 'Who made it; null when it was found on the engine.' })
  async createdBy(@Root() snapshot: Snapshot, @Ctx() { reads }: Context): Promise<User | null> {
    return snapshot.createdById ? reads.behind(User, snapshot.createdById) : null;
  }

  @FieldResolver(() => Operation, { nullable: true, description: 'The operation that made it; null when found.' })
  async createdByOperation(@Root() snapshot: Snapshot, @Ctx() { reads }: Context): Promise<Operation | null> {
    return snapshot.createdByOperationId ? reads.byId(OPERATIONS, snapshot.createdByOperationId) : null;
  }

  @FieldResolver(() => SnapshotPermissions, { description: 'What you may do with it now, and why not.' })
  async viewerPermissions(@Root() snapshot: Snapshot, @Ctx() context: Context): Promise<SnapshotPermissions> {
    const [instance, busy] = await Promise.all([
      this.instance(snapshot, context),
      unfinishedOperation(context, snapshot.instanceId),
    ]);
    if (!instance) throw new Error('a visible snapshot of an invisible instance');
    return {
      restore: permission(context, 'restoreSnapshot', obstacleToRestore(instance, snapshot), busy),
      delete: permission(context, 'deleteSnapshot', obstacleToDelete(instance, snapshot), busy),
      rename: permission(context, 'renameSnapshot', obstacleToRename(instance, snapshot), busy),
      update: permission(context, 'updateSnapshot', null),
    };
  }
}

function withSnapshotId<T extends { snapshotId: string }>(
  input: T,
): Omit<T, 'snapshotId'> & { snapshotId: string | null } {
  return { ...input, snapshotId: idOf('Snapshot', input.snapshotId) };
}
