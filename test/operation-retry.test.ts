/** Work that did not succeed, asked for once again: the same wish, judged by what is true now. */
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { buildInstance, buildOperation, buildSnapshot, hold, missingId, uuidOf } from './support/rows';
import { ask, cancel, done, ended, instanceId } from './support/stories';

let app: TestApp;
let ops: TestClient;

beforeAll(async () => {
  app = await startTestApp();
  ops = await app.as('ops');
});
afterAll(() => app.stop());

const NO_ANSWER = { code: 'ENGINE_UNAVAILABLE', message: 'No answer.', remediation: null, correlationId: 'c' };
const PASSING = { ...NO_ANSWER, retryable: true };
const LASTING = { ...NO_ANSWER, retryable: false, remediation: 'Ask whoever runs the engine.' };
const ENDED = { finished_at: new Date() };

const retry = (operationId: string): Promise<any> => ask(ops, 'retryOperation', { operationId });
const codes = ({ userErrors }: any): string[] => userErrors.map(({ code }: any) => code);
const rowOf = async (id: string): Promise<any> =>
  (await app.db.query('select * from snapshots where id = $1', [uuidOf(id)]))[0] ?? null;
const inputOf = async (operation: string): Promise<any> =>
  (await app.db.query('select input from operations where id = $1', [uuidOf(operation)]))[0].input;
const failed = (instance: string, columns: object) =>
  buildOperation(app, instance, { status: 'FAILED', error: PASSING, ...ENDED, snapshot_name: 'again', created_at: new Date(), ...columns }); // prettier-ignore

test.each<[string, object, string, string]>([
  ['waits', {}, 'It has not ended.', 'Wait until it is done; what cannot begin yet is tried again by itself.'],
  ['is worked on', { status: 'RUNNING' }, 'It has not ended.', 'Wait until it is done; what cannot begin yet is tried again by itself.'],
  ['succeeded', { status: 'SUCCEEDED', ...ENDED }, 'It has succeeded.', 'Ask for new work, if you want more.'],
  ['failed for good', { status: 'FAILED', error: LASTING, ...ENDED }, 'Asking again would not help. No answer.', 'Ask whoever runs the engine.'],
])('refuses what %s, and says what to do', async (_, columns, message, remediation) => {
  const id = await buildOperation(app, await buildInstance(app), { snapshot_name: 'again', ...columns });
  expect(await retry(id)).toMatchObject({
    operation: null, snapshot: null, replayed: null,
    userErrors: [{ code: 'OPERATION_NOT_RETRYABLE', message, field: ['operationId'], remediation }],
  });
}); // prettier-ignore

test('a creation that left nothing is made anew with all that was wished for', async () => {
  const input = { stateful: false, description: 'Why.', expiresAt: '2099-01-01T00:00:00.000Z' };
  const id = await failed(await instanceId(ops, 'new-1'), { input });
  const { snapshot, operation, userErrors } = await retry(id);
  expect(userErrors).toEqual([]);
  expect(snapshot).toMatchObject({ name: 'again', status: 'PENDING' });
  expect(await ended(ops, operation.id)).toMatchObject({ status: 'SUCCEEDED', snapshot: { name: 'again' } });
  expect(await rowOf(snapshot.id)).toMatchObject({ description: 'Why.', expires_at: new Date(input.expiresAt) });
  expect(await inputOf(operation.id)).toMatchObject(input);
  // A second time its name is taken, by what the first time made.
  const again = await retry(id);
  expect(again.userErrors).toMatchObject([{ code: 'NAME_TAKEN', field: ['operationId'], existing: { id: snapshot.id } }]); // prettier-ignore
});

test('it is judged by what is true now', async () => {
  const instance = await buildInstance(app);
  const late = await failed(instance, { input: { stateful: false, expiresAt: new Date().toISOString() } });
  expect((await retry(late)).userErrors).toMatchObject([{ code: 'INVALID_INPUT', field: ['operationId'] }]);
  const stateful = await failed(instance, { input: { stateful: true } });
  expect((await retry(stateful)).userErrors).toMatchObject([{ code: 'STATEFUL_REQUIRES_RUNNING', field: ['operationId'], status: 'STOPPED' }]); // prettier-ignore
  const plain = await failed(instance, {});
  const held = await hold(app, instance);
  expect((await retry(plain)).userErrors).toMatchObject([{ code: 'INSTANCE_BUSY', operation: { id: held.id } }]);
  expect(codes(await retry(await failed(await buildInstance(app, { status: 'DELETED' }), {})))).toEqual(['INSTANCE_STATE_INVALID']); // prettier-ignore
  await held.release();
  const unready = await buildSnapshot(app, instance, { status: 'MISSING' });
  const on = { snapshot_id: uuidOf(unready), input: { restoreMemory: false, newName: 'other' } };
  for (const kind of ['SNAPSHOT_RESTORE', 'SNAPSHOT_RENAME']) {
    expect(codes(await retry(await failed(instance, { kind, ...on })))).toEqual(['SNAPSHOT_NOT_READY']);
    const ofNothing = await retry(await failed(instance, { kind, ...on, snapshot_id: null }));
    expect(ofNothing.userErrors).toMatchObject([{ code: 'NOT_FOUND', field: ['operationId'], message: 'There is no such snapshot.' }]); // prettier-ignore
  }
});

test('a creation that left something half made takes the same snapshot anew; of another operation it is in the way', async () => {
  const instance = await buildInstance(app);
  const id = await failed(instance, { input: { stateful: false, description: 'As it was.' } });
  const half = { name: 'again', status: 'ERROR', error: PASSING, description: 'As it is.', expires_at: new Date('2099-01-01') };
  const snapshotId = await buildSnapshot(app, instance, half);
  expect((await retry(id)).userErrors).toMatchObject([{ code: 'NAME_TAKEN', existing: { id: snapshotId } }]);
  await app.db.query('update snapshots set created_by_operation_id = $2 where id = $1', [uuidOf(snapshotId), uuidOf(id)]);
  const { snapshot, operation, userErrors } = await retry(id);
  expect(userErrors).toEqual([]);
  expect(snapshot).toMatchObject({ id: snapshotId, status: 'PENDING' });
  expect(await inputOf(operation.id)).toMatchObject({ stateful: false, description: 'As it is.', expiresAt: half.expires_at.toISOString(), replaces: true });
  await ended(ops, operation.id);
}); // prettier-ignore

test('what is left half made on the engine is replaced by a snapshot that is good', async () => {
  const made = await done(ops, 'createSnapshot', { instanceId: await instanceId(ops, 'cache-1'), name: 'half' });
  const id = made.snapshot?.id ?? '';
  const before = await rowOf(id);
  await app.db.query(`update snapshots set status = 'ERROR', error = $2 where id = $1`, [uuidOf(id), PASSING]);
  await app.db.query(`update operations set status = 'FAILED', error = $2 where id = $1`, [uuidOf(made.id), PASSING]);
  const { operation, userErrors } = await retry(made.id);
  expect(userErrors).toEqual([]);
  expect(await ended(ops, operation.id)).toMatchObject({ status: 'SUCCEEDED', snapshot: { id, status: 'AVAILABLE' } });
  const after = await rowOf(id);
  expect(after).toMatchObject({ error: null, created_by_operation_id: uuidOf(operation.id) });
  expect(after.created_at.getTime()).toBeGreaterThan(before.created_at.getTime());
  const facts = await app.local.findInstance({ project: 'default', name: 'cache-1' }, AbortSignal.timeout(5000));
  expect(facts?.snapshots.filter(({ name }) => name === 'half')).toMatchObject([{ createdAt: after.created_at }]);
});

test('what was taken anew and withdrawn is suspect as before, and can be taken anew again', async () => {
  const instance = await buildInstance(app);
  const snapshotId = await buildSnapshot(app, instance, { name: 'again', status: 'PENDING', error: PASSING });
  const waiting = { status: 'QUEUED', finished_at: null, error: null, snapshot_id: uuidOf(snapshotId), input: { replaces: true } }; // prettier-ignore
  const id = await failed(instance, waiting);
  await app.db.query('update snapshots set created_by_operation_id = $2 where id = $1', [uuidOf(snapshotId), uuidOf(id)]); // prettier-ignore
  expect(codes(await ask(ops, 'restoreSnapshot', { snapshotId }))).toEqual(['SNAPSHOT_NOT_READY']);
  expect((await cancel(ops, id)).userErrors).toEqual([]);
  const { snapshot } = await ops.query('query ($id: ID!) { snapshot(id: $id) { status error { message } } }', { id: snapshotId }); // prettier-ignore
  expect(snapshot).toEqual({ status: 'ERROR', error: { message: 'No answer.' } });
  expect(await retry(id)).toMatchObject({ userErrors: [], snapshot: { id: snapshotId, status: 'PENDING' } });
});

test('of a deletion of several those that failed are deleted; when none is left it says so', async () => {
  const instance = await buildInstance(app);
  const ids: string[] = [];
  for (const name of ['a', 'b', 'c', 'd']) ids.push(await buildSnapshot(app, instance, { name, status: 'ERROR', error: PASSING })); // prettier-ignore
  const statuses = ['FAILED', 'SUCCEEDED', 'FAILED', 'CANCELLED'];
  const items = ids.map((id, index) => ({ snapshotId: uuidOf(id), snapshotName: 'x', status: statuses[index], error: null })); // prettier-ignore
  const id = await failed(instance, { kind: 'SNAPSHOTS_DELETE', snapshot_name: null, items: JSON.stringify(items) });
  const { operation, snapshot, userErrors } = await retry(id);
  expect({ snapshot, userErrors }).toEqual({ snapshot: null, userErrors: [] });
  expect(operation.items.map(({ snapshotName }: any) => snapshotName)).toEqual(['a', 'c']);
  expect(await ended(ops, operation.id)).toMatchObject({ status: 'SUCCEEDED' });
  expect((await Promise.all(ids.map(rowOf))).map((row) => row?.name ?? null)).toEqual([null, 'b', null, 'd']);
  expect((await retry(id)).userErrors).toMatchObject([
    { code: 'OPERATION_NOT_RETRYABLE', message: 'What it was to delete is gone already.', field: ['operationId'] },
  ]);
});

test('one of several that is left has its name; what was to expire is deleted only if it still does', async () => {
  const instance = await buildInstance(app);
  const snapshotId = await buildSnapshot(app, instance, { name: 'left' });
  const items = [snapshotId, missingId('Snapshot')].map((id) => ({ snapshotId: uuidOf(id), snapshotName: 'x', status: 'FAILED', error: null })); // prettier-ignore
  const id = await failed(instance, { kind: 'SNAPSHOTS_DELETE', items: JSON.stringify(items), input: { onlyIfExpired: true, handle: 'of-the-first' } }); // prettier-ignore
  const { operation, snapshot } = await retry(id);
  expect(snapshot).toMatchObject({ id: snapshotId });
  expect(operation).toMatchObject({ snapshotName: 'left', items: [{ snapshotName: 'left' }] });
  const { handle = null, ...input } = await inputOf(operation.id);
  expect({ handle, input }).toEqual({ handle: null, input: { onlyIfExpired: true } });
});
