/** The whole program on a cluster of Incus: several addresses are one engine, and an instance lives on one of its members. */
import { startTestApp, type TestApp, type TestClient } from './support/app';
import type { IncusRaw } from './support/incus-raw';
import { at, clusterWays, engineSnapshots, removeSnapshots, shown, uniqueWord } from './support/incus-story';
import { done } from './support/stories';

jest.setTimeout(120_000);

const [way] = clusterWays;
const run = uniqueWord();
if (!way)
  console.warn('SKIPPED: no cluster. Set INCUS_CLUSTER_URLS and its certificates for the stories on a cluster.');

(way ? describe : describe.skip)('on a cluster of Incus', () => {
  let app: TestApp;
  let ops: TestClient;
  let raw: IncusRaw | undefined;
  let members: { name: string; location: string }[] = [];
  beforeAll(async () => {
    raw = way?.open();
    // The first address is nobody's: the next ones are asked.
    const INCUS_URL = `https://127.0.0.1:9,${way?.env['INCUS_URL'] ?? ''}`;
    app = await startTestApp({ env: { ...way?.env, INCUS_URL } });
    ops = await app.as('ops');
    const answer = await raw?.call('GET', '/1.0/instances?recursion=1');
    members = (answer?.metadata ?? []) as unknown as typeof members;
  });
  afterAll(async () => {
    if (raw) for (const { name } of members) await removeSnapshots(raw, at(name), run);
    await app.stop();
    await raw?.close();
  });

  test('each instance is shown with the member that it lives on', async () => {
    expect(new Set(members.map(({ location }) => location)).size).toBeGreaterThan(1);
    for (const { name, location } of members) expect((await shown(ops, name)).location).toBe(location);
    const { apiInfo } = await ops.query('{ apiInfo { engine { kind available capabilities } } }');
    expect(apiInfo.engine).toMatchObject({ kind: 'INCUS', available: true });
    expect(apiInfo.engine.capabilities).toContain('CLUSTER');
  });

  test('snapshots are taken, restored, renamed and deleted on every member, whichever is asked', async () => {
    await Promise.all(
      members.map(async ({ name }) => {
        const { id } = await shown(ops, name);
        const taken = await done(ops, 'createSnapshot', { instanceId: id, name: `member-${run}` });
        expect(taken).toMatchObject({ status: 'SUCCEEDED', snapshot: { status: 'AVAILABLE' } });
        const input = { snapshotId: taken.snapshot?.id };
        expect(await done(ops, 'restoreSnapshot', input)).toMatchObject({ status: 'SUCCEEDED' });
        expect(await done(ops, 'renameSnapshot', { ...input, name: `moved-${run}` })).toMatchObject({ status: 'SUCCEEDED' }); // prettier-ignore
        expect(await done(ops, 'deleteSnapshot', input)).toMatchObject({ status: 'SUCCEEDED' });
        const left = raw ? await engineSnapshots(raw, at(name)) : [];
        expect(left.filter((each) => each.name.includes(run))).toEqual([]);
      }),
    );
  });

  test('a snapshot made on any member is shown', async () => {
    for (const { name } of members) {
      await raw?.makeSnapshot(at(name), `theirs-${run}`);
      await shown(ops, name, ({ snapshots }) => snapshots.nodes.some((each: any) => each.name === `theirs-${run}`));
    }
  });
});
