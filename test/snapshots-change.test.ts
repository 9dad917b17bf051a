import { startTestApp, type TestApp, type TestClient } from './support/app';
import { buildInstance, buildSnapshot, hold, missingId } from './support/rows';
import { ask, done, ended, instanceId } from './support/stories';

let app: TestApp;
let ops: TestClient;
let fixed: string;

beforeAll(async () => {
  app = await startTestApp();
  ops = await app.as('ops');
  fixed = await buildInstance(app);
});
afterAll(() => app.stop());

async function update(input: object): Promise<any> {
  const query = `mutation ($input: UpdateSnapshotInput!) { updateSnapshot(input: $input) {
    snapshot { id description expiresAt version } userErrors { code field message remediation correlationId } } }`;
  return (await ops.query(query, { input })).updateSnapshot;
}

const codes = (payload: { userErrors: { code: string }[] }) => payload.userErrors.map(({ code }) => code);

describe('updateSnapshot', () => {
  test('what is absent keeps, null clears, and every change counts', async () => {
    const snapshotId = await buildSnapshot(app, fixed);
    const expiresAt = '2099-01-02T03:04:05.678Z';
    const steps: [object, object][] = [
      [{ description: 'First.', expiresAt }, { description: 'First.', expiresAt, version: 2 }],
      [{ description: 'Second.' }, { description: 'Second.', expiresAt, version: 3 }],
      [{ expiresAt: '2099-01-02T04:04:05.6789+01:00' }, { description: 'Second.', expiresAt: '2099-01-02T03:04:05.678Z', version: 4 }],
      [{ description: null }, { description: null, expiresAt, version: 5 }],
      [{ expiresAt: null }, { description: null, expiresAt: null, version: 6 }],
      [{}, { description: null, expiresAt: null, version: 7 }],
      [{ description: '' }, { description: '', version: 8 }],
    ]; // prettier-ignore
    for (const [change, expected] of steps) {
      const { snapshot, userErrors } = await update({ snapshotId, ...change });
      expect([change, userErrors]).toEqual([change, []]);
      expect(snapshot).toMatchObject(expected);
    }
  });

  test('a version that is no longer the row’s is VERSION_CONFLICT and changes nothing; without one the last wins', async () => {
    const snapshotId = await buildSnapshot(app, fixed);
    expect((await update({ snapshotId, description: 'a', version: 1 })).snapshot.version).toBe(2);
    const refused = await update({ snapshotId, description: 'b', version: 1 });
    expect(refused).toMatchObject({ snapshot: null, userErrors: [{ code: 'VERSION_CONFLICT', field: ['version'] }] });
    expect((await update({ snapshotId })).snapshot.description).toBe('a');
    const crowd = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        update({
          snapshotId,
          ...(index % 2 ? { description: `crowd ${index}` } : { expiresAt: '2099-01-01T00:00:00Z' }),
        }),
      ),
    );
    expect(crowd.flatMap(codes)).toEqual([]);
    const { snapshot } = await update({ snapshotId });
    expect(snapshot).toMatchObject({ description: expect.stringContaining('crowd'), expiresAt: '2099-01-01T00:00:00.000Z', version: 16 }); // prettier-ignore
    const versioned = await Promise.all(Array.from({ length: 6 }, () => update({ snapshotId, version: 16 })));
    expect(versioned.flatMap(codes)).toEqual(Array.from({ length: 5 }, () => 'VERSION_CONFLICT'));
  });

  test('values out of bounds are refused, and what is not there is NOT_FOUND', async () => {
    const snapshotId = await buildSnapshot(app, fixed);
    for (const [field, value] of [
      ['expiresAt', '-PT1S'],
      ['expiresAt', '2001-01-01T00:00:00Z'],
      ['description', 'x'.repeat(1001)],
      ['description', '\0'],
    ] as const) {
      expect((await update({ snapshotId, [field]: value })).userErrors).toMatchObject([{ code: 'INVALID_INPUT', field: [field] }]); // prettier-ignore
    }
    for (const id of [missingId('Snapshot'), fixed, 'nonsense']) {
      expect((await update({ snapshotId: id, description: 'x' })).userErrors).toMatchObject([{ code: 'NOT_FOUND', field: ['snapshotId'] }]); // prettier-ignore
    }
    expect((await update({ snapshotId })).snapshot).toMatchObject({ description: null, expiresAt: null });
  });

  test('it needs no engine, so a busy instance and a snapshot in ERROR do not stand in its way', async () => {
    const instance = await buildInstance(app);
    const snapshotId = await buildSnapshot(app, instance, { status: 'ERROR' });
    await hold(app, instance);
    expect((await update({ snapshotId, description: 'Broken on Friday.' })).snapshot.description).toBe('Broken on Friday.'); // prettier-ignore
  });
});

describe('renameSnapshot', () => {
  test('the old name stays until the engine has done it, and the snapshot remains the same one', async () => {
    const instance = await instanceId(ops, 'cache-1');
    const made = await done(ops, 'createSnapshot', { instanceId: instance, name: 'asdf', description: 'Kept.' });
    const query = 'query ($id: ID!) { snapshot(id: $id) { name createdAt description status } }';
    const before = (await ops.query(query, { id: made.snapshot?.id })).snapshot;
    const { snapshot, operation } = await ask(ops, 'renameSnapshot', { snapshotId: made.snapshot?.id, name: 'before-rework' }); // prettier-ignore
    expect(snapshot).toMatchObject({ id: made.snapshot?.id, name: 'asdf' });
    expect(operation.snapshotName).toBe('asdf');
    expect(await ended(ops, operation.id)).toMatchObject({ status: 'SUCCEEDED', snapshot: { name: 'before-rework' } });
    expect((await ops.query(query, { id: made.snapshot?.id })).snapshot).toEqual({ ...before, name: 'before-rework' });
    const onEngine = await app.local.findInstance({ project: 'default', name: 'cache-1' }, AbortSignal.timeout(5000));
    const names = onEngine?.snapshots.map(({ name }) => name);
    expect(names).toContain('before-rework');
    expect(names).not.toContain('asdf');
    expect(await done(ops, 'createSnapshot', { instanceId: instance, name: 'asdf' })).toMatchObject({ status: 'SUCCEEDED' }); // prettier-ignore
  });

  test('a name in use, also its own, is NAME_TAKEN; one that only a MISSING snapshot bears is not', async () => {
    const instance = await buildInstance(app);
    const snapshotId = await buildSnapshot(app, instance, { name: 'one' });
    const two = await buildSnapshot(app, instance, { name: 'two' });
    await buildSnapshot(app, instance, { name: 'three', status: 'MISSING' });
    for (const [name, id] of [['two', two], ['one', snapshotId]]) {
      const { userErrors, operation } = await ask(ops, 'renameSnapshot', { snapshotId, name });
      expect(userErrors).toMatchObject([{ __typename: 'NameTakenError', code: 'NAME_TAKEN', field: ['name'], existing: { id, name } }]); // prettier-ignore
      expect(operation).toBeNull();
    } // prettier-ignore
    expect(codes(await ask(ops, 'renameSnapshot', { snapshotId, name: 'three' }))).toEqual([]);
  });

  test('a rename that the engine refuses leaves the name as it was', async () => {
    const snapshotId = await buildSnapshot(app, fixed, { name: 'steadfast' });
    expect(await done(ops, 'renameSnapshot', { snapshotId, name: 'other' })).toMatchObject({
      status: 'FAILED',
      error: { code: 'NOT_FOUND' },
      snapshot: { name: 'steadfast', status: 'AVAILABLE' },
    });
  });
});
