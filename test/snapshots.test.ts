import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { buildInstance, buildSnapshot, hold, missingId, uuidOf } from './support/rows';
import { ask, done, ended, instanceId } from './support/stories';
import { until } from './support/until';

let app: TestApp;
let ops: TestClient;
let web: string;
let cache: string;

beforeAll(async () => {
  app = await startTestApp();
  ops = await app.as('ops');
  web = await instanceId(ops, 'web-1');
  cache = await instanceId(ops, 'cache-1');
});
afterAll(() => app.stop());

const FULL = `query ($id: ID!) { snapshot(id: $id) { id name createdAt stateful status origin description sizeBytes
  durationSeconds expiresAt observedAt version error { code } contents { fileSystem configuration memory }
  instance { name } createdBy { displayName } createdByOperation { id kind } } }`;
const read = async (id: string) => (await ops.query(FULL, { id })).snapshot;

const codes = (payload: { userErrors: { code: string }[] }) => payload.userErrors.map(({ code }) => code);
const onDisk = (...path: string[]) => readdir(join(app.folder, 'engine/instances', ...path), { recursive: true });
const operationCount = async () => (await app.db.query('select count(*)::int as n from operations'))[0].n as number;

/** What a refusal must leave as it was, once nothing is under way. */
async function nothingStarts(work: () => Promise<unknown>): Promise<void> {
  await until(async () => {
    const { instances } = await ops.query('query { instances { nodes { activeOperation { snapshotName } } } }');
    return instances.nodes.every(({ activeOperation }: any) => !activeOperation?.snapshotName);
  });
  const before = [await operationCount(), await onDisk('default/cache-1'), await onDisk('default/web-1/snapshots')];
  await work();
  expect([await operationCount(), await onDisk('default/cache-1'), await onDisk('default/web-1/snapshots')]).toEqual(before); // prettier-ignore
}

test('a snapshot is PENDING at once and AVAILABLE in the end, with all that is known of it', async () => {
  const name = 'A.full_one-2';
  const { snapshot, operation, replayed, userErrors } = await ask(ops, 'createSnapshot', { instanceId: cache, name, description: 'Why it is there.' }); // prettier-ignore
  expect({ snapshot, replayed, userErrors }).toMatchObject({ snapshot: { name, status: 'PENDING', stateful: false }, replayed: false, userErrors: [] }); // prettier-ignore
  expect(operation).toMatchObject({ status: 'QUEUED', snapshotName: name, items: [], steps: [], error: null });
  const times = new Set([snapshot.createdAt]);
  const full = await until(async () => {
    const seen = await read(snapshot.id);
    times.add(seen.createdAt);
    return seen.status === 'AVAILABLE' ? seen : null;
  });
  expect(full).toMatchObject({
    name,
    stateful: false,
    origin: 'MANUAL',
    description: 'Why it is there.',
    expiresAt: null,
    version: 1,
    error: null,
    contents: { fileSystem: true, configuration: true, memory: false },
    instance: { name: 'cache-1' },
    createdBy: { displayName: 'Oskar Operations' },
    createdByOperation: { id: operation.id, kind: 'SNAPSHOT_CREATE' },
  });
  expect(full.sizeBytes).toBeGreaterThan(0);
  expect(full.durationSeconds).toBeGreaterThan(0);
  const [facts] = await app.db.query('select created_at from snapshots where id = $1', [uuidOf(snapshot.id)]);
  const onEngine = await app.local.findInstance({ project: 'default', name: 'cache-1' }, AbortSignal.timeout(5000));
  expect(facts.created_at).toEqual(onEngine?.snapshots.find((each) => each.name === name)?.createdAt);
  await ended(ops, operation.id);
  times.add((await read(snapshot.id)).createdAt);
  expect(times.size).toBeLessThanOrEqual(2);
});

test('an operation tells who asked, what was done when, and how often it was taken up', async () => {
  const { operation } = await ask(ops, 'createSnapshot', { instanceId: cache, name: 'told', idempotencyKey: 'told' });
  await ended(ops, operation.id);
  const query = `query ($id: ID!) { operation(id: $id) { kind status done attempts progressPercent cancellable idempotencyKey
    correlationId createdAt startedAt finishedAt waitingReason actor { displayName } instance { name } snapshot { name }
    snapshotName steps { name status startedAt finishedAt } } }`;
  const { operation: told } = await ops.query(query, { id: operation.id });
  expect(told).toMatchObject({
    kind: 'SNAPSHOT_CREATE', status: 'SUCCEEDED', done: true, attempts: 1, progressPercent: null, idempotencyKey: 'told',
    cancellable: false, waitingReason: null, actor: { displayName: 'Oskar Operations' }, instance: { name: 'cache-1' },
    snapshot: { name: 'told' }, snapshotName: 'told', correlationId: expect.any(String),
  }); // prettier-ignore
  expect(told.steps.map(({ name, status }: any) => `${name} ${status}`)).toEqual(['check SUCCEEDED', 'act SUCCEEDED', 'verify SUCCEEDED']); // prettier-ignore
  const times = [told.createdAt, told.startedAt, ...told.steps.flatMap((step: any) => [step.startedAt, step.finishedAt]), told.finishedAt]; // prettier-ignore
  expect(times).toEqual([...times].sort());
  const { operation: seenByAnother } = await (await app.as('admin')).query(query, { id: operation.id });
  expect(seenByAnother.idempotencyKey).toBeNull();
});

const INVALID = ['', '.', '..', 'a..b', '%', 'a%2fb', '/', 'a/b', '../up', '-dash', '_x', '.x', 'x.', 'x-', 'x_', ' x', 'x ', 'a b', 'a\n', '\n', 'a\0', 'a\\b', 'ä', '🦄', 'x'.repeat(65)]; // prettier-ignore

test('a name that breaks the rule is refused before anything reaches the engine, for a new and for another name', async () => {
  const { snapshot } = await ask(ops, 'createSnapshot', { instanceId: web, name: 'good' });
  await until(async () => (await read(snapshot.id)).status === 'AVAILABLE');
  await nothingStarts(async () => {
    for (const name of INVALID) {
      const created = await ask(ops, 'createSnapshot', { instanceId: cache, name });
      expect([name, codes(created), created.snapshot, created.operation]).toEqual([name, ['NAME_INVALID'], null, null]);
      expect(created.userErrors[0]).toMatchObject({ field: ['name'], __typename: 'SimpleUserError' });
      expect(codes(await ask(ops, 'renameSnapshot', { snapshotId: snapshot.id, name }))).toEqual(['NAME_INVALID']);
    }
  });
});

test.each(['a', '0', 'A.b-c_d', 'x'.repeat(64)])('the name %s is good and comes back unchanged', async (name) => {
  expect(await done(ops, 'createSnapshot', { instanceId: cache, name })).toMatchObject({ status: 'SUCCEEDED', snapshot: { name } }); // prettier-ignore
  expect(await onDisk('default/cache-1/snapshots')).toContain(name);
});

test('a name in use is NAME_TAKEN and shows by what; in other letters, or by a MISSING one, it is free', async () => {
  const built = await buildInstance(app);
  const existing = await buildSnapshot(app, built, { name: 'taken' });
  await buildSnapshot(app, built, { name: 'gone', status: 'MISSING' });
  const refused = await ask(ops, 'createSnapshot', { instanceId: built, name: 'taken' });
  expect(refused).toMatchObject({ snapshot: null, operation: null, replayed: null });
  expect(refused.userErrors).toEqual([
    expect.objectContaining({ __typename: 'NameTakenError', code: 'NAME_TAKEN', field: ['name'], existing: { id: existing, name: 'taken' } }), // prettier-ignore
  ]);
  const other = await buildInstance(app);
  expect(codes(await ask(ops, 'createSnapshot', { instanceId: other, name: 'taken' }))).toEqual([]);
  expect(codes(await ask(ops, 'createSnapshot', { instanceId: built, name: 'gone' }))).toEqual([]);
  const third = await buildInstance(app);
  await buildSnapshot(app, third, { name: 'taken' });
  expect(codes(await ask(ops, 'createSnapshot', { instanceId: third, name: 'Taken' }))).toEqual([]);
});

test('one thing at a time: a busy instance refuses with the operation that is at work', async () => {
  const held = await hold(app, web);
  await nothingStarts(async () => {
    const { userErrors, snapshot } = await ask(ops, 'createSnapshot', { instanceId: web, name: 'later' });
    expect(snapshot).toBeNull();
    expect(userErrors).toEqual([
      expect.objectContaining({ __typename: 'InstanceBusyError', code: 'INSTANCE_BUSY', operation: { id: held.id } }),
    ]);
  });
  await held.release();
  expect(await done(ops, 'createSnapshot', { instanceId: web, name: 'later' })).toMatchObject({ status: 'SUCCEEDED' });
});

test('two wishes for the same name at once: one is accepted', async () => {
  const wishes = Array.from({ length: 6 }, () => ask(ops, 'createSnapshot', { instanceId: cache, name: 'twin' }));
  const answers = await Promise.all(wishes);
  expect(answers.filter(({ snapshot }) => snapshot !== null)).toHaveLength(1);
  for (const { userErrors } of answers) expect(['NAME_TAKEN', 'INSTANCE_BUSY', undefined]).toContain(userErrors[0]?.code); // prettier-ignore
});

test('memory is refused before anything starts where there is none, or where it cannot be captured', async () => {
  await nothingStarts(async () => {
    const stopped = await ask(ops, 'createSnapshot', { instanceId: cache, name: 'warm', stateful: true });
    expect(stopped.userErrors).toEqual([
      expect.objectContaining({ __typename: 'StatefulRequiresRunningError', code: 'STATEFUL_REQUIRES_RUNNING', status: 'STOPPED', field: ['stateful'] }), // prettier-ignore
    ]);
    const plain = await ask(ops, 'createSnapshot', { instanceId: await instanceId(ops, 'db-1'), name: 'warm', stateful: true }); // prettier-ignore
    const { instance } = await ops.query('query { instance(name: "db-1") { statefulSnapshotSupport { supported reasons } } }'); // prettier-ignore
    expect(plain.userErrors[0]).toMatchObject({ __typename: 'StatefulNotSupportedError', code: 'STATEFUL_NOT_SUPPORTED' }); // prettier-ignore
    expect(plain.userErrors[0].reasons.length).toBeGreaterThan(0);
    expect(instance.statefulSnapshotSupport).toEqual({ supported: false, reasons: plain.userErrors[0].reasons });
  });
});

test('values out of bounds are INVALID_INPUT, and an instance that is not there is NOT_FOUND', async () => {
  await nothingStarts(async () => {
    for (const [field, value] of [
      ['expiresAt', new Date(Date.now() - 1000).toISOString()],
      ['expiresAt', '-P1D'],
      ['expiresAt', 'PT0S'],
      ['description', 'x'.repeat(1001)],
      ['description', 'a\0b'],
      ['idempotencyKey', ''],
      ['idempotencyKey', 'x'.repeat(201)],
      ['idempotencyKey', 'a\0b'],
    ]) {
      const { userErrors } = await ask(ops, 'createSnapshot', {
        instanceId: cache,
        name: 'never',
        [String(field)]: value,
      });
      expect([field, value, userErrors]).toEqual([field, value, [expect.objectContaining({ code: 'INVALID_INPUT', field: [field] })]]); // prettier-ignore
    }
    for (const id of [missingId('Instance'), 'nonsense', missingId('Snapshot'), '']) {
      const { userErrors } = await ask(ops, 'createSnapshot', { instanceId: id, name: 'never' });
      expect(userErrors).toEqual([expect.objectContaining({ code: 'NOT_FOUND', field: ['instanceId'] })]);
    }
  });
});

test('a creation that the engine refuses leaves its operation only, and its name is free at once', async () => {
  const plain = await instanceId(ops, 'db-1');
  // As if somebody had switched it off on the engine a moment ago.
  await app.db.query(`update instances set stateful_obstacles = '{}' where name = 'db-1'`);
  const { snapshot, operation } = await ask(ops, 'createSnapshot', { instanceId: plain, name: 'refused', stateful: true }); // prettier-ignore
  expect(await ended(ops, operation.id)).toMatchObject({
    status: 'FAILED',
    error: { code: 'STATEFUL_NOT_SUPPORTED', retryable: false },
    snapshot: null,
    snapshotName: 'refused',
  });
  expect(await read(snapshot.id)).toBeNull();
  expect(await done(ops, 'createSnapshot', { instanceId: plain, name: 'refused' })).toMatchObject({ status: 'SUCCEEDED' }); // prettier-ignore
});

test('a snapshot found on the engine has no maker, no duration, and no size where the engine knows none', async () => {
  const path = join(app.folder, 'engine/instances/default/new-1/snapshots/by-hand');
  await mkdir(join(path, 'rootfs'), { recursive: true });
  const found = await until(async () => {
    const query =
      'query { instance(name: "new-1") { snapshots(filter: { name: { eq: "by-hand" } }) { nodes { id } } } }';
    return (await ops.query(query)).instance.snapshots.nodes[0];
  });
  expect(await read(found.id)).toMatchObject({
    status: 'AVAILABLE', origin: 'EXTERNAL', sizeBytes: null, durationSeconds: null, createdBy: null, createdByOperation: null,
  }); // prettier-ignore
});
