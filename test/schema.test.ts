import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  buildSchema,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isObjectType,
  isSpecifiedDirective,
  isSpecifiedScalarType,
} from 'graphql';
import { createSchema, printSchema } from '../src/schema';
import { startTestApp } from './support/app';
import { done, instanceId } from './support/stories';

const committed = readFileSync(join(__dirname, '..', 'schema.graphql'), 'utf8');
const schema = buildSchema(committed);
const types = Object.values(schema.getTypeMap()).filter((type) => !isIntrospectionType(type) && !isSpecifiedScalarType(type)); // prettier-ignore

test('schema.graphql is what the program serves', () => {
  expect(committed).toBe(printSchema(createSchema()));
});

test('every type, field, argument, input field, enum value and directive is described', () => {
  const bare: string[] = [];
  const judge = (path: string, { description }: { description?: string | null | undefined }) => {
    if (!description?.trim()) bare.push(path);
  };
  for (const type of types) {
    judge(type.name, type);
    if (isEnumType(type)) for (const value of type.getValues()) judge(`${type.name}.${value.name}`, value);
    if (!isObjectType(type) && !isInterfaceType(type) && !isInputObjectType(type)) continue;
    for (const field of Object.values(type.getFields())) {
      judge(`${type.name}.${field.name}`, field);
      if ('args' in field) for (const arg of field.args) judge(`${type.name}.${field.name}(${arg.name})`, arg);
    }
  }
  for (const directive of schema.getDirectives().filter((each) => !isSpecifiedDirective(each))) {
    judge(`@${directive.name}`, directive);
    for (const arg of directive.args) judge(`@${directive.name}(${arg.name})`, arg);
  }
  expect(bare).toEqual([]);
});

/** The contract's core surface: `Type.field: type`, and arguments where it names them. Other programs are written against it. */
const CONTRACT = `
Query.viewer: User!
Query.node(id: ID!): Node
Query.nodes(ids: [ID!]!): [Node]!
Query.instance(id: ID, name: String, project: String = "default"): Instance
Query.instances(first: Int, after: String, last: Int, before: String, filter: InstanceFilter, orderBy: InstanceOrder): InstanceConnection!
Query.snapshot(id: ID!): Snapshot
Query.snapshots(first: Int, after: String, last: Int, before: String, filter: SnapshotFilter, orderBy: SnapshotOrder): SnapshotConnection!
Query.operation(id: ID!): Operation
Query.operations(first: Int, after: String, last: Int, before: String, filter: OperationFilter): OperationConnection!
Query.users(first: Int, after: String, last: Int, before: String, filter: UserFilter): UserConnection!
Query.apiInfo: ApiInfo!
Mutation.signIn(input: SignInInput!): SignInPayload!
Mutation.refreshSession(input: RefreshSessionInput!): SignInPayload!
Mutation.signOut: SignOutPayload!
Mutation.createSnapshot(input: CreateSnapshotInput!): CreateSnapshotPayload!
Mutation.restoreSnapshot(input: RestoreSnapshotInput!): RestoreSnapshotPayload!
Mutation.deleteSnapshot(input: DeleteSnapshotInput!): DeleteSnapshotPayload!
Mutation.deleteSnapshots(input: DeleteSnapshotsInput!): DeleteSnapshotsPayload!
Mutation.renameSnapshot(input: RenameSnapshotInput!): RenameSnapshotPayload!
Mutation.updateSnapshot(input: UpdateSnapshotInput!): UpdateSnapshotPayload!
Mutation.cancelOperation(input: CancelOperationInput!): CancelOperationPayload!
Mutation.retryOperation(input: RetryOperationInput!): RetryOperationPayload!
Mutation.changePassword(input: ChangePasswordInput!): ChangePasswordPayload!
Mutation.createUser(input: CreateUserInput!): CreateUserPayload!
Mutation.updateUser(input: UpdateUserInput!): UpdateUserPayload!
Mutation.removeUser(input: RemoveUserInput!): RemoveUserPayload!
Mutation.assignInstance(input: AssignInstanceInput!): AssignInstancePayload!
Mutation.unassignInstance(input: UnassignInstanceInput!): UnassignInstancePayload!
Mutation.createApiToken(input: CreateApiTokenInput!): CreateApiTokenPayload!
Mutation.revokeApiToken(input: RevokeApiTokenInput!): RevokeApiTokenPayload!
Subscription.operationUpdated(id: ID!): Operation!
Subscription.instanceUpdated(id: ID!): Instance!`;

const FIELDS = `
SignInInput email password
RefreshSessionInput refreshToken
SignInPayload accessToken refreshToken expiresAt viewer userErrors
CreateSnapshotInput instanceId name stateful description expiresAt idempotencyKey
RestoreSnapshotInput snapshotId restoreMemory idempotencyKey
DeleteSnapshotInput snapshotId idempotencyKey
DeleteSnapshotsInput snapshotIds idempotencyKey
RenameSnapshotInput snapshotId name idempotencyKey
UpdateSnapshotInput snapshotId description expiresAt version
CreateSnapshotPayload snapshot operation replayed userErrors
RestoreSnapshotPayload operation replayed userErrors
DeleteSnapshotPayload operation replayed userErrors
DeleteSnapshotsPayload operations results replayed userErrors
RenameSnapshotPayload snapshot operation replayed userErrors
UpdateSnapshotPayload snapshot userErrors
CancelOperationInput operationId
RetryOperationInput operationId idempotencyKey
CancelOperationPayload operation userErrors
RetryOperationPayload snapshot operation replayed userErrors
ChangePasswordInput currentPassword newPassword
UpdateUserInput role status displayName
AssignInstanceInput userId instanceId
UnassignInstanceInput userId instanceId
User id email displayName role status createdAt assignedInstances apiTokens
CreateApiTokenInput name role expiresAt instanceIds
CreateApiTokenPayload apiToken token userErrors
RevokeApiTokenInput apiTokenId
RevokeApiTokenPayload apiToken userErrors
ApiToken id name prefix role instanceIds expiresAt lastUsedAt createdAt revokedAt user
Instance id name project location engine type status createdAt configuration observedAt snapshots latestSnapshot activeOperation operations assignments statefulSnapshotSupport viewerPermissions
Engine id kind
StatefulSnapshotSupport supported reasons
InstancePermissions createSnapshot restoreSnapshot deleteSnapshot
SnapshotPermissions restore delete
Permission allowed reason message
Snapshot id name createdAt stateful instance status error origin description sizeBytes durationSeconds expiresAt contents createdBy createdByOperation observedAt version viewerPermissions
SnapshotContents fileSystem configuration memory
Operation id kind status done steps progressPercent items instance snapshot snapshotName actor error cancellable attempts idempotencyKey createdAt startedAt finishedAt correlationId
OperationStep name status startedAt finishedAt
OperationItem snapshotName snapshot status error
OperationError code message retryable remediation correlationId
UserError code message field correlationId remediation
SimpleUserError code message field correlationId remediation
NameTakenError existing
InstanceBusyError operation
StatefulNotSupportedError reasons
StatefulRequiresRunningError status
NewerSnapshotsExistError snapshots
PageInfo hasNextPage hasPreviousPage startCursor endCursor
SnapshotConnection edges nodes pageInfo totalCount
ApiInfo version engine limits administratorContact
StringFilter contains eq in startsWith
DateTimeFilter gte lt
SnapshotFilter name status createdAt stateful and or not
InstanceFilter name status and or not
OperationFilter and or not
UserFilter and or not
SnapshotOrder field direction
Role USER OPERATIONS ADMIN
InstanceStatus PENDING CREATING RUNNING STOPPED STOPPING RESTARTING ERROR DELETING DELETED
InstanceType CONTAINER VIRTUAL_MACHINE
SnapshotStatus PENDING CREATING AVAILABLE RESTORING DELETING ERROR MISSING
SnapshotOrigin MANUAL SCHEDULED SAFETY GUARD REQUESTED EXTERNAL
OperationKind SNAPSHOT_CREATE SNAPSHOT_RESTORE SNAPSHOTS_DELETE SNAPSHOT_RENAME
OperationStatus QUEUED RUNNING SUCCEEDED FAILED CANCELLED
UserStatus INVITED ACTIVE LOCKED
UserErrorCode NOT_FOUND INVALID_INPUT NAME_INVALID NAME_TAKEN INSTANCE_BUSY INSTANCE_STATE_INVALID STATEFUL_NOT_SUPPORTED STATEFUL_REQUIRES_RUNNING SNAPSHOT_NOT_READY SNAPSHOT_LOCKED NEWER_SNAPSHOTS_EXIST PLAN_STALE VERSION_CONFLICT IDEMPOTENCY_KEY_REUSED QUOTA_EXCEEDED STORAGE_FULL ENGINE_UNAVAILABLE ENGINE_ERROR OPERATION_NOT_CANCELLABLE OPERATION_NOT_RETRYABLE LAST_ADMIN INVALID_CREDENTIALS
OperationErrorCode ENGINE_UNAVAILABLE ENGINE_ERROR STORAGE_FULL NAME_TAKEN NOT_FOUND INSTANCE_STATE_INVALID STATEFUL_NOT_SUPPORTED OUTCOME_UNKNOWN INTERNAL`;

test.each(CONTRACT.trim().split('\n'))('the contract is kept: %s', (line) => {
  const [, type = '', name = '', args = '', result] = /^(\w+)\.(\w+)(?:\((.*)\))?: (.*)$/.exec(line) ?? [];
  const root = schema.getType(type);
  const field = isObjectType(root) ? root.getFields()[name] : undefined;
  expect(field?.type.toString()).toBe(result);
  for (const arg of args.split(', ').filter(Boolean)) {
    const [, argument = '', argumentType, value] = /^(\w+): (\S+)(?: = "(.*)")?$/.exec(arg) ?? [];
    const found = field?.args.find((each) => each.name === argument);
    expect([argument, found?.type.toString()]).toEqual([argument, argumentType]);
    if (value) expect(found?.defaultValue).toBe(value);
  }
  const required = field?.args.filter((each) => each.type.toString().endsWith('!')).map((each) => each.name) ?? [];
  for (const argument of required) expect(args).toContain(`${argument}:`);
});

test.each(FIELDS.trim().split('\n'))('the contract is kept: %s', (line) => {
  const [name = '', ...members] = line.split(' ');
  const type = schema.getType(name);
  const there = isEnumType(type) ? type.getValues().map((value) => value.name) : Object.keys(type && 'getFields' in type ? type.getFields() : {}); // prettier-ignore
  expect(there).toEqual(expect.arrayContaining(members));
});

test('what people own implements Node, and refusals implement UserError', () => {
  const implementing = (name: string) => {
    const type = schema.getType(name);
    return isInterfaceType(type) ? schema.getPossibleTypes(type).map((each) => each.name) : [];
  };
  expect(implementing('Node')).toEqual(expect.arrayContaining(['User', 'Instance', 'Snapshot', 'Operation']));
  expect(implementing('UserError')).toEqual(expect.arrayContaining(['SimpleUserError', 'NameTakenError', 'InstanceBusyError', 'StatefulNotSupportedError', 'StatefulRequiresRunningError', 'NewerSnapshotsExistError'])); // prettier-ignore
});

test('every time is shown in UTC with three digits of a second, and every size as a JSON number', async () => {
  const app = await startTestApp();
  try {
    const admin = await app.as('admin');
    await done(admin, 'createSnapshot', { instanceId: await instanceId(admin, 'db-1'), name: 'timed', expiresAt: '2099-07-08T09:10:11.98765+02:00' }); // prettier-ignore
    const answer = await admin.query(`query { viewer { createdAt } instances { nodes { createdAt observedAt
      engine { observedAt } assignments { nodes { createdAt } }
      snapshots { nodes { name createdAt observedAt expiresAt sizeBytes } }
      operations { nodes { createdAt startedAt finishedAt steps { startedAt finishedAt } } } } } }`);
    const times: string[] = [];
    const sizes: unknown[] = [];
    JSON.stringify(answer, (key, value: any) => {
      if (key.endsWith('At') && value !== null) times.push(String(value));
      if (key === 'sizeBytes' && value !== null) sizes.push(value);
      return value;
    });
    expect(times.length).toBeGreaterThan(50);
    expect(times.filter((time) => !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/.test(time))).toEqual([]);
    expect(times).toContain('2099-07-08T07:10:11.987Z');
    expect(sizes.length).toBeGreaterThan(0);
    for (const size of sizes) expect(Number.isSafeInteger(size) && Number(size) > 0).toBe(true);
  } finally {
    await app.stop();
  }
});
