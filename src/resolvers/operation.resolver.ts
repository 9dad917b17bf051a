/** Operations: work that was accepted, followed until it is done. */
import { Arg, Args, Ctx, FieldResolver, ID, Int, Query, Resolver, Root, Subscription } from 'type-graphql';
import { Auth } from '../auth/directives';
import { OperationStatus, Role } from '../entities/enums';
import { Instance } from '../entities/instance';
import { Operation, OperationItem } from '../entities/operation';
import { Snapshot } from '../entities/snapshot';
import { User } from '../entities/user';
import { INSTANCES, OPERATIONS, SNAPSHOTS } from '../read/lists';
import type { Connection } from '../read/reads';
import { OperationConnection } from './connections';
import type { Context } from './context';
import { follow } from './follow';
import { idOf, toGlobalId } from './global-id';
import { OperationsArgs } from './instance.resolver';

@Resolver(() => Operation)
export class OperationResolver {
  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Query(() => Operation, { nullable: true, description: 'One operation; null when it is hidden or missing.' })
  async operation(
    @Ctx() { reads }: Context,
    @Arg('id', () => ID, { description: 'Its id.' }) id: string,
  ): Promise<Operation | null> {
    const key = idOf('Operation', id);
    return key ? reads.byId(OPERATIONS, key) : null;
  }

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Query(() => OperationConnection, { description: 'The operations on every instance you may see, newest first.' })
  async operations(
    @Ctx() { reads }: Context,
    @Args(() => OperationsArgs) args: OperationsArgs,
  ): Promise<Connection<Operation>> {
    return reads.list(OPERATIONS, args);
  }

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Subscription(() => Operation, {
    description:
      'The operation now, then after every change; it completes when the operation is done. Hidden or missing: at once. ' +
      'It ends with FORBIDDEN when the instance is taken from you.',
    subscribe: ({ args, context }: { args: { id: string }; context: Context }) => {
      const key = idOf('Operation', args.id);
      return follow(context, OPERATIONS, key, [`operation:${key}`], isDone);
    },
  })
  operationUpdated(
    @Root() operation: Operation,
    @Arg('id', () => ID, { description: 'Its id.' }) _id: string,
  ): Operation {
    return operation;
  }

  @FieldResolver(() => ID, { description: 'Opaque, global id.' })
  id(@Root() operation: Operation): string {
    return toGlobalId('Operation', operation.id);
  }

  @FieldResolver(() => Boolean, { description: 'Whether it has ended, well or not.' })
  done(@Root() operation: Operation): boolean {
    return isDone(operation);
  }

  @FieldResolver(() => Int, {
    nullable: true,
    description: 'Items that are done, in percent, for work on several; null otherwise: engines tell no progress.',
  })
  progressPercent(@Root() { items }: Operation): number | null {
    const ended = items.filter(({ status }) => ENDED.includes(status)).length;
    return items.length > 1 ? Math.floor((100 * ended) / items.length) : null;
  }

  @FieldResolver(() => Instance, { description: 'The instance it works on.' })
  instance(@Root() operation: Operation, @Ctx() { reads }: Context): Promise<Instance | null> {
    return reads.byId(INSTANCES, operation.instanceId);
  }

  @FieldResolver(() => Snapshot, {
    nullable: true,
    description: 'Its snapshot; null when it is gone or there are several.',
  })
  async snapshot(@Root() operation: Operation, @Ctx() { reads }: Context): Promise<Snapshot | null> {
    return operation.snapshotId ? reads.byId(SNAPSHOTS, operation.snapshotId) : null;
  }

  @FieldResolver(() => User, { nullable: true, description: 'Who asked for it; null for what the system does itself.' })
  async actor(@Root() operation: Operation, @Ctx() { reads }: Context): Promise<User | null> {
    return operation.actorId ? reads.behind(User, operation.actorId) : null;
  }

  @FieldResolver(() => Boolean, { description: 'Whether it could still be withdrawn.' })
  cancellable(): boolean {
    return false;
  }

  @FieldResolver(() => String, {
    nullable: true,
    description: 'The key it was asked for with; null for all but its actor.',
  })
  idempotencyKey(@Root() operation: Operation, @Ctx() { actor }: Context): string | null {
    return operation.actorId === actor.userId ? operation.idempotencyKey : null;
  }
}

@Resolver(() => OperationItem)
export class OperationItemResolver {
  @FieldResolver(() => Snapshot, { nullable: true, description: 'The snapshot; null when it is gone.' })
  snapshot(@Root() item: OperationItem, @Ctx() { reads }: Context): Promise<Snapshot | null> {
    return reads.byId(SNAPSHOTS, item.snapshotId);
  }
}

const ENDED = [OperationStatus.SUCCEEDED, OperationStatus.FAILED, OperationStatus.CANCELLED];

const isDone = (operation: Operation) => ENDED.includes(operation.status);
