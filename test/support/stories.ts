/** What many tests do with snapshots, in their words. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { TestClient } from './app';
import { until } from './until';

export interface OperationResult {
  id: string;
  status: string;
  error: { code: string; message: string; remediation: string | null; retryable: boolean } | null;
  snapshot: { id: string; name: string; status: string } | null;
  snapshotName: string | null;
  items: { snapshotName: string; status: string; error: { code: string } | null }[];
  steps: { name: string; status: string }[];
}

const OPERATION = `id status error { code message remediation retryable } snapshot { id name status } snapshotName
  items { snapshotName status error { code } } steps { name status }`;

/** The id of an instance by its name. */
export async function instanceId(client: TestClient, name: string, project = 'default'): Promise<string> {
  const { instance } = await client.query('query ($name: String!, $project: String!) { instance(name: $name, project: $project) { id } }', { name, project }); // prettier-ignore
  if (!instance) throw new Error(`no instance ${name}`);
  return instance.id;
}

/** Waits until an operation has ended, and gives it. */
export async function ended(client: TestClient, operationId: string, ms = 60_000): Promise<OperationResult> {
  return until(
    async () => {
      const query = `query ($id: ID!) { operation(id: $id) { done ${OPERATION} } }`;
      const operation = (await client.query(query, { id: operationId }).catch(unlessOverloaded))?.operation;
      return operation?.done ? operation : null;
    },
    ms,
    `the end of operation ${operationId}`,
  );
}

/** The mutations that start work on one snapshot. */
export type Mutation = 'createSnapshot' | 'restoreSnapshot' | 'deleteSnapshot' | 'renameSnapshot' | 'retryOperation';

/** Calls a mutation that starts work, and gives its payload. */
export async function ask(client: TestClient, mutation: Mutation, input: object): Promise<any> {
  const type = `${mutation[0]?.toUpperCase()}${mutation.slice(1)}Input`;
  const data = await client.query(
    `mutation ($input: ${type}!) { ${mutation}(input: $input) {
       snapshot { id name status stateful createdAt } operation { ${OPERATION} } replayed
       userErrors { __typename code message field remediation correlationId
         ... on NameTakenError { existing { id name } } ... on InstanceBusyError { operation { id } }
         ... on StatefulNotSupportedError { reasons } ... on StatefulRequiresRunningError { status } } } }`,
    { input },
  );
  return data[mutation];
}

/** Withdraws an operation, and gives the payload. */
export async function cancel(client: TestClient, operationId: string): Promise<any> {
  const query = `mutation ($input: CancelOperationInput!) { cancelOperation(input: $input) {
    operation { ${OPERATION} done cancellable waitingReason createdAt startedAt finishedAt }
    userErrors { code message field remediation } } }`;
  return (await client.query(query, { input: { operationId } })).cancelOperation;
}

/** How long a client waits before it asks again. */
const RETRY_MS = 250;

/**
 * Asks, and waits for the end; throws when refused. Asks again, as clients do, while the instance is busy or the service has
 * more to do than it can: a 503 of that kind has begun nothing.
 */
export async function done(client: TestClient, mutation: Mutation, input: object): Promise<OperationResult> {
  const payload = await until(async () => {
    const answer = await ask(client, mutation, input).catch(unlessOverloaded);
    if (answer && answer.userErrors[0]?.code !== 'INSTANCE_BUSY') return answer;
    await sleep(RETRY_MS);
    return null;
  }, 60_000);
  if (payload.userErrors.length > 0) throw new Error(JSON.stringify(payload.userErrors));
  return ended(client, payload.operation.id);
}

function unlessOverloaded(error: Error): null {
  if (error.message.includes('"SERVICE_UNAVAILABLE"')) return null;
  throw error;
}
