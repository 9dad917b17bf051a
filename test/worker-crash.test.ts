/** A process dies by SIGKILL in the middle of an operation: another ends the operation, and nothing half made is ever used. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startTestApp, TestClient, type TestApp } from './support/app';
import { createDatabase, type TestDatabase } from './support/database';
import { at, criu, incusWays, power, removeSnapshots, shown, statusWhen, uniqueWord } from './support/incus-story';
import { cleanUp, freshFolder, startProgram, type Program } from './support/program';
import { ask, done, ended } from './support/stories';
import { until } from './support/until';

jest.setTimeout(120_000);

const JWT_SECRET = 'a secret of more than thirty-two characters';
/** Dead processes are looked for every second, and believed to be dead the second time. */
const SOON_MS = 10_000;

let database: TestDatabase;
let survivor: TestApp | null = null;
beforeEach(async () => {
  database = await createDatabase();
});
afterEach(async () => {
  await survivor?.stop();
  survivor = null;
  await cleanUp();
  await database.drop();
});

/** A process of its own with the demo accounts, and its operator. */
async function start(folder: string, env: Record<string, string>): Promise<{ victim: Program; ops: TestClient }> {
  const victim = startProgram({
    DATABASE_URL: database.url,
    DATABASE_MIGRATION_URL: database.migrationUrl,
    KEYFRAME_DATA_DIR: folder,
    KEYFRAME_DEMO: '1',
    LOG_LEVEL: 'warn',
    JWT_SECRET,
    ...env,
  });
  const url = await victim.ready();
  const password = /ops@keyframe\.test\s+(\S+)/.exec(victim.stdout())?.[1] ?? '';
  return { victim, ops: await TestClient.signIn(url, 'ops@keyframe.test', password) };
}

/** Waits until the engine has been given the work. */
async function acting(ops: TestClient, operationId: string): Promise<void> {
  await until(async () => {
    const { operation } = await ops.query('query ($id: ID!) { operation(id: $id) { steps { name } } }', { id: operationId }); // prettier-ignore
    return operation.steps.some(({ name }: { name: string }) => name === 'act');
  });
}

/** The same person, at the process that is left. */
const at2 = (app: TestApp, { token }: TestClient): TestClient => new TestClient(app.url, token, null);

test('on the local engine a creation is ended by the next process, and there is exactly one snapshot', async () => {
  const folder = await freshFolder();
  const { victim, ops } = await start(folder, {});
  const many = join(folder, 'engine/instances/default/build-1/rootfs/srv/many');
  await mkdir(many);
  for (let n = 0; n < 3_000; n += 1) await writeFile(join(many, String(n)), 'x'.repeat(500));
  const { id } = await shown(ops, 'build-1');
  const { snapshot, operation } = await ask(ops, 'createSnapshot', { instanceId: id, name: 'cut-off' });
  await acting(ops, operation.id);
  expect(await victim.end('SIGKILL')).toMatchObject({ code: null });

  survivor = await startTestApp({ database, folder, env: { JWT_SECRET } });
  const after = at2(survivor, ops);
  const { status } = await ended(after, operation.id, SOON_MS);
  const { snapshots } = await shown(after, 'build-1');
  const made = snapshots.nodes.filter(({ name }: { name: string }) => name === 'cut-off');
  expect(made).toEqual([
    expect.objectContaining({ id: snapshot.id, status: status === 'SUCCEEDED' ? 'AVAILABLE' : 'ERROR' }),
  ]);
  const facts = await survivor.engine.findInstance(at('build-1'), AbortSignal.timeout(10_000));
  expect(facts?.snapshots.map(({ name }) => name).sort()).toEqual(['clean', 'cut-off']);
});

const way = incusWays[0];
const trouble = criu();
if (!way || !trouble)
  console.warn('SKIPPED on Incus: set INCUS_SOCKET and INCUS_PID_FILE for crashes on a real engine.');

(way && trouble ? describe : describe.skip)('on Incus', () => {
  const env = way?.env ?? {};
  const run = uniqueWord();
  const raw = way?.open();
  const web = at('web-1');
  afterAll(async () => {
    if (raw) await power(raw, web, 'start').catch(() => undefined);
    if (raw) await removeSnapshots(raw, web, run);
    await raw?.close();
  });
  const atRest = async (): Promise<void> => {
    await until(async () => Object.keys((await raw?.call('GET', '/1.0/operations'))?.metadata ?? {}).length === 0, 30_000, 'the engine to be at rest'); // prettier-ignore
  };
  const start2 = async (): Promise<TestApp> =>
    (survivor = await startTestApp({ database, demo: false, env: { ...env, JWT_SECRET } }));

  test('a creation is followed to its end by another process, which learns how it really ended', async () => {
    const { victim, ops } = await start(await freshFolder(), env);
    const { id } = await shown(ops, 'web-1', (web1) => web1.statefulSnapshotSupport.supported);
    const name = `cut-off-${run}`;
    const mend = await trouble?.set('delay', '6');
    try {
      const { snapshot, operation } = await ask(ops, 'createSnapshot', { instanceId: id, name, stateful: true });
      await acting(ops, operation.id);
      const after = at2(await start2(), ops);
      await victim.end('SIGKILL');
      const end = await ended(after, operation.id, 6_000 + SOON_MS);
      expect(end).toMatchObject({ status: 'SUCCEEDED', error: null, snapshot: { status: 'AVAILABLE' } });
      await mend?.();
      await atRest();
      expect((await raw?.snapshot(web, name))?.metadata).toMatchObject({ stateful: true });
      expect(await done(after, 'restoreSnapshot', { snapshotId: snapshot.id })).toMatchObject({ status: 'SUCCEEDED' });
      if (raw) await statusWhen(raw, web, ({ mem }) => mem > 0, 'it to run');
    } finally {
      await mend?.();
    }
  });

  test('a restore is ended by the next process: the disk is that of the snapshot, and the instance runs', async () => {
    const { victim, ops } = await start(await freshFolder(), env);
    const { id } = await shown(ops, 'web-1', ({ status }) => status === 'RUNNING');
    await raw?.write(web, '/srv/crash-note', 'before');
    const { snapshot } = await done(ops, 'createSnapshot', { instanceId: id, name: `restored-${run}` });
    await raw?.write(web, '/srv/crash-note', 'after');
    const { operation } = await ask(ops, 'restoreSnapshot', { snapshotId: snapshot?.id });
    await acting(ops, operation.id);
    await victim.end('SIGKILL');

    const after = at2(await start2(), ops);
    expect(await ended(after, operation.id, SOON_MS)).toMatchObject({ status: 'SUCCEEDED', error: null });
    await atRest();
    await shown(after, 'web-1', ({ status }) => status === 'RUNNING');
    expect(await raw?.read(web, '/srv/crash-note')).toBe('before');
    expect(await done(after, 'deleteSnapshot', { snapshotId: snapshot?.id })).toMatchObject({ status: 'SUCCEEDED' });
    await raw?.call('DELETE', raw.url(web, '/files', 'path=/srv/crash-note'));
  });

  test('a restore of memory is followed to its end, though its disk part was done already', async () => {
    const { victim, ops } = await start(await freshFolder(), env);
    const { id } = await shown(ops, 'web-1', (web1) => web1.statefulSnapshotSupport.supported);
    const { generation } = await uuids();
    const { snapshot } = await done(ops, 'createSnapshot', { instanceId: id, name: `warm-${run}`, stateful: true });
    const mend = await trouble?.set('delay', '4');
    try {
      const { operation } = await ask(ops, 'restoreSnapshot', { snapshotId: snapshot?.id });
      await acting(ops, operation.id);
      await until(async () => (await uuids()).generation !== generation, 10_000, 'the disk to be restored');
      await victim.end('SIGKILL');
      const after = at2(await start2(), ops);
      const end = await ended(after, operation.id, SOON_MS);
      expect(end).toMatchObject({ status: 'SUCCEEDED', error: null, snapshot: { status: 'AVAILABLE' } });
      await mend?.();
      await atRest();
      if (raw) await statusWhen(raw, web, ({ mem }) => mem > 0, 'it to run');
    } finally {
      await mend?.();
    }
  });

  async function uuids(): Promise<{ generation: unknown }> {
    const config = (await raw?.call('GET', raw.url(web)))?.metadata.config as Record<string, string> | undefined;
    return { generation: config?.['volatile.uuid.generation'] };
  }
});
