/** The schema: the resolvers, the types only reached through interfaces, and the directives. */
import 'reflect-metadata';
import { printSchemaWithDirectives } from '@graphql-tools/utils';
import { GraphQLSchema, isEnumType, lexicographicSortSchema } from 'graphql';
import { buildSchemaSync, type ContainerType } from 'type-graphql';
import { authDirectives } from './auth/directives';
import { ApiInfoResolver } from './resolvers/api-info.resolver';
import { ApiTokenResolver, ApiTokensOfUserResolver } from './resolvers/api-token.resolver';
import { AuditResolver } from './resolvers/audit.resolver';
import { EventResolver } from './resolvers/event.resolver';
import { EngineResolver, InstanceAssignmentResolver, InstanceResolver } from './resolvers/instance.resolver';
import { NodeResolver } from './resolvers/node.resolver';
import { OperationItemResolver, OperationResolver } from './resolvers/operation.resolver';
import { recordRefusals } from './resolvers/refusals';
import { BigInt, DateTime } from './resolvers/scalars';
import { SessionResolver } from './resolvers/session.resolver';
import { SnapshotResolver } from './resolvers/snapshot.resolver';
import { userErrorTypes } from './resolvers/user-errors';
import { UserResolver } from './resolvers/user.resolver';

/** `container` hands out the resolvers; to print the schema none is needed. */
export function createSchema(container?: ContainerType): GraphQLSchema {
  const built = buildSchemaSync({
    resolvers: [
      ApiInfoResolver,
      SessionResolver,
      NodeResolver,
      InstanceResolver,
      SnapshotResolver,
      OperationResolver,
      EventResolver,
      AuditResolver,
      UserResolver,
      ApiTokenResolver,
      ApiTokensOfUserResolver,
      EngineResolver,
      InstanceAssignmentResolver,
      OperationItemResolver,
    ],
    orphanedTypes: [...userErrorTypes],
    scalarsMap: [
      { type: Date, scalar: DateTime },
      { type: globalThis.BigInt, scalar: BigInt },
    ],
    validate: false, // values of an input are judged by services
    // Required as soon as there is a subscription, though ours bring their own `subscribe`.
    pubSub: {
      publish: () => undefined,
      subscribe: () => {
        throw new Error('subscriptions follow rows, not topics');
      },
    },
    ...(container && { container }),
  });
  describeRoots(built);
  recordRefusals(built);
  const role = built.getType('Role');
  if (!isEnumType(role)) throw new Error('the schema has no enum Role');
  const config = built.toConfig();
  return new GraphQLSchema({ ...config, directives: [...config.directives, ...authDirectives(role)] });
}

/** The framework makes the root types itself, and leaves them without a word. */
function describeRoots(schema: GraphQLSchema): void {
  const roots = [
    [schema.getQueryType(), 'What can be read. Hidden and missing things answer alike.'],
    [schema.getMutationType(), 'What can be done. Long work is accepted at once and followed as an `Operation`.'],
    [schema.getSubscriptionType(), 'What can be followed: the state now, then every change.'],
  ] as const;
  for (const [type, description] of roots) if (type) type.description = description;
}

/** What `schema.graphql` holds: the reference that people read, with the rules of access on the fields. */
export function printSchema(schema: GraphQLSchema): string {
  return `${printSchemaWithDirectives(lexicographicSortSchema(schema))}\n`;
}
