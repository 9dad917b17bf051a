/** The engine cannot be reached, tells nothing, or is looked at by several processes: what is shown stays true. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { proxyTo, type EngineProxy } from './support/engine-proxy';
import { at, copyInstance, incusWays, removeInstances, shown, uniqueWord } from './support/incus-story';
import { ask, done, ended } from './support/stories';
import { until } from './support/until';

jest.setTimeout(60_000);

const overSocket = incusWays.find(({ env }) => env['INCUS_SOCKET']);
const run = uniqueWord();
const OFTEN = { OBSERVE_INTERVAL_SECONDS: '1' };

if (!overSocket) console.warn('SKIPPED on Incus: set INCUS_SOCKET to take a real engine away and bring it back.');

interface Away {
  app: TestApp;
  /** A stopped instance. */
  name: string;
  leave: () => Promise<void>;
  comeBack: () => Promise<void>;
  close: () => Promise<void>;
}

async function awayLocal(): Promise<Away> {
  const app = await startTestApp({ env: OFTEN });
  const [here, gone] = [join(app.folder, 'engine/instances'), join(app.folder, 'engine/unmounted')];
  return {
    app,
    name: 'cache-1',
    leave: () => rename(here, gone),
    comeBack: () => rename(gone, here),
    close: () => app.stop(),
  };
}

async function awayIncus(): Promise<Away> {
  const proxy = await proxyTo(overSocket?.env['INCUS_SOCKET'] ?? '');
  const app = await startTestApp({ env: { ...OFTEN, INCUS_SOCKET: proxy.socket } });
  const raw = overSocket?.open();
  const name = `away-${run}`;
  if (raw) await copyInstance(raw, 'cache-1', name);
  return {
    app,
    name,
    leave: proxy.leave,
    comeBack: proxy.comeBack,
    close: async () => {
      if (raw) await removeInstances(raw, name);
      await app.stop();
      await proxy.close();
      await raw?.close();
    },
  };
}

const engines = [
  { title: 'the local engine', open: awayLocal },
  ...(overSocket ? [{ title: 'Incus', open: awayIncus }] : []),
];

describe.each(engines)('while $title is away', ({ open }) => {
  let away: Away;
  let ops: TestClient;
  beforeAll(async () => {
    away = await open();
    ops = await away.app.as('ops');
  });
  afterAll(() => away.close());

  const available = async (): Promise<boolean> =>
    (await ops.query('{ apiInfo { engine { available } } }')).apiInfo.engine.available;

  test('it is said, reads go on, accepted work waits and says why, and all of it ends when the engine is back', async () => {
    const { id } = await shown(ops, away.name);
    const { snapshot: kept } = await done(ops, 'createSnapshot', { instanceId: id, name: 'kept' });
    await until(available);
    await away.leave();
    await until(async () => !(await available()), 10_000, 'the engine to be known as away');

    const before = await shown(ops, away.name);
    expect(before.snapshots.nodes).toContainEqual(expect.objectContaining({ id: kept?.id, status: 'AVAILABLE' }));
    const { operation } = await ask(ops, 'createSnapshot', { instanceId: id, name: 'patient' });
    const waiting = await until(async () => {
      const seen = await ops.query('query ($id: ID!) { operation(id: $id) { status waitingReason } }', { id: operation.id }); // prettier-ignore
      return seen.operation.waitingReason && seen.operation;
    });
    expect(waiting).toEqual({ status: 'QUEUED', waitingReason: expect.stringMatching(/It is tried again by itself\.$/) });
    expect(await ask(ops, 'restoreSnapshot', { snapshotId: kept?.id })).toMatchObject({
      userErrors: [{ code: 'INSTANCE_BUSY', operation: { id: operation.id } }],
    });

    await away.comeBack();
    expect(await ended(ops, operation.id)).toMatchObject({ status: 'SUCCEEDED', snapshot: { status: 'AVAILABLE' } });
    await until(available, 10_000, 'the engine to be known as back');
    const after = await shown(ops, away.name);
    expect(after.status).toBe(before.status);
    expect(after.snapshots.nodes.map((each: any) => [each.name, each.status])).toEqual(
      expect.arrayContaining([['kept', 'AVAILABLE'], ['patient', 'AVAILABLE']]), // prettier-ignore
    );
  });
});

describe('what the local engine does not tell of', () => {
  let app: TestApp;
  let ops: TestClient;
  beforeAll(async () => {
    app = await startTestApp();
    ops = await app.as('ops');
  });
  afterAll(() => app.stop());

  const inside = (name: string, ...rest: string[]): string =>
    join(app.folder, 'engine/instances/default', name, ...rest);

  /** Replaces a snapshot in place, deep enough in the folder that no watch sees it. */
  async function replaceUnseen(instance: string, name: string): Promise<void> {
    const file = inside(instance, 'snapshots', name, 'snapshot.json');
    const facts = JSON.parse(await readFile(file, 'utf8'));
    await writeFile(file, JSON.stringify({ ...facts, createdAt: new Date() }));
  }

  test('a snapshot that was replaced and is not known to be is neither restored nor deleted', async () => {
    const { id } = await shown(ops, 'new-1');
    const { snapshot } = await done(ops, 'createSnapshot', { instanceId: id, name: 'swapped' });
    await replaceUnseen('new-1', 'swapped');
    await writeFile(inside('new-1', 'rootfs/srv/data/orders.csv'), 'newer than the snapshot');

    expect(await done(ops, 'restoreSnapshot', { snapshotId: snapshot?.id })).toMatchObject({
      status: 'FAILED',
      error: { code: 'NOT_FOUND' },
    });
    expect(await readFile(inside('new-1', 'rootfs/srv/data/orders.csv'), 'utf8')).toBe('newer than the snapshot');
    await shown(ops, 'new-1', ({ snapshots }) => snapshots.totalCount === 2);
    expect(await done(ops, 'deleteSnapshot', { snapshotId: snapshot?.id })).toMatchObject({ status: 'SUCCEEDED' });
    await readFile(inside('new-1', 'snapshots/swapped/snapshot.json'));
  });
});
