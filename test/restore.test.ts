import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { parseStatus } from './support/local-engine';
import { buildInstance, buildSnapshot, hold, missingId } from './support/rows';
import { ask, done, ended, instanceId } from './support/stories';
import { until } from './support/until';

let app: TestApp;
let ops: TestClient;

beforeAll(async () => {
  app = await startTestApp();
  ops = await app.as('ops');
});
afterAll(() => app.stop());

const file = (instance: string, path: string) => join(app.folder, 'engine/instances/default', instance, 'rootfs', path);
const status = async (instance: string) => parseStatus(await readFile(file(instance, 'srv/status'), 'utf8'));
const codes = (payload: { userErrors: { code: string }[] }) => payload.userErrors.map(({ code }) => code);

async function instanceNamed(name: string): Promise<any> {
  const query = `query ($name: String!) { instance(name: $name) { id status activeOperation { id }
    configuration { description entries { key value } } snapshots { nodes { id name status stateful createdAt } } } }`;
  return (await ops.query(query, { name })).instance;
}

async function snapshotNamed(instance: string, name: string): Promise<{ id: string; status: string }> {
  const found = (await instanceNamed(instance)).snapshots.nodes.find((each: { name: string }) => each.name === name);
  if (!found) throw new Error(`no ${name} of ${instance}`);
  return found;
}

async function take(instance: string, name: string, stateful = false): Promise<string> {
  const taken = await done(ops, 'createSnapshot', { instanceId: await instanceId(ops, instance), name, stateful });
  expect(taken).toMatchObject({ status: 'SUCCEEDED' });
  return taken.snapshot?.id ?? '';
}

test('files that were broken, removed or added, and configuration, are those of the snapshot again', async () => {
  await app.local.configure({ project: 'default', name: 'web-1' }, 'user.color', 'blue');
  const snapshotId = await take('web-1', 'whole');
  const motd = await readFile(file('web-1', 'etc/motd'), 'utf8');
  await writeFile(file('web-1', 'etc/motd'), 'broken');
  await rm(file('web-1', 'srv/data/orders.csv'));
  await mkdir(file('web-1', 'srv/new/deep'), { recursive: true });
  await writeFile(file('web-1', 'srv/new/deep/file'), 'new');
  await app.local.configure({ project: 'default', name: 'web-1' }, 'user.color', 'red');
  await app.local.configure({ project: 'default', name: 'web-1' }, 'limits.memory', '1GiB');
  const entriesOf = async () => {
    const { configuration } = await instanceNamed('web-1');
    return Object.fromEntries(configuration.entries.map(({ key, value }: any) => [key, value]));
  };
  await until(async () => (await entriesOf())['limits.memory'] === '1GiB', 10_000, 'the change seen here');

  const { operation, snapshot } = await ask(ops, 'restoreSnapshot', { snapshotId });
  expect(snapshot).toMatchObject({ id: snapshotId, status: 'AVAILABLE' });
  expect(await ended(ops, operation.id)).toMatchObject({
    status: 'SUCCEEDED', error: null, snapshotName: 'whole', snapshot: { id: snapshotId, status: 'AVAILABLE' },
    steps: [{ name: 'check', status: 'SUCCEEDED' }, { name: 'act', status: 'SUCCEEDED' }, { name: 'verify', status: 'SUCCEEDED' }],
  }); // prettier-ignore
  expect(await readFile(file('web-1', 'etc/motd'), 'utf8')).toBe(motd);
  expect(await readFile(file('web-1', 'srv/data/orders.csv'), 'utf8')).toContain('keyboard');
  await expect(readFile(file('web-1', 'srv/new/deep/file'))).rejects.toThrow('ENOENT');
  const entries = await entriesOf();
  expect(entries['user.color']).toBe('blue');
  expect(entries).not.toHaveProperty('limits.memory');
  expect(await instanceNamed('web-1')).toMatchObject({ status: 'RUNNING', activeOperation: null });
});

test('the snapshot itself, and those taken after it, stay as they were', async () => {
  const first = await take('web-1', 'first');
  const second = await take('web-1', 'second');
  const before = (await instanceNamed('web-1')).snapshots.nodes;
  await done(ops, 'restoreSnapshot', { snapshotId: first });
  expect((await instanceNamed('web-1')).snapshots.nodes).toEqual(before);
  expect(await done(ops, 'restoreSnapshot', { snapshotId: second })).toMatchObject({ status: 'SUCCEEDED' });
});

test('from a stateless snapshot processes boot anew; what they had on disk goes on', async () => {
  const snapshotId = await take('web-1', 'cold');
  const before = await status('web-1');
  await until(async () => (await status('web-1')).mem > before.mem + 1, 15_000, 'some more time');
  expect(await done(ops, 'restoreSnapshot', { snapshotId })).toMatchObject({ status: 'SUCCEEDED' });
  const after = await status('web-1');
  expect(after.boot).not.toBe(before.boot);
  expect(after.mem).toBeLessThanOrEqual(2);
  expect(after.disk).toBeLessThanOrEqual(before.disk + 4);
});

test('from a stateful snapshot processes go on where they were', async () => {
  const then = await status('web-1');
  const snapshotId = await take('web-1', 'warm', true);
  const taken = await status('web-1');
  // Another boot in between: only the memory of the snapshot can bring the old one back.
  await app.local.stop({ project: 'default', name: 'web-1' });
  await app.local.start({ project: 'default', name: 'web-1' });
  expect((await status('web-1')).boot).not.toBe(then.boot);
  expect(await done(ops, 'restoreSnapshot', { snapshotId })).toMatchObject({ status: 'SUCCEEDED' });
  const after = await status('web-1');
  expect(after.boot).toBe(then.boot);
  expect(after.mem).toBeGreaterThanOrEqual(then.mem);
  expect(after.mem).toBeLessThanOrEqual(taken.mem + 3);
  await until(async () => (await status('web-1')).mem > after.mem, 10_000, 'its going on');
});

test('a stateful snapshot restored without its memory boots anew', async () => {
  const snapshotId = await take('web-1', 'warm-2', true);
  const before = await status('web-1');
  expect(await done(ops, 'restoreSnapshot', { snapshotId, restoreMemory: false })).toMatchObject({ status: 'SUCCEEDED' }); // prettier-ignore
  const after = await status('web-1');
  expect(after.boot).not.toBe(before.boot);
  expect(after.mem).toBeLessThanOrEqual(2);
});

test('memory cannot be restored from a stateless snapshot: refused at once', async () => {
  const { id } = await snapshotNamed('cache-1', 'weekly');
  const refused = await ask(ops, 'restoreSnapshot', { snapshotId: id, restoreMemory: true });
  expect(refused).toMatchObject({ operation: null, snapshot: null, userErrors: [{ code: 'INVALID_INPUT', field: ['restoreMemory'] }] }); // prettier-ignore
  expect((await instanceNamed('cache-1')).activeOperation).toBeNull();
});

test('a stopped instance stays stopped when it is restored', async () => {
  await writeFile(file('cache-1', 'etc/motd'), 'broken');
  const { id } = await snapshotNamed('cache-1', 'weekly');
  expect(await done(ops, 'restoreSnapshot', { snapshotId: id })).toMatchObject({ status: 'SUCCEEDED' });
  expect(await readFile(file('cache-1', 'etc/motd'), 'utf8')).toBe('Welcome to cache-1.\n');
  expect((await instanceNamed('cache-1')).status).toBe('STOPPED');
});

test('an instance in ERROR is brought back by its last good snapshot', async () => {
  const broken = await until(async () => {
    const instance = await instanceNamed('shop-1');
    return instance.status === 'ERROR' && instance;
  });
  expect(broken.snapshots.nodes).toMatchObject([{ name: 'last-good', status: 'AVAILABLE' }]);
  expect(await done(ops, 'restoreSnapshot', { snapshotId: broken.snapshots.nodes[0].id })).toMatchObject({ status: 'SUCCEEDED' }); // prettier-ignore
  expect((await instanceNamed('shop-1')).status).toBe('RUNNING');
  expect((await status('shop-1')).mem).toBeGreaterThan(0);
});

test('a snapshot with which the instance does not start says so, and the instance shows ERROR', async () => {
  await writeFile(file('build-1', 'etc/app.json'), '{ "half": tru');
  const snapshotId = await take('build-1', 'broken-inside');
  const failed = await done(ops, 'restoreSnapshot', { snapshotId });
  expect(failed).toMatchObject({
    status: 'FAILED',
    error: { code: 'ENGINE_ERROR' },
    snapshot: { status: 'AVAILABLE' },
  });
  expect(failed.error?.message).toContain('ERROR');
  expect((await instanceNamed('build-1')).status).toBe('ERROR');
  const { id } = await snapshotNamed('build-1', 'clean');
  expect(await done(ops, 'restoreSnapshot', { snapshotId: id })).toMatchObject({ status: 'SUCCEEDED' });
  expect((await instanceNamed('build-1')).status).toBe('RUNNING');
});

test.each(['PENDING', 'CREATING', 'RESTORING', 'DELETING', 'ERROR', 'MISSING'])(
  'a snapshot that is %s is not restored: only an AVAILABLE one is known to be whole',
  async (state) => {
    const instance = await buildInstance(app);
    const snapshotId = await buildSnapshot(app, instance, { status: state });
    const refused = await ask(ops, 'restoreSnapshot', { snapshotId });
    expect(refused).toMatchObject({ operation: null, userErrors: [{ code: 'SNAPSHOT_NOT_READY' }] });
    expect(refused.userErrors[0].message).toContain(state);
  },
);

test('what stands in the way is told: another operation, the state of the instance, or that there is no such snapshot', async () => {
  const busy = await buildInstance(app);
  const held = await hold(app, busy);
  const refused = await ask(ops, 'restoreSnapshot', { snapshotId: await buildSnapshot(app, busy) });
  expect(refused.userErrors).toMatchObject([{ __typename: 'InstanceBusyError', operation: { id: held.id } }]);
  for (const state of ['CREATING', 'STOPPING', 'RESTARTING', 'DELETING', 'DELETED']) {
    const instance = await buildInstance(app, { status: state });
    expect(codes(await ask(ops, 'restoreSnapshot', { snapshotId: await buildSnapshot(app, instance) }))).toEqual(['INSTANCE_STATE_INVALID']); // prettier-ignore
  }
  for (const id of [missingId('Snapshot'), busy, 'nonsense']) {
    expect((await ask(ops, 'restoreSnapshot', { snapshotId: id })).userErrors).toMatchObject([{ code: 'NOT_FOUND', field: ['snapshotId'] }]); // prettier-ignore
  }
});
