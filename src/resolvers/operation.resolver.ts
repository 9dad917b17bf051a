/** Operations: work that was accepted, followed until it is done. */
import { Arg, Args, Ctx, FieldResolver, ID, Int, Mutation, Query, Resolver, Root, Subscription } from 'type-graphql';
import { Auth } from '../auth/directives';
import { Role } from '../entities/enums';
import { Instance } from '../entities/instance';
import { Operation, OperationItem } from '../entities/operation';
import { Snapshot } from '../entities/snapshot';
import { User } from '../entities/user';
import { INSTANCES, OPERATIONS, SNAPSHOTS } from '../read/lists';
import type { Connection } from '../read/reads';
import type { Operations } from '../services/operation-wishes';
import { isFinal, obstacleToCancel } from '../services/permissions';
import { OperationConnection } from './connections';
import type { Context } from './context';
import { follow } from './follow';
import { idOf, toGlobalId } from './global-id';
import { OperationsArgs } from './instance.resolver';
import { CancelOperationInput, RetryOperationInput } from './operation.inputs';
import { CancelOperationPayload, RetryOperationPayload } from './operation.payloads';
import { answer } from './user-errors';

@Resolver(() => Operation)
export class OperationResolver {
  constructor(private readonly operations: Operations) {}

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
  @Query(() => OperationConnection, {
    name: 'operations',
    description: 'The operations on every instance you may see, newest first.',
  })
  async operationList(
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

  @Auth(Role.OPERATIONS, Role.ADMIN)
  @Mutation(() => CancelOperationPayload, {
    description: 'Withdraws work that is QUEUED and of which nothing was begun, so that nothing of it is done.',
  })
  cancelOperation(
    @Ctx() context: Context,
    @Arg('input', () => CancelOperationInput, { description: 'The wish.' }) input: CancelOperationInput,
  ): Promise<CancelOperationPayload> {
    return answer(context, async () => ({
      operation: await this.operations.cancel(context.request, { operationId: idOf('Operation', input.operationId) }),
    }));
  }

  @Auth(Role.OPERATIONS, Role.ADMIN)
  @Mutation(() => RetryOperationPayload, {
    description:
      'Asks for the work of an operation that did not succeed once again, as it was wished for: judged anew, by a new operation.',
  })
  retryOperation(
    @Ctx() context: Context,
    @Arg('input', () => RetryOperationInput, { description: 'The wish.' }) input: RetryOperationInput,
  ): Promise<RetryOperationPayload> {
    return answer(context, () =>
      this.operations.retry(context.request, { ...input, operationId: idOf('Operation', input.operationId) }),
    );
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
    const ended = items.filter(({ status }) => isFinal(status)).length;
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
  cancellable(@Root() operation: Operation): boolean {
    return obstacleToCancel(operation) === null;
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

const isDone = (operation: Operation) => isFinal(operation.status);
