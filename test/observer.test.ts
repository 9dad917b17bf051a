/** What happens on the engine past this program is shown, whatever it is, and is never undone. */
import type { TestClient } from './support/app';
import { shown, uniqueWord } from './support/incus-story';
import { observedEngines, type Observed, type ObservedEngine } from './support/observed';
import { ask, done } from './support/stories';
import { until } from './support/until';

jest.setTimeout(60_000);

/** Nothing but the engine's events can show a change in time when the next sweep is an hour away. */
const EVENTS_ONLY = { OBSERVE_INTERVAL_SECONDS: '3600' };
const SOON_MS = 2_000;

if (observedEngines.length === 1) console.warn('SKIPPED on Incus: set INCUS_SOCKET to observe a real engine.');

describe.each(observedEngines)('what somebody does on $title', ({ open, impossibleName }: ObservedEngine) => {
  const run = uniqueWord();
  let count = 0;
  let seen: Observed;
  let ops: TestClient;
  beforeAll(async () => {
    seen = await open({ env: EVENTS_ONLY });
    ops = await seen.app.as('ops');
  });
  afterAll(() => seen.close());

  /** A new instance that is shown already. */
  const instance = async (): Promise<{ id: string; name: string }> => {
    const name = `seen-${run}-${(count += 1)}`;
    await seen.makeInstance(name);
    return shown(ops, name);
  };

  /** Its snapshots as `name status origin`, once they are these. */
  const shows = async (name: string, ...expected: string[]): Promise<any[]> => {
    let last: string[] = [];
    const found = await until(
      async () => {
        const { snapshots } = await shown(ops, name);
        last = snapshots.nodes.map((each: any) => `${each.name} ${each.status} ${each.origin}`).sort();
        return JSON.stringify(last) === JSON.stringify([...expected].sort()) && snapshots.nodes;
      },
      SOON_MS,
      expected.join(', '),
    ).catch(() => null);
    if (!found) expect(last).toEqual([...expected].sort());
    return found ?? [];
  };

  test('a snapshot made, renamed and deleted there is shown so within two seconds', async () => {
    const { name } = await instance();
    await seen.makeSnapshot(name, 'theirs');
    const [made] = await shows(name, 'theirs AVAILABLE EXTERNAL');
    await seen.renameSnapshot(name, 'theirs', 'renamed');
    const [renamed] = await shows(name, 'renamed AVAILABLE EXTERNAL');
    expect(renamed.id).toBe(made.id);
    await seen.deleteSnapshot(name, 'renamed');
    const [gone] = await shows(name, 'renamed MISSING EXTERNAL');
    expect(gone.id).toBe(made.id);
  });

  test('snapshots that swap their names there keep their rows', async () => {
    const { name } = await instance();
    await seen.makeSnapshot(name, 'left');
    await seen.makeSnapshot(name, 'right');
    const [left, right] = await shows(name, 'left AVAILABLE EXTERNAL', 'right AVAILABLE EXTERNAL');
    await seen.renameSnapshot(name, 'left', 'aside');
    await seen.renameSnapshot(name, 'right', 'left');
    await seen.renameSnapshot(name, 'aside', 'right');
    await until(
      async () => {
        const { nodes } = (await shown(ops, name)).snapshots;
        return nodes.map(({ id }: { id: string }) => id).join() === [right.id, left.id].join();
      },
      SOON_MS,
      'the names to be swapped',
    );
    await shows(name, 'left AVAILABLE EXTERNAL', 'right AVAILABLE EXTERNAL');
  });

  test('a snapshot found there can be restored, renamed and deleted like our own', async () => {
    const { name } = await instance();
    await seen.makeSnapshot(name, 'theirs');
    const [{ id }] = await shows(name, 'theirs AVAILABLE EXTERNAL');
    expect(await done(ops, 'restoreSnapshot', { snapshotId: id })).toMatchObject({ status: 'SUCCEEDED' });
    expect(await done(ops, 'renameSnapshot', { snapshotId: id, name: 'ours' })).toMatchObject({ status: 'SUCCEEDED' });
    expect(await seen.snapshots(name)).toEqual(['ours']);
    expect(await done(ops, 'deleteSnapshot', { snapshotId: id })).toMatchObject({ status: 'SUCCEEDED' });
    expect(await seen.snapshots(name)).toEqual([]);
  });

  test('a missing snapshot does not hold its name, and deleting it takes only its row', async () => {
    const { id, name } = await instance();
    const { snapshot: first } = await done(ops, 'createSnapshot', { instanceId: id, name: 'nightly' });
    await seen.deleteSnapshot(name, 'nightly');
    await shows(name, 'nightly MISSING MANUAL');
    expect(await ask(ops, 'restoreSnapshot', { snapshotId: first?.id })).toMatchObject({
      operation: null,
      userErrors: [{ code: 'SNAPSHOT_NOT_READY' }],
    });

    const { snapshot: second } = await done(ops, 'createSnapshot', { instanceId: id, name: 'nightly' });
    await shows(name, 'nightly AVAILABLE MANUAL', 'nightly MISSING MANUAL');
    expect(await done(ops, 'deleteSnapshot', { snapshotId: first?.id })).toMatchObject({ status: 'SUCCEEDED' });
    const [left] = await shows(name, 'nightly AVAILABLE MANUAL');
    expect(left.id).toBe(second?.id);
    expect(await seen.snapshots(name)).toEqual(['nightly']);
  });

  test('a snapshot deleted and made again there under its name is another: the first is missing and cannot be restored', async () => {
    const { id, name } = await instance();
    const { snapshot: first } = await done(ops, 'createSnapshot', { instanceId: id, name: 'swapped' });
    await seen.deleteSnapshot(name, 'swapped');
    await seen.makeSnapshot(name, 'swapped');
    await shows(name, 'swapped AVAILABLE EXTERNAL', 'swapped MISSING MANUAL');
    expect(await ask(ops, 'restoreSnapshot', { snapshotId: first?.id })).toMatchObject({
      userErrors: [{ code: 'SNAPSHOT_NOT_READY' }],
    });
  });

  test('an instance renamed there keeps its id and its snapshots, and work on it goes on', async () => {
    const { id, name } = await instance();
    const { snapshot } = await done(ops, 'createSnapshot', { instanceId: id, name: 'kept' });
    await seen.renameInstance(name, `${name}-new`);
    const renamed = await shown(ops, `${name}-new`);
    expect(renamed.id).toBe(id);
    await shows(`${name}-new`, 'kept AVAILABLE MANUAL');
    expect((await ops.query('query ($name: String!) { instance(name: $name) { id } }', { name })).instance).toBeNull();
    expect(await done(ops, 'restoreSnapshot', { snapshotId: snapshot?.id })).toMatchObject({ status: 'SUCCEEDED' });
  });

  test('an instance deleted there is DELETED, and its snapshots are missing and can be taken off the list', async () => {
    const { id, name } = await instance();
    const { snapshot } = await done(ops, 'createSnapshot', { instanceId: id, name: 'lost' });
    await seen.deleteInstance(name);
    const byId = 'query ($id: ID!) { instance(id: $id) { status snapshots { nodes { status } } } }';
    await until(async () => (await ops.query(byId, { id })).instance.status === 'DELETED', SOON_MS, 'it to be DELETED');
    expect((await ops.query(byId, { id })).instance.snapshots.nodes).toEqual([{ status: 'MISSING' }]);
    expect(await ask(ops, 'createSnapshot', { instanceId: id, name: 'more' })).toMatchObject({
      userErrors: [{ code: 'INSTANCE_STATE_INVALID' }],
    });
    expect(await done(ops, 'deleteSnapshot', { snapshotId: snapshot?.id })).toMatchObject({ status: 'SUCCEEDED' });
    expect((await ops.query(byId, { id })).instance.snapshots.nodes).toEqual([]);
  });

  test('an instance made anew there under the name of a deleted one is another one', async () => {
    const { id, name } = await instance();
    await done(ops, 'createSnapshot', { instanceId: id, name: 'of-the-first' });
    await seen.deleteInstance(name);
    await seen.makeInstance(name);
    const second = await until(
      async () => {
        const { instance: now } = await ops.query('query ($name: String!) { instance(name: $name) { id snapshots { totalCount } } }', { name }); // prettier-ignore
        return now && now.id !== id && now;
      },
      SOON_MS,
      'the new one to be shown',
    );
    expect(second.snapshots.totalCount).toBe(0);
    const first = await ops.query('query ($id: ID!) { instance(id: $id) { status } }', { id });
    expect(first.instance.status).toBe('DELETED');
  });

  test('an instance started and stopped there is shown so', async () => {
    const { name } = await instance();
    await seen.power(name, 'start');
    await shown(ops, name, ({ status }) => status === 'RUNNING');
    await seen.power(name, 'stop');
    await shown(ops, name, ({ status }) => status === 'STOPPED');
  });

  test('a snapshot whose name its API cannot address is shown, and every act on it says why not', async () => {
    const { name } = await instance();
    await seen.makeSnapshot(name, impossibleName);
    const [odd] = await shows(name, `${impossibleName} AVAILABLE EXTERNAL`);
    for (const act of ['restore', 'delete', 'rename']) {
      expect(odd.viewerPermissions[act]).toEqual({ allowed: false, reason: 'NAME_INVALID' });
    }
    const input = { snapshotId: odd.id };
    for (const answer of [
      await ask(ops, 'restoreSnapshot', input),
      await ask(ops, 'deleteSnapshot', input),
      await ask(ops, 'renameSnapshot', { ...input, name: 'better' }),
    ]) {
      expect(answer).toMatchObject({ operation: null, userErrors: [{ code: 'NAME_INVALID' }] });
    }
    expect(await seen.snapshots(name)).toEqual([impossibleName]);
  });
});
