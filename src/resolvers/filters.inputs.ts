/** Filters and orders of lists. What they mean in SQL is in `read/filters.ts`. */
import { Field, InputType, registerEnumType, type ClassType } from 'type-graphql';
import {
  InstanceStatus,
  InstanceType,
  OperationKind,
  OperationStatus,
  Role,
  SnapshotOrigin,
  SnapshotStatus,
  UserStatus,
} from '../entities/enums';
import { DateTimeOrDuration } from './scalars';

@InputType({ description: 'Comparisons of a text; all that are given must hold.' })
export class StringFilter {
  @Field(() => String, { nullable: true, description: 'Is exactly this.' })
  eq?: string;

  @Field(() => [String], { nullable: true, description: 'Is one of these.' })
  in?: string[];

  @Field(() => String, { nullable: true, description: 'Holds this somewhere, in upper or lower case.' })
  contains?: string;

  @Field(() => String, { nullable: true, description: 'Begins exactly so.' })
  startsWith?: string;
}

@InputType({ description: 'Comparisons of a time; all that are given must hold.' })
export class DateTimeFilter {
  @Field(() => DateTimeOrDuration, { nullable: true, description: 'At this time or later.' })
  gte?: Date;

  @Field(() => DateTimeOrDuration, { nullable: true, description: 'Before this time.' })
  lt?: Date;
}

export function enumFilter(type: object, name: string, what: string): ClassType {
  @InputType(`${name}Filter`, { description: `Comparisons of ${what}; all that are given must hold.` })
  class EnumFilter {
    @Field(() => type, { nullable: true, description: 'Is this.' })
    eq?: string;

    @Field(() => [type], { nullable: true, description: 'Is one of these.' })
    in?: string[];
  }
  return EnumFilter;
}

const InstanceStatusFilter = enumFilter(InstanceStatus, 'InstanceStatus', "an instance's status");
const InstanceTypeFilter = enumFilter(InstanceType, 'InstanceType', "an instance's type");
const SnapshotStatusFilter = enumFilter(SnapshotStatus, 'SnapshotStatus', "a snapshot's status");
const SnapshotOriginFilter = enumFilter(SnapshotOrigin, 'SnapshotOrigin', "a snapshot's origin");
const OperationKindFilter = enumFilter(OperationKind, 'OperationKind', "an operation's kind");
const OperationStatusFilter = enumFilter(OperationStatus, 'OperationStatus', "an operation's status");
const RoleFilter = enumFilter(Role, 'Role', 'a role');
const UserStatusFilter = enumFilter(UserStatus, 'UserStatus', "an account's status");

const AND = { nullable: true, description: 'All of these hold.' } as const;
const OR = { nullable: true, description: 'At least one of these holds.' } as const;
const NOT = { nullable: true, description: 'This does not hold.' } as const;
const field = (what: string) => ({ nullable: true, description: `By ${what}.` }) as const;

@InputType({ description: 'Which instances; all that is given must hold.' })
export class InstanceFilter {
  [key: string]: unknown;
  @Field(() => StringFilter, field('name')) name?: StringFilter;
  @Field(() => StringFilter, field('project')) project?: StringFilter;
  @Field(() => StringFilter, field('cluster member')) location?: StringFilter;
  @Field(() => InstanceStatusFilter, field('status')) status?: object;
  @Field(() => InstanceTypeFilter, field('type')) type?: object;
  @Field(() => DateTimeFilter, field('time of creation')) createdAt?: DateTimeFilter;
  @Field(() => [InstanceFilter], AND) and?: InstanceFilter[];
  @Field(() => [InstanceFilter], OR) or?: InstanceFilter[];
  @Field(() => InstanceFilter, NOT) not?: InstanceFilter;
}

@InputType({ description: 'Which snapshots; all that is given must hold.' })
export class SnapshotFilter {
  [key: string]: unknown;
  @Field(() => StringFilter, field('name')) name?: StringFilter;
  @Field(() => SnapshotStatusFilter, field('status')) status?: object;
  @Field(() => SnapshotOriginFilter, field('origin')) origin?: object;
  @Field(() => Boolean, field('whether it holds memory')) stateful?: boolean;
  @Field(() => DateTimeFilter, field('the time the copy was taken')) createdAt?: DateTimeFilter;
  @Field(() => DateTimeFilter, field('the time it is deleted')) expiresAt?: DateTimeFilter;
  @Field(() => [SnapshotFilter], AND) and?: SnapshotFilter[];
  @Field(() => [SnapshotFilter], OR) or?: SnapshotFilter[];
  @Field(() => SnapshotFilter, NOT) not?: SnapshotFilter;
}

@InputType({ description: 'Which operations; all that is given must hold.' })
export class OperationFilter {
  [key: string]: unknown;
  @Field(() => OperationKindFilter, field('kind')) kind?: object;
  @Field(() => OperationStatusFilter, field('status')) status?: object;
  @Field(() => StringFilter, field("its snapshot's name")) snapshotName?: StringFilter;
  @Field(() => DateTimeFilter, field('the time it was accepted')) createdAt?: DateTimeFilter;
  @Field(() => [OperationFilter], AND) and?: OperationFilter[];
  @Field(() => [OperationFilter], OR) or?: OperationFilter[];
  @Field(() => OperationFilter, NOT) not?: OperationFilter;
}

@InputType({ description: 'Which users; all that is given must hold.' })
export class UserFilter {
  [key: string]: unknown;
  @Field(() => StringFilter, field('e-mail address')) email?: StringFilter;
  @Field(() => StringFilter, field('display name')) displayName?: StringFilter;
  @Field(() => RoleFilter, field('role')) role?: object;
  @Field(() => UserStatusFilter, field('status')) status?: object;
  @Field(() => DateTimeFilter, field('time of creation')) createdAt?: DateTimeFilter;
  @Field(() => [UserFilter], AND) and?: UserFilter[];
  @Field(() => [UserFilter], OR) or?: UserFilter[];
  @Field(() => UserFilter, NOT) not?: UserFilter;
}

export enum OrderDirection {
  ASC = 'ASC',
  DESC = 'DESC',
}
registerEnumType(OrderDirection, {
  name: 'OrderDirection',
  description: 'Which end comes first.',
  valuesConfig: {
    ASC: { description: 'Smallest or oldest first.' },
    DESC: { description: 'Largest or newest first.' },
  },
});

export enum InstanceOrderField {
  NAME = 'NAME',
  CREATED_AT = 'CREATED_AT',
}
export enum SnapshotOrderField {
  CREATED_AT = 'CREATED_AT',
  NAME = 'NAME',
}
for (const [type, name, what] of [
  [InstanceOrderField, 'InstanceOrderField', 'instances'],
  [SnapshotOrderField, 'SnapshotOrderField', 'snapshots'],
] as const) {
  registerEnumType<object>(type, {
    name,
    description: `What ${what} are ordered by; the id breaks ties.`,
    valuesConfig: { NAME: { description: 'By name.' }, CREATED_AT: { description: 'By time of creation.' } },
  });
}

@InputType({ description: 'The order of instances.' })
export class InstanceOrder {
  @Field(() => InstanceOrderField, { description: 'By what.' }) field: InstanceOrderField;
  @Field(() => OrderDirection, { description: 'Which end first.' }) direction: OrderDirection;
}

@InputType({ description: 'The order of snapshots.' })
export class SnapshotOrder {
  @Field(() => SnapshotOrderField, { description: 'By what.' }) field: SnapshotOrderField;
  @Field(() => OrderDirection, { description: 'Which end first.' }) direction: OrderDirection;
}
