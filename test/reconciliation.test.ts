/** One side is brought back from a backup: the database and the engine agree again by themselves, and nothing is lost or done twice. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { v7 as uuidv7 } from 'uuid';
import { createDataSource } from '../src/db/data-source';
import { inTransaction } from '../src/db/transaction';
import { OperationKind } from '../src/entities/enums';
import { idOf } from '../src/resolvers/global-id';
import { accept } from '../src/services/operations';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { createDatabase, type TestDatabase } from './support/database';
import { done, instanceId } from './support/stories';
import { until } from './support/until';

jest.setTimeout(120_000);

let database: TestDatabase;
let folder: string;
let app: TestApp;
let ops: TestClient;
const copies: TestDatabase[] = [];

const start = async (on: TestDatabase) => {
  app = await startTestApp({ database: on, folder });
  ops = await app.as('ops');
};

beforeEach(async () => {
  database = await createDatabase();
  folder = await mkdtemp(join(tmpdir(), 'keyframe-reconcile-'));
  await start(database);
});
afterEach(async () => {
  await app.stop();
  for (const each of [database, ...copies.splice(0)]) await each.drop();
  await rm(folder, { recursive: true, force: true });
});

const SNAPSHOTS = 'query ($id: ID!) { instance(id: $id) { snapshots { nodes { id name status origin } } } }';

/** What the API shows of an instance's snapshots, by name. */
async function shown(id: string): Promise<Record<string, { id: string; status: string; origin: string }>> {
  const { instance } = await ops.query(SNAPSHOTS, { id });
  return Object.fromEntries(instance.snapshots.nodes.map((each: { name: string }) => [each.name, each]));
}

const backup = async (): Promise<TestDatabase> => {
  await app.stop();
  const copy = await database.copy();
  copies.push(copy);
  return copy;
};

test('a database of before knows what was made, renamed and deleted since, and deletes nothing by itself', async () => {
  const id = await instanceId(ops, 'db-1');
  await done(ops, 'createSnapshot', { instanceId: id, name: 'stays' });
  const { snapshot: renamed } = await done(ops, 'createSnapshot', { instanceId: id, name: 'old-name' });
  const { snapshot: deleted } = await done(ops, 'createSnapshot', { instanceId: id, name: 'deleted-since' });
  const older = await backup();
  await start(database);
  await done(ops, 'createSnapshot', { instanceId: id, name: 'made-since' });
  await done(ops, 'renameSnapshot', { snapshotId: renamed?.id, name: 'new-name' });
  await done(ops, 'deleteSnapshot', { snapshotId: deleted?.id });
  await app.stop();

  await start(older);
  const now = await until(async () => {
    const all = await shown(id);
    return all['made-since'] && all;
  });
  expect(now).toMatchObject({
    stays: { status: 'AVAILABLE', origin: 'MANUAL' },
    'new-name': { id: renamed?.id, status: 'AVAILABLE', origin: 'MANUAL' },
    'made-since': { status: 'AVAILABLE', origin: 'EXTERNAL' },
    'deleted-since': { id: deleted?.id, status: 'MISSING' },
  });
  expect(now).not.toHaveProperty('old-name');
  const facts = await app.engine.findInstance({ project: 'default', name: 'db-1' }, AbortSignal.timeout(5_000));
  expect(facts?.snapshots.map(({ name }) => name)).toEqual(expect.arrayContaining(['stays', 'new-name', 'made-since']));
});

test('work that a database of before takes for unfinished is not done a second time', async () => {
  const id = await instanceId(ops, 'db-1');
  const { snapshot } = await done(ops, 'createSnapshot', { instanceId: id, name: 'before-upgrade' });
  const older = await backup();
  const restore = await accepted(older, 'db-1', idOf('Snapshot', snapshot?.id ?? ''), OperationKind.SNAPSHOT_RESTORE);
  const creation = await accepted(older, 'build-1', null, OperationKind.SNAPSHOT_CREATE);
  // What the lost time did: both of them, and somebody has worked on since.
  await start(database);
  await done(ops, 'restoreSnapshot', { snapshotId: snapshot?.id });
  await done(ops, 'createSnapshot', { instanceId: await instanceId(ops, 'build-1'), name: 'nightly' });
  const file = join(folder, 'engine/instances/default/db-1/rootfs/srv/since');
  await writeFile(file, 'a day of work');
  await app.stop();

  await start(older);
  const outcome = async (operationId: string) => {
    const [row] = await app.db.query('select status, error from operations where id = $1', [operationId]);
    return ['SUCCEEDED', 'FAILED'].includes(row.status) && row;
  };
  expect(await until(() => outcome(restore))).toMatchObject({ status: 'FAILED', error: { code: 'OUTCOME_UNKNOWN' } });
  expect(await readFile(file, 'utf8')).toBe('a day of work');
  expect(await until(() => outcome(creation))).toMatchObject({ status: 'FAILED', error: { code: 'NAME_TAKEN' } });
  const nightly = await until(async () => (await shown(await instanceId(ops, 'build-1'))).nightly);
  expect(nightly).toMatchObject({ status: 'AVAILABLE', origin: 'EXTERNAL' });
});

test('an engine of before: what is gone shows as MISSING or DELETED, what is back is found, and both work again', async () => {
  const id = await instanceId(ops, 'db-1');
  const { snapshot: early } = await done(ops, 'createSnapshot', { instanceId: id, name: 'early' });
  const { snapshot: dropped } = await done(ops, 'createSnapshot', { instanceId: id, name: 'dropped' });
  await app.stop();
  const older = `${folder}-engine`;
  await cp(join(folder, 'engine'), older, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  await start(database);
  await done(ops, 'createSnapshot', { instanceId: id, name: 'late' });
  await done(ops, 'deleteSnapshot', { snapshotId: dropped?.id });
  await app.local.createInstance('default', 'young-1');
  const young = await until(() => instanceId(ops, 'young-1').catch(() => null));
  await app.stop();
  await rm(join(folder, 'engine'), { recursive: true });
  await cp(older, join(folder, 'engine'), { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
  await rm(older, { recursive: true });

  await start(database);
  await until(async () => (await shown(id)).late?.status === 'MISSING');
  expect(await shown(id)).toMatchObject({
    early: { id: early?.id, status: 'AVAILABLE' },
    dropped: { status: 'AVAILABLE', origin: 'EXTERNAL' },
  });
  expect((await ops.query('query ($id: ID!) { instance(id: $id) { status } }', { id: young })).instance.status).toBe(
    'DELETED',
  );
  expect(await done(ops, 'restoreSnapshot', { snapshotId: early?.id })).toMatchObject({ status: 'SUCCEEDED' });
  expect(await done(ops, 'createSnapshot', { instanceId: id, name: 'late' })).toMatchObject({ status: 'SUCCEEDED' });
});

/** Work that is in a database nobody serves: as it stood when the backup was made. */
async function accepted(
  { url }: TestDatabase,
  name: string,
  snapshotId: string | null,
  kind: OperationKind,
): Promise<string> {
  const db = await createDataSource(url, 1).initialize();
  try {
    const [instance] = await db.query('select id, generation from instances where name = $1', [name]);
    return await inTransaction(db, async (tx) => {
      const made = snapshotId ?? uuidv7();
      if (!snapshotId) {
        await tx.query(
          `insert into snapshots (id, instance_id, name, created_at, stateful, status, origin) values ($1, $2, 'nightly', now(), false, 'PENDING', 'MANUAL')`,
          [made, instance.id],
        );
      }
      const work = { kind, instanceId: instance.id, snapshotId: made, actorId: null, correlationId: uuidv7() };
      const snapshotName = snapshotId ? 'before-upgrade' : 'nightly';
      return (await accept(tx, { ...work, snapshotName, input: { generationBefore: instance.generation } })).id;
    });
  } finally {
    await db.destroy();
  }
}
