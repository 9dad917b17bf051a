import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startTestApp, type TestApp } from './support/app';
import { ask, done, ended, instanceId } from './support/stories';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.stop());

test('an operator takes a snapshot, the instance changes, and the restore brings files and configuration back', async () => {
  const ops = await app.as('ops');
  const id = await instanceId(ops, 'web-1');
  const taken = await ask(ops, 'createSnapshot', { instanceId: id, name: 'story' });
  expect(taken).toMatchObject({ snapshot: { name: 'story', status: 'PENDING', stateful: false }, replayed: false });
  expect(await ended(ops, taken.operation.id)).toMatchObject({ status: 'SUCCEEDED', error: null });

  const file = join(app.folder, 'engine/instances/default/web-1/rootfs/etc/motd');
  const before = await readFile(file, 'utf8');
  await writeFile(file, 'broken');
  await app.local.configure({ project: 'default', name: 'web-1' }, 'limits.memory', '1GiB');
  expect(await done(ops, 'restoreSnapshot', { snapshotId: taken.snapshot.id })).toMatchObject({ status: 'SUCCEEDED' });
  expect(await readFile(file, 'utf8')).toBe(before);
  const { instance } = await ops.query(
    'query ($id: ID!) { instance(id: $id) { status configuration { entries { key value } } } }',
    { id },
  );
  expect(instance.status).toBe('RUNNING');
  expect(instance.configuration.entries.map((each: { key: string }) => each.key)).not.toContain('limits.memory');
  expect(await done(ops, 'deleteSnapshot', { snapshotId: taken.snapshot.id })).toMatchObject({
    status: 'SUCCEEDED',
    snapshot: null,
  });
});
