/** The whole program on a real Incus: what its users ask for through GraphQL, seen on the engine itself. */
import { startTestApp, type TestApp, type TestClient } from './support/app';
import type { IncusRaw } from './support/incus-raw';
import {
  at,
  copyInstance,
  criu,
  engineSnapshots,
  incusWays,
  power,
  removeInstances,
  removeSnapshots,
  shown,
  statusWhen,
  uniqueWord,
  type IncusWay,
} from './support/incus-story';
import { ask, done, ended } from './support/stories';
import { until } from './support/until';

jest.setTimeout(120_000);

const web = at('web-1');
const NOTE = '/srv/story-note';
const trouble = criu();

if (incusWays.length === 0) {
  console.warn('SKIPPED: no engine. Set INCUS_SOCKET, or INCUS_URL with its certificates, for the stories on Incus.');
  test.skip('the stories on a real Incus, which the environment does not name', () => undefined);
}

for (const way of incusWays) describe(`on Incus over ${way.title}`, () => describeStories(way));

function describeStories(way: IncusWay): void {
  const run = uniqueWord();
  const named = (what: string): string => `${what}-${run}`;
  let app: TestApp;
  let raw: IncusRaw;
  let ops: TestClient;
  beforeAll(async () => {
    raw = way.open();
    app = await startTestApp({ demo: true, env: way.env });
    ops = await app.as('ops');
  });
  afterAll(async () => {
    for (const name of ['web-1', 'db-1', 'cache-1']) await removeSnapshots(raw, at(name), run);
    await raw.call('DELETE', raw.url(web, '/files', `path=${NOTE}`)).catch(() => undefined);
    // A test that failed half-way may have left it stopped; it says no when it runs.
    await power(raw, web, 'start').catch(() => undefined);
    await app.stop();
    await raw.close();
  });

  test('restoring what was taken before an upgrade brings files and configuration back, and the instance runs', async () => {
    const { id, configuration: before } = await shown(ops, 'web-1', ({ status }) => status === 'RUNNING');
    await raw.write(web, NOTE, 'before');
    const taken = await ask(ops, 'createSnapshot', { instanceId: id, name: named('before-upgrade') });
    expect(taken.userErrors).toEqual([]);
    expect(await ended(ops, taken.operation.id)).toMatchObject({
      status: 'SUCCEEDED',
      snapshot: { status: 'AVAILABLE' },
    });

    await raw.write(web, NOTE, 'broken');
    await raw.call('PATCH', raw.url(web), {
      description: 'after the upgrade',
      config: { 'limits.processes': '500' },
      devices: { note: { type: 'none' } },
    });
    const changed = await shown(ops, 'web-1', ({ configuration }) => configuration.description === 'after the upgrade');
    expect(changed.configuration.entries).toContainEqual({ key: 'limits.processes', value: '500' });
    expect(changed.configuration.devices).toContainEqual({ name: 'note' });

    const { boot } = await statusWhen(raw, web, () => true, 'a status');
    expect(await done(ops, 'restoreSnapshot', { snapshotId: taken.snapshot.id })).toMatchObject({
      status: 'SUCCEEDED',
      error: null,
      steps: [{ name: 'check' }, { name: 'act' }, { name: 'verify' }],
    });
    const after = await shown(ops, 'web-1', ({ status }) => status === 'RUNNING');
    expect(after.configuration).toEqual(before);
    expect(await raw.read(web, NOTE)).toBe('before');
    await statusWhen(raw, web, (now) => now.boot !== boot, 'a new boot');
  });

  test('a stateful snapshot brings the processes back as they were; asked for the disk alone, they start anew', async () => {
    const { id } = await shown(ops, 'web-1', (web1) => web1.statefulSnapshotSupport.supported);
    const before = await statusWhen(raw, web, ({ mem }) => mem > 2, 'some seconds of memory');
    const taken = await ask(ops, 'createSnapshot', { instanceId: id, name: named('warm'), stateful: true });
    expect(await ended(ops, taken.operation.id)).toMatchObject({ status: 'SUCCEEDED' });

    expect(await done(ops, 'restoreSnapshot', { snapshotId: taken.snapshot.id, restoreMemory: false })).toMatchObject({
      status: 'SUCCEEDED',
    });
    await statusWhen(raw, web, ({ boot }) => boot !== before.boot, 'a new boot');

    expect(await done(ops, 'restoreSnapshot', { snapshotId: taken.snapshot.id })).toMatchObject({
      status: 'SUCCEEDED',
    });
    const back = await statusWhen(raw, web, ({ boot }) => boot === before.boot, 'the boot of the snapshot');
    expect(back.mem).toBeGreaterThanOrEqual(before.mem);
    await statusWhen(raw, web, ({ boot, mem }) => boot === before.boot && mem > back.mem, 'the memory to go on');
    await shown(ops, 'web-1', ({ status }) => status === 'RUNNING');
  });

  test('a stateful snapshot that cannot be taken is refused with the reason before anything starts', async () => {
    const db = await shown(ops, 'db-1', ({ status }) => status === 'RUNNING');
    const refused = await ask(ops, 'createSnapshot', { instanceId: db.id, name: named('no'), stateful: true });
    expect(refused).toMatchObject({
      snapshot: null,
      operation: null,
      userErrors: [{ code: 'STATEFUL_NOT_SUPPORTED', reasons: db.statefulSnapshotSupport.reasons }],
    });
    expect(refused.userErrors[0].reasons.join(' ')).toContain('migration.stateful');

    const cache = await shown(ops, 'cache-1', ({ status }) => status === 'STOPPED');
    expect(await ask(ops, 'createSnapshot', { instanceId: cache.id, name: named('no'), stateful: true })).toMatchObject(
      {
        operation: null,
        userErrors: [{ code: 'STATEFUL_REQUIRES_RUNNING', status: 'STOPPED' }],
      },
    );
    for (const { name } of [db, cache]) {
      expect((await engineSnapshots(raw, at(name))).map((each) => each.name)).not.toContain(named('no'));
    }
  });

  test('a snapshot of a stopped instance is restored without starting it', async () => {
    const cache = await shown(ops, 'cache-1', ({ status }) => status === 'STOPPED');
    const { snapshot } = await done(ops, 'createSnapshot', { instanceId: cache.id, name: named('cold') });
    expect(await done(ops, 'restoreSnapshot', { snapshotId: snapshot?.id })).toMatchObject({ status: 'SUCCEEDED' });
    expect((await raw.call('GET', raw.url(at('cache-1')))).metadata.status).toBe('Stopped');
  });

  test('what alice is not given stays hidden, and what she is given she may only look at', async () => {
    const alice = await app.as('alice');
    const { id: aliceId } = (await alice.query('{ viewer { id } }')).viewer;
    const web1 = await shown(ops, 'web-1');
    const db1 = await shown(ops, 'db-1');
    const { snapshot } = await done(ops, 'createSnapshot', { instanceId: db1.id, name: named('hidden') });
    const list = '{ instances { totalCount nodes { name snapshots { totalCount } } } snapshots { totalCount nodes { instance { name } } } }'; // prettier-ignore
    expect(await alice.query(list)).toEqual({
      instances: { totalCount: 0, nodes: [] },
      snapshots: { totalCount: 0, nodes: [] },
    });

    const admin = await app.as('admin');
    const { assignInstance } = await admin.query(
      'mutation ($input: AssignInstanceInput!) { assignInstance(input: $input) { userErrors { code } } }',
      { input: { userId: aliceId, instanceId: web1.id } },
    );
    expect(assignInstance.userErrors).toEqual([]);
    const seen = await alice.query(list);
    expect(seen.instances.nodes.map(({ name }: { name: string }) => name)).toEqual(['web-1']);
    expect(new Set(seen.snapshots.nodes.map((each: any) => each.instance.name))).toEqual(new Set(['web-1']));

    const byId = 'query ($id: ID!) { snapshot(id: $id) { name } }';
    expect(await alice.query(byId, { id: snapshot?.id })).toEqual({ snapshot: null });
    expect(await alice.query('query ($id: ID!) { instance(id: $id) { name } }', { id: db1.id })).toEqual({
      instance: null,
    });
    const { errors } = await alice.send(
      'mutation ($input: CreateSnapshotInput!) { createSnapshot(input: $input) { snapshot { id } } }',
      { input: { instanceId: web1.id, name: named('hers') } },
    );
    expect(errors?.map(({ extensions }) => extensions.code)).toEqual(['FORBIDDEN']);
    expect((await engineSnapshots(raw, web)).map(({ name }) => name)).not.toContain(named('hers'));
  });

  test('fifty snapshots that ten clients take at once on five instances are all there, each once', async () => {
    const names = [1, 2, 3, 4, 5].map((n) => named(`many-${n}`));
    try {
      await copyInstance(raw, 'cache-1', ...names);
      const ids = await Promise.all(names.map(async (name) => (await shown(ops, name)).id as string));
      const clients = await Promise.all(Array.from({ length: 10 }, () => app.as('ops')));
      const outcomes = await Promise.all(
        clients.flatMap((client, n) => ids.map((id) => done(client, 'createSnapshot', { instanceId: id, name: `by-${n}` }))), // prettier-ignore
      );
      expect(outcomes.map(({ status, error }) => error ?? status)).toEqual(Array(50).fill('SUCCEEDED'));

      const expected = clients.map((_, n) => `by-${n}`);
      for (const name of names) {
        const { snapshots } = await shown(ops, name);
        expect(snapshots.totalCount).toBe(10);
        expect(snapshots.nodes.map((each: any) => [each.name, each.status, each.origin])).toEqual(
          expected.map((each) => [each, 'AVAILABLE', 'MANUAL']),
        );
        expect((await engineSnapshots(raw, at(name))).map((each) => each.name).sort()).toEqual(expected);
      }
    } finally {
      await removeInstances(raw, ...names);
    }
  });

  test('ten snapshots of one instance are deleted by one operation with ten outcomes', async () => {
    const name = named('ten');
    try {
      await copyInstance(raw, 'cache-1', name);
      const { id } = await shown(ops, name);
      const ids: string[] = [];
      for (let n = 0; n < 10; n += 1) {
        ids.push((await done(ops, 'createSnapshot', { instanceId: id, name: `s${n}` })).snapshot?.id ?? '');
      }
      await raw.call('DELETE', raw.url(at(name), '/snapshots/s3'));
      const { deleteSnapshots } = await ops.query(
        `mutation ($input: DeleteSnapshotsInput!) { deleteSnapshots(input: $input) {
          operations { id } results { snapshotId operation { id } userErrors { code } } } }`,
        { input: { snapshotIds: ids } },
      );
      const [operation, ...others] = deleteSnapshots.operations;
      expect(others).toEqual([]);
      expect(deleteSnapshots.results).toEqual(
        ids.map((snapshotId) => ({ snapshotId, operation: { id: operation.id }, userErrors: [] })),
      );
      const { status, items } = await ended(ops, operation.id);
      expect(status).toBe('SUCCEEDED');
      expect(items).toEqual(ids.map((_, n) => ({ snapshotName: `s${n}`, status: 'SUCCEEDED', error: null })));
      expect(await engineSnapshots(raw, at(name))).toEqual([]);
      expect((await shown(ops, name)).snapshots.totalCount).toBe(0);
    } finally {
      await removeInstances(raw, name);
    }
  });

  test('the engine never deletes a snapshot of ours by its own clock, whatever the instance says', async () => {
    const name = named('expiring');
    try {
      await copyInstance(raw, 'cache-1', name);
      await raw.configure(at(name), 'snapshots.expiry', '1M');
      const { id } = await shown(ops, name);
      const input = { instanceId: id, name: 'kept', expiresAt: 'PT1H' };
      expect(await done(ops, 'createSnapshot', input)).toMatchObject({ status: 'SUCCEEDED' });
      expect(await engineSnapshots(raw, at(name))).toEqual([
        { name: 'kept', expires_at: expect.stringMatching(/^0001-01-01T00:00:00/) },
      ]);
    } finally {
      await removeInstances(raw, name);
    }
  });

  describe('a creation that the engine refuses frees its name', () => {
    (trouble ? test : test.skip)('after a dump of the memory that failed, with the instance running on', async () => {
      const { id } = await shown(ops, 'web-1', (web1) => web1.statefulSnapshotSupport.supported);
      const before = await statusWhen(raw, web, () => true, 'a status');
      const input = { instanceId: id, name: named('twice'), stateful: true };
      const mend = await trouble?.set('fail', 'dump');
      try {
        const failed = await done(ops, 'createSnapshot', input);
        expect(failed).toMatchObject({ status: 'FAILED', error: { code: 'ENGINE_ERROR' }, snapshot: null });
        expect(failed.error?.message).toMatch(/keeps running/);
        expect(failed.error?.message).not.toMatch(/\/(?:var|tmp|testbed)\//);
      } finally {
        await mend?.();
      }
      const after = await statusWhen(raw, web, ({ mem }) => mem > before.mem, 'it to run on');
      expect(after.boot).toBe(before.boot);
      expect(await done(ops, 'createSnapshot', input)).toMatchObject({
        status: 'SUCCEEDED',
        snapshot: { status: 'AVAILABLE' },
      });
    });

    test('after a name that somebody had taken on the engine directly', async () => {
      const { id } = await shown(ops, 'cache-1', ({ status }) => status === 'STOPPED');
      const name = named('theirs');
      await raw.makeSnapshot(at('cache-1'), name);
      // Whether the observer has shown it before the wish comes or the worker meets it on the engine: it is refused.
      const answer = await ask(ops, 'createSnapshot', { instanceId: id, name });
      const refusal = answer.operation ? (await ended(ops, answer.operation.id)).error : answer.userErrors[0];
      expect(refusal.code).toBe('NAME_TAKEN');
      await shown(ops, 'cache-1', ({ snapshots }) => snapshots.nodes.some((each: any) => each.name === name && each.origin === 'EXTERNAL')); // prettier-ignore

      await raw.call('DELETE', raw.url(at('cache-1'), `/snapshots/${name}`));
      const made = await until(async () => {
        const again = await ask(ops, 'createSnapshot', { instanceId: id, name });
        return again.operation && ended(ops, again.operation.id);
      });
      expect(made).toMatchObject({ status: 'SUCCEEDED', snapshot: { name, status: 'AVAILABLE' } });
    });
  });

  (trouble ? test : test.skip)(
    'a restore of memory that fails says how it left the instance, and succeeds once it can',
    async () => {
      const { id } = await shown(ops, 'web-1', (web1) => web1.statefulSnapshotSupport.supported);
      const { snapshot } = await done(ops, 'createSnapshot', { instanceId: id, name: named('sick'), stateful: true });
      const mend = await trouble?.set('fail', 'restore');
      try {
        const failed = await done(ops, 'restoreSnapshot', { snapshotId: snapshot?.id });
        expect(failed).toMatchObject({ status: 'FAILED', error: { code: 'ENGINE_ERROR' }, snapshot: { status: 'AVAILABLE' } }); // prettier-ignore
        expect(failed.error?.message).toContain('web-1 is STOPPED now. Its disk is that of the snapshot.');
        await shown(ops, 'web-1', ({ status }) => status === 'STOPPED');
      } finally {
        await mend?.();
      }
      expect(await done(ops, 'restoreSnapshot', { snapshotId: snapshot?.id })).toMatchObject({ status: 'SUCCEEDED' });
      await shown(ops, 'web-1', ({ status }) => status === 'RUNNING');
    },
  );

  test('an instance that is stopped and started on the engine is shown so', async () => {
    const db1 = at('db-1');
    await power(raw, db1, 'stop');
    try {
      await shown(ops, 'db-1', ({ status }) => status === 'STOPPED');
    } finally {
      await power(raw, db1, 'start');
    }
    await shown(ops, 'db-1', ({ status }) => status === 'RUNNING');
  });
}
