/**
 * Who may select what: a row for each root field with what it answers to each of five callers, and for every other field of
 * the schema a row that says who is told its value. A field that is not here fails the test of access.
 *
 * Cells of root fields: `answer` it answers; `seen` it shows the instance in question; `hidden` it answers exactly as if that
 * did not exist; `401` UNAUTHENTICATED; `403` FORBIDDEN. `$instance` and its like are filled in with real ids and with
 * well-formed ids of nothing.
 */
export const ROOTS = `
  field                         | arguments                                                          | anonymous | assigned | stranger | operations | admin
  Query.apiInfo                 |                                                                    | answer    | answer   | answer   | answer     | answer
  Query.viewer                  |                                                                    | 401       | seen     | hidden   | answer     | answer
  Query.node                    | id: $instance                                                      | 401       | seen     | hidden   | seen       | seen
  Query.node                    | id: $snapshot                                                      | 401       | seen     | hidden   | seen       | seen
  Query.node                    | id: $operation                                                     | 401       | seen     | hidden   | seen       | seen
  Query.node                    | id: $user                                                          | 401       | answer   | hidden   | hidden     | answer
  Query.node                    | id: $apiToken                                                      | 401       | answer   | hidden   | hidden     | answer
  Query.node                    | id: $engine                                                        | 401       | hidden   | hidden   | hidden     | hidden
  Query.node                    | id: $assignment                                                    | 401       | hidden   | hidden   | hidden     | hidden
  Query.nodes                   | ids: [$instance, $snapshot, $operation]                            | 401       | seen     | hidden   | seen       | seen
  Query.instance                | id: $instance                                                      | 401       | seen     | hidden   | seen       | seen
  Query.instance                | name: $name                                                        | 401       | seen     | hidden   | seen       | seen
  Query.instances               | filter: { name: { eq: $name } }                                    | 401       | seen     | hidden   | seen       | seen
  Query.instances               | filter: { or: [{ name: { startsWith: $name } }] }, last: 3         | 401       | seen     | hidden   | seen       | seen
  Query.snapshot                | id: $snapshot                                                      | 401       | seen     | hidden   | seen       | seen
  Query.snapshots               | filter: { name: { eq: $snapshotName } }                            | 401       | seen     | hidden   | seen       | seen
  Query.operation               | id: $operation                                                     | 401       | seen     | hidden   | seen       | seen
  Query.operations              | filter: { snapshotName: { eq: $snapshotName } }                    | 401       | seen     | hidden   | seen       | seen
  Query.users                   |                                                                    | 401       | 403      | 403      | 403        | seen
  Query.auditEvents             | filter: { resourceId: { eq: $snapshot } }, last: 3                 | 401       | hidden   | hidden   | seen       | seen
  Query.node                    | id: $entry                                                         | 401       | hidden   | hidden   | answer     | answer
  Query.auditVerification       |                                                                    | 401       | 403      | 403      | 403        | answer
  Mutation.signIn               | input: { email: "nobody@keyframe.test", password: "nothing" }      | answer    | answer   | answer   | answer     | answer
  Mutation.refreshSession       | input: { refreshToken: "nothing" }                                 | answer    | answer   | answer   | answer     | answer
  Mutation.signOut              |                                                                    | 401       | answer   | answer   | answer     | answer
  Mutation.changePassword       | input: { currentPassword: "nothing", newPassword: "nothing" }      | 401       | answer   | answer   | answer     | answer
  Mutation.endSession           | input: { sessionId: "nothing" }                                    | 401       | answer   | answer   | answer     | answer
  Mutation.endOtherSessions     |                                                                    | 401       | answer   | answer   | answer     | answer
  Mutation.createApiToken       | input: { name: "", role: USER }                                    | 401       | answer   | answer   | answer     | answer
  Mutation.revokeApiToken       | input: { apiTokenId: $apiToken }                                   | 401       | answer   | hidden   | hidden     | answer
  Mutation.createSnapshot       | input: { instanceId: $instance, name: "made-by-nobody" }           | 401       | 403      | 403      | answer     | answer
  Mutation.restoreSnapshot      | input: { snapshotId: $snapshot }                                   | 401       | 403      | 403      | answer     | answer
  Mutation.deleteSnapshot       | input: { snapshotId: $snapshot }                                   | 401       | 403      | 403      | answer     | answer
  Mutation.deleteSnapshots      | input: { snapshotIds: [$snapshot] }                                | 401       | 403      | 403      | answer     | answer
  Mutation.renameSnapshot       | input: { snapshotId: $snapshot, name: "renamed-by-nobody" }        | 401       | 403      | 403      | answer     | answer
  Mutation.updateSnapshot       | input: { snapshotId: $snapshot, description: "changed by nobody" } | 401       | 403      | 403      | answer     | answer
  Mutation.cancelOperation      | input: { operationId: $operation }                                 | 401       | 403      | 403      | answer     | answer
  Mutation.retryOperation       | input: { operationId: $operation }                                 | 401       | 403      | 403      | answer     | answer
  Mutation.createUser           | input: { email: "no address", role: ADMIN }                        | 401       | 403      | 403      | 403        | answer
  Mutation.updateUser           | input: { userId: $user, role: ADMIN }                              | 401       | 403      | 403      | 403        | answer
  Mutation.setUserPassword      | input: { userId: $user }                                           | 401       | 403      | 403      | 403        | answer
  Mutation.removeUser           | input: { userId: $user }                                           | 401       | 403      | 403      | 403        | answer
  Mutation.assignInstance       | input: { userId: $user, instanceId: $instance }                    | 401       | 403      | 403      | 403        | answer
  Mutation.unassignInstance     | input: { userId: $user, instanceId: $instance }                    | 401       | 403      | 403      | 403        | answer
  Subscription.instanceUpdated  | id: $instance                                                      | 401       | seen     | hidden   | seen       | seen
  Subscription.operationUpdated | id: $operation                                                     | 401       | seen     | hidden   | seen       | seen
  Subscription.events           |                                                                    | 401       | answer   | answer   | answer     | answer
`;

/**
 * Who is told: `all` whoever reached the object; `staff` only OPERATIONS and ADMIN, refused with FORBIDDEN to others; `self`,
 * `operations` and `admin` these, and null for others; `actor` the one who did it, and null for others; `session` as `self` and
 * `admin`, but refused with FORBIDDEN to API tokens.
 */
export const FIELDS = `
  type                         | who                    | fields
  Node                         | all                    | id
  User                         | all                    | id displayName
  User                         | self, operations, admin | email
  User                         | self, admin            | role status createdAt assignedInstances
  Session                      | self, admin            | id createdAt refreshedAt expiresAt address client current
  User                         | session               | apiTokens sessions
  Instance                     | all                    | id name project location type status createdAt observedAt configuration engine
  Instance                     | all                    | snapshots latestSnapshot activeOperation operations statefulSnapshotSupport viewerPermissions
  Instance                     | staff                  | assignments
  InstanceConfiguration        | all                    | description profiles entries devices
  ConfigurationEntry           | all                    | key value
  ConfigurationDevice          | all                    | name properties
  StatefulSnapshotSupport      | all                    | supported reasons
  InstancePermissions          | all                    | createSnapshot createStatefulSnapshot restoreSnapshot deleteSnapshot
  SnapshotPermissions          | all                    | restore delete rename update
  Permission                   | all                    | allowed reason message
  InstanceAssignment           | all                    | id createdAt user instance
  Engine                       | all                    | id kind name version capabilities unavailableSince observedAt
  Snapshot                     | all                    | id name createdAt stateful status origin description durationSeconds expiresAt observedAt version
  Snapshot                     | all                    | sizeBytes error instance contents createdBy createdByOperation viewerPermissions
  SnapshotContents             | all                    | fileSystem configuration memory
  Operation                    | all                    | id kind status snapshotName waitingReason correlationId attempts createdAt startedAt finishedAt
  Operation                    | all                    | done progressPercent cancellable items steps error instance snapshot actor
  Operation                    | actor                  | idempotencyKey
  OperationItem                | all                    | snapshotName status error snapshot
  OperationStep                | all                    | name status startedAt finishedAt
  OperationError               | all                    | code message retryable remediation correlationId
  ApiToken                     | all                    | id name prefix role instanceIds createdAt expiresAt lastUsedAt revokedAt user
  ApiTokenConnection           | all                    | edges nodes pageInfo totalCount
  ApiTokenEdge                 | all                    | node cursor
  CreateApiTokenPayload        | all                    | apiToken token userErrors
  RevokeApiTokenPayload        | all                    | apiToken userErrors
  Event                        | all                    | cursor occurredAt change nodeId node instanceId
  InstanceConnection           | all                    | edges nodes pageInfo totalCount
  InstanceEdge                 | all                    | node cursor
  InstanceAssignmentConnection | all                    | edges nodes pageInfo totalCount
  InstanceAssignmentEdge       | all                    | node cursor
  SnapshotConnection           | all                    | edges nodes pageInfo totalCount
  SnapshotEdge                 | all                    | node cursor
  OperationConnection          | all                    | edges nodes pageInfo totalCount
  OperationEdge                | all                    | node cursor
  UserConnection               | all                    | edges nodes pageInfo totalCount
  UserEdge                     | all                    | node cursor
  SessionConnection            | self, admin            | edges nodes pageInfo totalCount
  SessionEdge                  | self, admin            | node cursor
  AuditEvent                   | all                    | id createdAt actor action outcome code
  AuditEvent                   | actor, admin           | actorRole credential address client
  AuditEvent                   | all                    | resourceType resourceId resourceName changes correlationId position
  AuditCredential              | all                    | kind id
  AuditFieldChange             | all                    | field before after
  AuditEventConnection         | all                    | edges nodes pageInfo totalCount
  AuditEventEdge               | all                    | node cursor
  AuditVerification            | all                    | intact firstBad checkedCount unsignedCount unsealedCount newestCheckpoint
  AuditBadEntry                | all                    | fault id position
  AuditCheckpointInfo          | all                    | position hash createdAt
  PageInfo                     | all                    | hasNextPage hasPreviousPage startCursor endCursor
  ApiInfo                      | all                    | version administratorContact engine limits externalIdentity
  ApiExternalIdentity          | all                    | issuer
  ApiEngine                    | all                    | kind capabilities available
  ApiLimits                    | all                    | defaultPageSize maxPageSize maxNodeIds maxSnapshotIds maxBodyBytes maxDocumentBytes maxTokens maxDepth maxAliases maxDirectives maxRootFields maxFields maxDefinitions maxVariablesBytes maxVariablesDepth maxListLength maxCost maxSocketOperations requestTimeoutSeconds
  ApiLimits                    | all                    | requestsPerMinutePerAccount requestsPerMinutePerToken requestsPerMinutePerAddress openStreamsPerAccount openStreamsPerAddress failedSignInsPerAccount failedSignInsPerAddress badTokensPerMinutePerAddress
  SignInPayload                | all                    | accessToken refreshToken expiresAt viewer userErrors
  SignOutPayload               | all                    | userErrors
  ChangePasswordPayload        | all                    | viewer userErrors
  EndSessionPayload            | all                    | viewer userErrors
  EndOtherSessionsPayload      | all                    | viewer userErrors
  CreateSnapshotPayload        | all                    | snapshot operation replayed userErrors
  RestoreSnapshotPayload       | all                    | snapshot operation replayed userErrors
  DeleteSnapshotPayload        | all                    | snapshot operation replayed userErrors
  DeleteSnapshotsPayload       | all                    | operations results replayed userErrors
  DeleteSnapshotResult         | all                    | snapshotId operation userErrors
  RenameSnapshotPayload        | all                    | snapshot operation replayed userErrors
  UpdateSnapshotPayload        | all                    | snapshot userErrors
  CancelOperationPayload       | all                    | operation userErrors
  RetryOperationPayload        | all                    | snapshot operation replayed userErrors
  CreateUserPayload            | all                    | user oneTimePassword userErrors
  UpdateUserPayload            | all                    | user userErrors
  SetUserPasswordPayload       | all                    | user oneTimePassword userErrors
  RemoveUserPayload            | all                    | user userErrors
  AssignInstancePayload        | all                    | user instance userErrors
  UnassignInstancePayload      | all                    | user instance userErrors
  UserError                    | all                    | code message field correlationId remediation
  SimpleUserError              | all                    | code message field correlationId remediation
  NameTakenError               | all                    | code message field correlationId remediation existing
  InstanceBusyError            | all                    | code message field correlationId remediation operation
  StatefulNotSupportedError    | all                    | code message field correlationId remediation reasons
  StatefulRequiresRunningError | all                    | code message field correlationId remediation status
  NewerSnapshotsExistError     | all                    | code message field correlationId remediation snapshots
`;

/** The fields that are for people alone: refused to API tokens of every role. */
export const SESSION_ONLY = [
  'Mutation.signOut',
  'Mutation.changePassword',
  'Mutation.createApiToken',
  'Mutation.revokeApiToken',
  'Mutation.endSession',
  'Mutation.endOtherSessions',
  'Mutation.createUser',
  'Mutation.updateUser',
  'Mutation.setUserPassword',
  'Mutation.removeUser',
  'User.apiTokens',
  'User.sessions',
];

export type CallerName = 'anonymous' | 'assigned' | 'stranger' | 'operations' | 'admin';
export const CALLERS: CallerName[] = ['anonymous', 'assigned', 'stranger', 'operations', 'admin'];
export type Cell = 'answer' | 'seen' | 'hidden' | '401' | '403';

export interface RootRow {
  kind: 'Query' | 'Mutation' | 'Subscription';
  field: string;
  args: string;
  cells: Record<CallerName, Cell>;
}

export interface FieldRow {
  type: string;
  who: string;
  fields: string[];
}

/** The rows of ROOTS. */
export const rootRows: RootRow[] = rowsOf(ROOTS).map((row) => {
  const [kind, field] = (row['field'] ?? '').split('.');
  const cells = Object.fromEntries(CALLERS.map((caller) => [caller, row[caller]])) as RootRow['cells'];
  return { kind: kind as RootRow['kind'], field: field ?? '', args: row['arguments'] ?? '', cells };
});

/** The rows of FIELDS. */
export const fieldRows: FieldRow[] = rowsOf(FIELDS).map(({ type = '', who = '', fields = '' }) => ({
  type,
  who,
  fields: fields.split(' '),
}));

/** Every field that the tables know, as `Type.field`. */
export function knownFields(): string[] {
  const roots = new Set(rootRows.map(({ kind, field }) => `${kind}.${field}`));
  return [...roots, ...fieldRows.flatMap(({ type, fields }) => fields.map((field) => `${type}.${field}`))];
}

function rowsOf(table: string): Record<string, string>[] {
  const [head = [], ...rows] = table
    .trim()
    .split('\n')
    .map((line) => line.split('|').map((cell) => cell.trim()));
  return rows.map((row) => Object.fromEntries(head.map((name, index) => [name, row[index] ?? ''])));
}
