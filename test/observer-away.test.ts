/** The engine cannot be reached, tells nothing, or is looked at by several processes: what is shown stays true. */
import { randomBytes } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startTestApp, TestClient, type TestApp } from './support/app';
import { createDatabase } from './support/database';
import { proxyTo, type EngineProxy } from './support/engine-proxy';
import { at, copyInstance, incusWays, removeInstances, shown, uniqueWord } from './support/incus-story';
import { ask, done, ended } from './support/stories';
import { until } from './support/until';

jest.setTimeout(60_000);

const overSocket = incusWays.find(({ env }) => env['INCUS_SOCKET']);
const run = uniqueWord();
const OFTEN = { OBSERVE_INTERVAL_SECONDS: '1' };
const EVENTS_ONLY = { OBSERVE_INTERVAL_SECONDS: '3600' };

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
    expect(waiting).toEqual({
      status: 'QUEUED',
      waitingReason: expect.stringMatching(/It is tried again by itself\.$/),
    });
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

/** Its snapshots as `name status origin`, once they are these. */
async function shows(client: TestClient, instance: string, ...expected: string[]): Promise<any[]> {
  const words = (each: any): string => `${each.name} ${each.status} ${each.origin}`;
  const fits = ({ snapshots }: any): boolean =>
    JSON.stringify(snapshots.nodes.map(words).sort()) === JSON.stringify([...expected].sort());
  return (await shown(client, instance, fits)).snapshots.nodes;
}

describe('what the local engine does not tell of', () => {
  /** Replaces a snapshot in place, deep enough in the folder that no watch sees it. */
  async function replaceUnseen(app: TestApp, instance: string, name: string): Promise<void> {
    const file = join(app.folder, 'engine/instances/default', instance, 'snapshots', name, 'snapshot.json');
    const facts = JSON.parse(await readFile(file, 'utf8'));
    await writeFile(file, JSON.stringify({ ...facts, createdAt: new Date() }));
  }

  test('is shown by the next sweep', async () => {
    const app = await startTestApp({ env: OFTEN });
    try {
      const ops = await app.as('ops');
      await shows(ops, 'build-1', 'clean AVAILABLE MANUAL');
      await replaceUnseen(app, 'build-1', 'clean');
      await shows(ops, 'build-1', 'clean AVAILABLE EXTERNAL', 'clean MISSING MANUAL');
    } finally {
      await app.stop();
    }
  });

  test('is neither restored nor deleted in place of what it replaced', async () => {
    const app = await startTestApp({ env: EVENTS_ONLY });
    try {
      const ops = await app.as('ops');
      const [taken] = await shows(ops, 'build-1', 'clean AVAILABLE MANUAL');
      const file = join(app.folder, 'engine/instances/default/build-1/rootfs/srv/data/orders.csv');
      await writeFile(file, 'newer than the snapshot');
      await replaceUnseen(app, 'build-1', 'clean');
      expect(await done(ops, 'restoreSnapshot', { snapshotId: taken.id })).toMatchObject({
        status: 'FAILED',
        error: { code: 'NOT_FOUND' },
      });
      expect(await readFile(file, 'utf8')).toBe('newer than the snapshot');

      expect(await done(ops, 'deleteSnapshot', { snapshotId: taken.id })).toMatchObject({ status: 'SUCCEEDED' });
      await app.local.configure(at('build-1'), 'user.look', 'here');
      await shows(ops, 'build-1', 'clean AVAILABLE EXTERNAL');
    } finally {
      await app.stop();
    }
  });

  test('a snapshot that was away for a while is what it was when it is back', async () => {
    const app = await startTestApp({ env: EVENTS_ONLY });
    try {
      const ops = await app.as('ops');
      const [before] = await shows(ops, 'build-1', 'clean AVAILABLE MANUAL');
      const folder = join(app.folder, 'engine/instances/default/build-1/snapshots');
      await rename(join(folder, 'clean'), join(app.folder, 'clean'));
      await shows(ops, 'build-1', 'clean MISSING MANUAL');
      await rename(join(app.folder, 'clean'), join(folder, 'clean'));
      const [after] = await shows(ops, 'build-1', 'clean AVAILABLE MANUAL');
      expect(after.id).toBe(before.id);
      expect(await done(ops, 'restoreSnapshot', { snapshotId: after.id })).toMatchObject({ status: 'SUCCEEDED' });
    } finally {
      await app.stop();
    }
  });
});

const engineSocket = overSocket?.env['INCUS_SOCKET'] ?? '';

(overSocket ? describe : describe.skip)('a real Incus', () => {
  const raw = overSocket?.open();
  const made: string[] = [];
  const instance = async (): Promise<string> => {
    const name = `watched-${run}-${made.length}`;
    made.push(name);
    if (raw) await copyInstance(raw, 'cache-1', name);
    return name;
  };
  afterAll(async () => {
    if (raw) await removeInstances(raw, ...made);
    await raw?.close();
  });

  /** Runs with a program whose engine's events can be held back. */
  async function withProxy(env: object, use: (ops: TestClient, proxy: EngineProxy) => Promise<void>): Promise<void> {
    const proxy = await proxyTo(engineSocket);
    const app = await startTestApp({ env: { ...env, INCUS_SOCKET: proxy.socket } });
    try {
      await use(await app.as('ops'), proxy);
    } finally {
      await app.stop();
      await proxy.close();
    }
  }

  test('whose events do not arrive is shown as it is by the next sweep, and loses nothing of what others made', async () => {
    await withProxy(OFTEN, async (ops, proxy) => {
      const name = await instance();
      await shown(ops, name);
      proxy.hush();
      await raw?.makeSnapshot(at(name), 'unheard');
      const [first] = await shows(ops, name, 'unheard AVAILABLE EXTERNAL');
      const { observedAt } = await shown(ops, name);
      await shown(ops, name, (now) => Date.parse(now.observedAt) > Date.parse(observedAt) + 2_000);
      expect(await shows(ops, name, 'unheard AVAILABLE EXTERNAL')).toMatchObject([{ id: first.id }]);
      await raw?.snapshot(at(name), 'unheard');
    });
  });

  test('that tells of a deletion and a new instance of the same name at once is shown with the new one alone', async () => {
    await withProxy(EVENTS_ONLY, async (ops, proxy) => {
      const name = await instance();
      const { id } = await shown(ops, name);
      proxy.hush();
      await raw?.call('DELETE', raw.url(at(name)));
      if (raw) await copyInstance(raw, 'cache-1', name);
      proxy.tell();
      await shown(ops, name, (now) => now.id !== id);
      const first = await ops.query('query ($id: ID!) { instance(id: $id) { status } }', { id });
      expect(first.instance.status).toBe('DELETED');
    });
  });

  test('is looked at by one process of several, and by another as soon as that one is gone', async () => {
    const env = { ...overSocket?.env, ...EVENTS_ONLY, JWT_SECRET: randomBytes(32).toString('hex') };
    const database = await createDatabase();
    const first = await startTestApp({ env, database });
    const second = await startTestApp({ env, database, demo: false });
    const observers = async (): Promise<number[]> => {
      const rows = await second.db.query<{ pid: number }[]>(HOLDS_OBSERVER_LOCK);
      return rows.map(({ pid }) => pid);
    };
    try {
      const { token } = await first.as('ops');
      const ops = new TestClient(second.url, token, null);
      const name = await instance();
      await shown(ops, name);
      const [observer, ...others] = await observers();
      expect(others).toEqual([]);
      await first.stop();
      await until(async () => (await observers()).some((pid) => pid !== observer), 5_000, 'another observer');
      await raw?.makeSnapshot(at(name), 'later');
      await shows(ops, name, 'later AVAILABLE EXTERNAL');

      // Its connection is cut: it looks again with a new one.
      await second.db.query(`select pg_terminate_backend(pid) from (${HOLDS_OBSERVER_LOCK}) held`);
      await raw?.makeSnapshot(at(name), 'later-still');
      await shows(ops, name, 'later AVAILABLE EXTERNAL', 'later-still AVAILABLE EXTERNAL');
    } finally {
      await first.stop();
      await second.stop();
      await database.drop();
    }
  });
});

const HOLDS_OBSERVER_LOCK = `
select pid from pg_locks
where locktype = 'advisory' and granted and objsubid = 1 and (classid::bigint << 32) + objid::bigint = 7165201002
  and database = (select oid from pg_database where datname = current_database())`;
