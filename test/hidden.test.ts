/** What is hidden answers as what is missing: the same bytes but for ids, by the same statements, and as many. */
import { WebSocket } from 'ws';
import { rootRows } from './support/access-table';
import { startWorld, statementsOf, type World } from './support/access-world';

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(() => world.app.stop());

/** An answer as it came over the line, without what no two answers share. */
type Raw = (document: string) => Promise<unknown>;

const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

function headers(): Record<string, string> {
  return { 'content-type': 'application/json', authorization: `Bearer ${world.callers.stranger.token ?? ''}` };
}

const overHttp = (accept: string): Raw => async (document) => {
  const response = await fetch(`${world.app.url}/graphql`, { method: 'POST', headers: { ...headers(), accept }, body: JSON.stringify({ query: document }) });
  const { date: _, ...kept } = Object.fromEntries(response.headers);
  return [response.status, kept, (await response.text()).replace(UUID, 'id')];
}; // prettier-ignore

const overSocket: Raw = async (document) => {
  const socket = new WebSocket(`${world.app.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
  const said: string[] = [];
  const ended = new Promise<void>((resolve) => {
    socket.on('message', (data: Buffer) => {
      const text = data.toString();
      said.push(text.replace(UUID, 'id'));
      const { type } = JSON.parse(text) as { type: string };
      if (type === 'connection_ack') socket.send(JSON.stringify({ id: '1', type: 'subscribe', payload: { query: document } }));
      if (type === 'complete' || type === 'error') resolve();
    });
  });
  socket.on('open', () => socket.send(JSON.stringify({ type: 'connection_init', payload: headers() })));
  await ended;
  socket.terminate();
  return said;
}; // prettier-ignore

const TRANSPORTS: Record<string, Raw> = {
  'HTTP': overHttp('application/graphql-response+json'),
  'HTTP of old': overHttp('application/json'),
  'server-sent events': overHttp('text/event-stream'),
  'WebSocket': overSocket,
}; // prettier-ignore

/** Documents with a place for an id, or for a name; `$` is the instance's, the snapshot's or the operation's. */
const PATHS: Record<string, [keyof World['real']  , string]> = {
  'an instance by its id': ['instance', '{ instance(id: $) { id name status snapshots { totalCount nodes { id } } operations { totalCount } viewerPermissions { createSnapshot { allowed reason message } } } }'],
  'an instance by its name': ['name', '{ instance(name: $) { id snapshots { nodes { name } } } }'],
  'a snapshot': ['snapshot', '{ snapshot(id: $) { id name instance { name } createdBy { displayName } } }'],
  'an operation': ['operation', '{ operation(id: $) { id status steps { name } instance { name } snapshot { name } actor { displayName } } }'],
  'a node, an instance': ['instance', '{ node(id: $) { id ... on Instance { name latestSnapshot { name } activeOperation { id } } } }'],
  'a node, a snapshot': ['snapshot', '{ node(id: $) { id ... on Snapshot { name instance { name } } } }'],
  'a node, an operation': ['operation', '{ node(id: $) { id ... on Operation { status instance { name } } } }'],
  'a node, somebody else': ['user', '{ node(id: $) { id ... on User { displayName email } } }'],
  'nodes': ['instance', '{ nodes(ids: [$, "nonsense", $]) { id } }'],
  'a list, by name': ['name', '{ instances(filter: { name: { eq: $ } }) { totalCount nodes { id } edges { cursor } pageInfo { hasNextPage endCursor } } }'],
  'a list, by the beginning of a name': ['name', '{ instances(filter: { or: [{ name: { startsWith: $ } }, { name: { in: [$] } }] }) { totalCount nodes { id } } }'],
  'a list of snapshots': ['snapshotName', '{ snapshots(filter: { name: { contains: $ } }) { totalCount nodes { id instance { name } } } }'],
  'a list of operations': ['snapshotName', '{ operations(filter: { snapshotName: { eq: $ } }) { totalCount nodes { id } } }'],
  'a list of what is not': ['name', '{ instances(filter: { not: { name: { eq: $ } } }) { totalCount nodes { name } } }'],
  'a list within oneself': ['name', '{ viewer { assignedInstances(filter: { name: { eq: $ } }) { totalCount nodes { id snapshots { totalCount } } } } }'],
  'a list within another': ['snapshotName', '{ instances { nodes { name snapshots(filter: { name: { eq: $ } }) { totalCount } operations(filter: { snapshotName: { eq: $ } }) { totalCount } } } }'],
  'a refused field of it': ['instance', '{ instance(id: $) { assignments { totalCount } } }'],
  'a refused act on it': ['snapshot', 'mutation { deleteSnapshot(input: { snapshotId: $ }) { userErrors { code } } }'],
  'the audit log, by what it is of': ['snapshot', '{ auditEvents(filter: { resourceId: { eq: $ } }, last: 3) { totalCount nodes { id action } edges { cursor } pageInfo { hasPreviousPage endCursor } } }'],
  'a node, an entry of the audit log': ['entry', '{ node(id: $) { id ... on AuditEvent { action resourceName } } }'],
  'a node, an API token of somebody else': ['apiToken', '{ node(id: $) { id ... on ApiToken { name prefix } } }'],
  'revoking an API token of somebody else': ['apiToken', 'mutation { revokeApiToken(input: { apiTokenId: $ }) { apiToken { id } userErrors { code message field remediation } } }'],
  'following an instance': ['instance', 'subscription { instanceUpdated(id: $) { id name } }'],
  'following an operation': ['operation', 'subscription { operationUpdated(id: $) { id status } }'],
}; // prettier-ignore

describe.each(Object.entries(TRANSPORTS))('over %s', (_, ask) => {
  test.each(Object.entries(PATHS))('%s: hidden is missing', async (_path, [of, document]) => {
    // A name of nothing, as long as the other, so that lengths can be compared.
    const nothing = { ...world.missing, snapshotName: 'k'.repeat(world.real['snapshotName']?.length ?? 0) };
    const fill = (values: World['real']) => document.replaceAll('$', JSON.stringify(values[of]));
    await ask(fill(nothing)); // the first of a kind may cost more
    const hidden = await statementsOf(world.app, () => ask(fill(world.real)));
    const missing = await statementsOf(world.app, () => ask(fill(nothing)));
    expect(hidden).toEqual(missing);
    expect(hidden.statements.length).toBeGreaterThan(0);
    for (const secret of world.secrets) expect(JSON.stringify(hidden.result)).not.toContain(secret);
  });
});

test('a place in a list that was told to somebody else is no place to learn from', async () => {
  const { operations, stranger } = world.callers;
  const { instances } = await operations.query('{ instances(filter: { name: { eq: "web-1" } }) { edges { cursor } } }');
  const cursor: string = instances.edges[0].cursor;
  const parts = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as unknown[];
  const [id] = JSON.stringify(parts).match(UUID) ?? [];
  const other = Buffer.from(JSON.stringify(parts).replace(id ?? '', '00000000-0000-7000-8000-000000000000')).toString('base64url');
  const document = (after: string) => `{ instances(after: "${after}") { totalCount nodes { name } pageInfo { hasPreviousPage hasNextPage } } }`;
  const hidden = await statementsOf(world.app, () => stranger.send(document(cursor)));
  const missing = await statementsOf(world.app, () => stranger.send(document(other)));
  expect([typeof id, hidden]).toEqual(['string', missing]);
}); // prettier-ignore

test('every path of the table that hides something is compared here', () => {
  const compared = Object.values(PATHS).map(([, document]) => /[{(] (\w+)/.exec(document)?.[1]);
  const hiding = rootRows.filter(({ cells }) => cells.stranger === 'hidden').map(({ field }) => field);
  expect([...new Set(hiding)].filter((field) => !compared.includes(field))).toEqual([]);
});
