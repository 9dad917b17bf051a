/** What the product's documentation promises, one by one and in its order, on the demo that everybody meets first. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { parseStatus } from './support/local-engine';
import { missingId } from './support/rows';
import { ask, done, ended, instanceId } from './support/stories';
import { until } from './support/until';

let app: TestApp;
let alice: TestClient;
let ops: TestClient;
let admin: TestClient;

beforeAll(async () => {
  app = await startTestApp();
  [alice, ops, admin] = await Promise.all([app.as('alice'), app.as('ops'), app.as('admin')]);
});
afterAll(() => app.stop());

const TAB = 'query ($name: String!) { instance(name: $name) { snapshots { nodes { id name createdAt stateful } } } }';
const web = (path: string) => join(app.folder, 'engine/instances/default/web-1/rootfs', path);
const counter = async () => parseStatus(await readFile(web('srv/status'), 'utf8'));

/** What a mutation could change. When things were last seen on the engine is the observer's affair. */
const ROWS = `
select (select json_agg(s order by id) from (select id, name, status, description from snapshots) s) as snapshots,
  (select count(*) from operations) as operations, (select count(*) from idempotency_keys) as keys,
  (select json_agg(i order by id) from (select id, name, status from instances) i) as instances`;

async function tab(client: TestClient, name: string): Promise<any[]> {
  return (await client.query(TAB, { name })).instance.snapshots.nodes;
}

async function take(name: string, more: object = {}): Promise<string> {
  const taken = await done(ops, 'createSnapshot', { instanceId: await instanceId(ops, 'web-1'), name, ...more });
  expect(taken).toMatchObject({ status: 'SUCCEEDED' });
  return taken.snapshot?.id ?? '';
}

test('a snapshot belongs to one instance and has a time', async () => {
  const { snapshots } = await alice.query('{ snapshots { nodes { createdAt instance { name } } } }');
  expect(snapshots.nodes.length).toBeGreaterThan(3);
  for (const { createdAt, instance } of snapshots.nodes) {
    expect(createdAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    expect(instance.name).toMatch(/-1$/);
  }
});

test('whoever is signed out is refused', async () => {
  const { status, data, errors } = await app.anonymous.send(TAB, { name: 'web-1' });
  expect([status, data, errors?.[0]?.extensions.code]).toEqual([401, undefined, 'UNAUTHENTICATED']);
});

test('what is not assigned is invisible on list, node, nested field, count and subscription', async () => {
  const id = await instanceId(ops, 'build-1');
  const seen = await alice.query(
    `query ($id: ID!) { node(id: $id) { id } instance(id: $id) { id } named: instance(name: "build-1") { id }
       instances(filter: { name: { eq: "build-1" } }) { totalCount nodes { id } }
       snapshots(filter: { name: { eq: "clean" } }) { totalCount } operations { nodes { instance { name } } } }`,
    { id },
  );
  const { operations, ...rest } = seen;
  expect(rest).toEqual({ node: null, instance: null, named: null, instances: { totalCount: 0, nodes: [] }, snapshots: { totalCount: 0 } }); // prettier-ignore
  expect(operations.nodes.map(({ instance }: any) => instance.name)).not.toContain('build-1');
  const socket = alice.socket();
  const events: unknown[] = [];
  for await (const event of socket.iterate({ query: `subscription { instanceUpdated(id: "${id}") { name } }` })) events.push(event); // prettier-ignore
  await socket.dispose();
  expect(events).toEqual([]);
});

test('a user is refused create, restore and delete, in the same words for everything, and nothing changes', async () => {
  const before = await app.db.query(ROWS);
  const own = await tab(alice, 'web-1');
  const [others] = await tab(ops, 'build-1');
  const answers = new Set<string>();
  for (const [instance, snapshot] of [
    [await instanceId(alice, 'web-1'), own[0].id],
    [await instanceId(ops, 'build-1'), others.id],
    [missingId('Instance'), missingId('Snapshot')],
  ]) {
    for (const wish of [
      `createSnapshot(input: { instanceId: "${instance}", name: "mine" }) { userErrors { code } }`,
      `restoreSnapshot(input: { snapshotId: "${snapshot}" }) { userErrors { code } }`,
      `deleteSnapshot(input: { snapshotId: "${snapshot}" }) { userErrors { code } }`,
    ]) {
      const { status, data, errors } = await alice.send(`mutation { it: ${wish} }`);
      answers.add(JSON.stringify([status, data, errors?.[0]?.message, errors?.[0]?.extensions.code]));
    }
  }
  expect([...answers]).toHaveLength(1);
  expect([...answers][0]).toContain('FORBIDDEN');
  expect(await app.db.query(ROWS)).toEqual(before);
});

test('one query fills the tab', async () => {
  const rows = await tab(alice, 'web-1');
  expect(rows.map(({ name, stateful }) => [name, stateful])).toEqual([['warm-cache', true], ['before-upgrade', false]]); // prettier-ignore
});

test('the name is the one that was given, unchanged', async () => {
  const name = 'Before.the_2nd-UPGRADE.of-2026';
  await take(name);
  expect((await tab(alice, 'web-1')).map((row) => row.name)).toContain(name);
});

test('created at is when the copy was taken', async () => {
  const before = Date.now();
  await take('just-now');
  const row = (await tab(alice, 'web-1')).find(({ name }) => name === 'just-now');
  expect(Date.parse(row.createdAt)).toBeGreaterThanOrEqual(before - 1000);
  expect(Date.parse(row.createdAt)).toBeLessThanOrEqual(Date.now());
});

test('whether it is stateful is told', async () => {
  await take('with-memory', { stateful: true });
  const row = (await tab(alice, 'web-1')).find(({ name }) => name === 'with-memory');
  expect(row.stateful).toBe(true);
});

test('a stateless snapshot holds disk and configuration', async () => {
  const snapshotId = await take('disk-and-configuration');
  const { snapshot } = await alice.query('query ($id: ID!) { snapshot(id: $id) { contents { fileSystem configuration memory } } }', { id: snapshotId }); // prettier-ignore
  expect(snapshot.contents).toEqual({ fileSystem: true, configuration: true, memory: false });
  const motd = await readFile(web('etc/motd'), 'utf8');
  await writeFile(web('etc/motd'), 'broken');
  await app.local.configure({ project: 'default', name: 'web-1' }, 'limits.cpu', '7');
  expect(await done(ops, 'restoreSnapshot', { snapshotId })).toMatchObject({ status: 'SUCCEEDED' });
  expect(await readFile(web('etc/motd'), 'utf8')).toBe(motd);
  const { instance } = await alice.query('{ instance(name: "web-1") { configuration { entries { key } } } }');
  expect(instance.configuration.entries).not.toContainEqual({ key: 'limits.cpu' });
});

test('a stateful snapshot goes on where it was', async () => {
  await until(async () => (await counter()).mem > 2, 10_000, 'the counter');
  const snapshotId = await take('in-flight', { stateful: true });
  const then = await counter();
  expect(await done(ops, 'restoreSnapshot', { snapshotId })).toMatchObject({ status: 'SUCCEEDED' });
  const now = await until(async () => (await counter().catch(() => null)) ?? null);
  expect(now.boot).toBe(then.boot);
  expect(now.mem).toBeGreaterThanOrEqual(then.mem);
});

test('stateless is the default', async () => {
  const id = await instanceId(ops, 'new-1');
  const { snapshot, operation } = await ask(ops, 'createSnapshot', { instanceId: id, name: 'plain' });
  expect(snapshot.stateful).toBe(false);
  await ended(ops, operation.id);
});

test('a request never waits for the engine, and size and duration are visible in the end', async () => {
  const { snapshot, operation } = await ask(ops, 'createSnapshot', { instanceId: await instanceId(ops, 'db-1'), name: 'sized' }); // prettier-ignore
  expect([snapshot.status, operation.status]).toEqual(['PENDING', 'QUEUED']);
  await ended(ops, operation.id);
  const after = await alice.query('query ($id: ID!) { snapshot(id: $id) { status sizeBytes durationSeconds } }', { id: snapshot.id }); // prettier-ignore
  expect(after.snapshot).toMatchObject({ status: 'AVAILABLE' });
  expect(after.snapshot.sizeBytes).toBeGreaterThan(0);
  expect(after.snapshot.durationSeconds).toBeGreaterThan(0);
});

test('viewing is for everyone who is assigned, changing for operations and administrators', async () => {
  for (const [name, client] of Object.entries({ ops, admin })) {
    const taken = await done(client, 'createSnapshot', { instanceId: await instanceId(client, 'cache-1'), name });
    const snapshotId = taken.snapshot?.id ?? '';
    expect((await tab(alice, 'cache-1')).map((row) => row.name)).toContain(name);
    expect(await done(client, 'restoreSnapshot', { snapshotId })).toMatchObject({ status: 'SUCCEEDED' });
    expect(await done(client, 'deleteSnapshot', { snapshotId })).toMatchObject({ status: 'SUCCEEDED' });
  }
});

test('a refusal names whom to ask', async () => {
  const { errors } = await alice.send(
    'mutation { deleteSnapshot(input: { snapshotId: "x" }) { userErrors { code } } }',
  );
  expect(errors?.[0]?.message).toContain('an administrator can give you access. Write to help@keyframe.test');
  expect(errors?.[0]?.extensions.contact).toBe('Write to help@keyframe.test');
});

test('after an upgrade that failed, an operator rolls back', async () => {
  const upgrade = (await tab(ops, 'web-1')).find(({ name }) => name === 'before-upgrade');
  await writeFile(web('etc/app.json'), 'half an upgrade');
  expect(await done(ops, 'restoreSnapshot', { snapshotId: upgrade.id })).toMatchObject({ status: 'SUCCEEDED' });
  expect(JSON.parse(await readFile(web('etc/app.json'), 'utf8'))).toMatchObject({ name: 'web-1' });
});

test('an instance in ERROR is restored', async () => {
  const query = '{ instance(name: "shop-1") { status snapshots { nodes { id name } } } }';
  const { instance } = await ops.query(query);
  expect(instance.status).toBe('ERROR');
  expect(await done(ops, 'restoreSnapshot', { snapshotId: instance.snapshots.nodes[0].id })).toMatchObject({ status: 'SUCCEEDED' }); // prettier-ignore
  expect((await ops.query(query)).instance.status).toBe('RUNNING');
});

test('an empty list is empty, and not an error', async () => {
  const { data, errors } = await alice.send(
    '{ snapshots(filter: { name: { eq: "nobody" } }) { totalCount nodes { id } } }',
  );
  expect([data.snapshots, errors]).toEqual([{ totalCount: 0, nodes: [] }, undefined]);
});

test('for each action it is told whether it is allowed, and why not', async () => {
  const query = '{ instance(name: "web-1") { viewerPermissions { createSnapshot { allowed reason message } restoreSnapshot { allowed } deleteSnapshot { allowed } } } }'; // prettier-ignore
  const permissions = async (client: TestClient) => (await client.query(query)).instance.viewerPermissions;
  expect(await permissions(alice)).toMatchObject({ createSnapshot: { allowed: false, reason: 'FORBIDDEN', message: expect.stringContaining('help@keyframe.test') }, restoreSnapshot: { allowed: false } }); // prettier-ignore
  await until(async () => (await permissions(ops)).createSnapshot.allowed, 10_000, 'an idle instance');
  expect(await permissions(ops)).toMatchObject({
    restoreSnapshot: { allowed: true },
    deleteSnapshot: { allowed: true },
  });
});

test('who made a snapshot, and why, is told where its name says nothing', async () => {
  const { instance } = await alice.query('{ instance(name: "db-1") { snapshots(filter: { name: { eq: "asdf" } }) { nodes { description createdBy { displayName } } } } }'); // prettier-ignore
  expect(instance.snapshots.nodes).toEqual([{ description: expect.stringContaining('Named in a hurry'), createdBy: { displayName: 'Oskar Operations' } }]); // prettier-ignore
});
