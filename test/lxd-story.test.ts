/** The whole program on a real LXD: the same stories as on Incus, as far as LXD goes. */
import { startTestApp, type TestApp, type TestClient } from './support/app';
import type { IncusRaw } from './support/incus-raw';
import {
  at,
  engineSnapshots,
  lxdWays,
  removeSnapshots,
  shown,
  statusWhen,
  uniqueWord,
  type IncusWay,
} from './support/incus-story';
import { ask, done, ended } from './support/stories';

jest.setTimeout(120_000);

const NOTE = '/srv/story-note';

if (lxdWays.length === 0) {
  console.warn('SKIPPED: no LXD. Set LXD_SOCKET, or LXD_URL with its certificates, for the stories on LXD.');
  test.skip('the stories on a real LXD, which the environment does not name', () => undefined);
}

for (const way of lxdWays) describe(`on LXD over ${way.title}`, () => describeStories(way));

function describeStories(way: IncusWay): void {
  const run = uniqueWord();
  const named = (what: string): string => `${what}-${run}`;
  let app: TestApp;
  let raw: IncusRaw;
  let ops: TestClient;
  beforeAll(async () => {
    raw = way.open();
    app = await startTestApp({ env: way.env });
    ops = await app.as('ops');
  });
  afterAll(async () => {
    for (const name of ['lx-1', 'lx-2']) await removeSnapshots(raw, at(name), run);
    await raw.call('DELETE', raw.url(at('lx-1'), '/files', `path=${NOTE}`)).catch(() => undefined);
    await app.stop();
    await raw.close();
  });

  test('it is known as LXD, and its instances are listed', async () => {
    await shown(ops, 'lx-1', ({ status }) => status === 'RUNNING');
    await shown(ops, 'lx-2', ({ status }) => status === 'STOPPED');
    const { apiInfo } = await ops.query('{ apiInfo { engine { kind available capabilities } } }');
    expect(apiInfo.engine).toMatchObject({ kind: 'LXD', available: true });
    expect(apiInfo.engine.capabilities).not.toContain('STATEFUL_SNAPSHOTS');
  });

  test('a snapshot is taken, and restoring it brings files and configuration back to a running instance', async () => {
    const lx1 = at('lx-1');
    const { id, configuration: before } = await shown(ops, 'lx-1', ({ status }) => status === 'RUNNING');
    await raw.write(lx1, NOTE, 'before');
    const { snapshot } = await done(ops, 'createSnapshot', { instanceId: id, name: named('before-upgrade') });
    expect(snapshot).toMatchObject({ status: 'AVAILABLE' });
    await raw.write(lx1, NOTE, 'broken');
    await raw.call('PATCH', raw.url(lx1), {
      description: 'after the upgrade',
      config: { 'user.story': 'changed' },
      devices: { note: { type: 'none' } },
    });
    await shown(ops, 'lx-1', ({ configuration }) => configuration.description === 'after the upgrade');
    const { boot } = await statusWhen(raw, lx1, () => true, 'a status');
    expect(await done(ops, 'restoreSnapshot', { snapshotId: snapshot?.id })).toMatchObject({
      status: 'SUCCEEDED',
      error: null,
    });
    const after = await shown(ops, 'lx-1', ({ status }) => status === 'RUNNING');
    expect(after.configuration).toEqual(before);
    expect(await raw.read(lx1, NOTE)).toBe('before');
    await statusWhen(raw, lx1, (now) => now.boot !== boot, 'a new boot');
  });

  test('snapshots are renamed and deleted, and the engine never deletes them by its own clock', async () => {
    const lx2 = at('lx-2');
    const { id } = await shown(ops, 'lx-2', ({ status }) => status === 'STOPPED');
    await raw.configure(lx2, 'snapshots.expiry', '1M');
    try {
      const { snapshot } = await done(ops, 'createSnapshot', { instanceId: id, name: named('kept') });
      const input = { snapshotId: snapshot?.id };
      expect(await done(ops, 'renameSnapshot', { ...input, name: named('renamed') })).toMatchObject({ status: 'SUCCEEDED' }); // prettier-ignore
      const mine = (await engineSnapshots(raw, lx2)).filter(({ name }) => name.includes(run));
      expect(mine).toEqual([{ name: named('renamed'), expires_at: expect.stringMatching(/^0001-01-01T00:00:00/) }]);
      expect(await done(ops, 'deleteSnapshot', input)).toMatchObject({ status: 'SUCCEEDED' });
      expect((await engineSnapshots(raw, lx2)).filter(({ name }) => name.includes(run))).toEqual([]);
    } finally {
      await raw.configure(lx2, 'snapshots.expiry', '');
    }
  });

  test('a stateful snapshot is refused with the reason before anything starts', async () => {
    const { id } = await shown(ops, 'lx-1', ({ status }) => status === 'RUNNING');
    const refused = await ask(ops, 'createSnapshot', { instanceId: id, name: named('no'), stateful: true });
    expect(refused).toMatchObject({ operation: null, userErrors: [{ code: 'STATEFUL_NOT_SUPPORTED' }] });
    expect(refused.userErrors[0].reasons).toEqual(["This engine cannot restore a container's memory."]);
  });

  test('what is made, renamed and deleted there is shown', async () => {
    const lx2 = at('lx-2');
    const is = (name: string, status: string) => (instance: any) =>
      instance.snapshots.nodes.some((each: any) => each.name === name && each.status === status);
    await shown(ops, 'lx-2');
    await raw.makeSnapshot(lx2, named('theirs'));
    await shown(ops, 'lx-2', is(named('theirs'), 'AVAILABLE'));
    await raw.call('POST', raw.url(lx2, `/snapshots/${named('theirs')}`), { name: named('moved') });
    await shown(ops, 'lx-2', is(named('moved'), 'AVAILABLE'));
    await raw.call('DELETE', raw.url(lx2, `/snapshots/${named('moved')}`));
    await shown(ops, 'lx-2', is(named('moved'), 'MISSING'));
  });

  test('a name that is taken there directly is refused', async () => {
    const lx2 = at('lx-2');
    const { id } = await shown(ops, 'lx-2');
    await raw.makeSnapshot(lx2, named('taken'));
    const answer = await ask(ops, 'createSnapshot', { instanceId: id, name: named('taken') });
    const refusal = answer.operation ? (await ended(ops, answer.operation.id)).error : answer.userErrors[0];
    expect(refusal.code).toBe('NAME_TAKEN');
  });
}
