/** What somebody takes directly on the engine is trusted only when it is whole: also when the engine goes down over it. */
import { execFile } from 'node:child_process';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { at, incusWays, removeSnapshots, shown, uniqueWord } from './support/incus-story';
import { ask, done } from './support/stories';
import { until } from './support/until';

jest.setTimeout(180_000);

const [way] = incusWays;
const { TESTBED_DIR, INCUS_TESTBED_DIR } = process.env;
const testbed = TESTBED_DIR && INCUS_TESTBED_DIR ? resolve(TESTBED_DIR) : null;
if (!way || !testbed)
  console.warn('SKIPPED: set INCUS_SOCKET, TESTBED_DIR and INCUS_TESTBED_DIR for crashes of a real engine.');

const run = promisify(execFile);
const script = (name: string, ...args: string[]) => run(join(testbed ?? '', name), args, { env: process.env });

(way && testbed ? describe : describe.skip)('a snapshot that somebody takes on the engine itself', () => {
  const raw = way?.open();
  const slow = at('slow-1');
  const word = uniqueWord();
  let app: TestApp;
  let ops: TestClient;
  let id: string;
  beforeAll(async () => {
    app = await startTestApp({ env: way?.env ?? {} });
    ops = await app.as('ops');
    ({ id } = await shown(ops, slow.name));
  });
  afterAll(async () => {
    await app.stop();
    if (raw) await removeSnapshots(raw, slow, word);
    await raw?.close();
  });

  const take = (name: string) => raw?.makeSnapshot(slow, name);
  const found = async (name: string): Promise<any> => {
    const { instance } = await ops.query(
      'query ($id: ID!, $name: String!) { instance(id: $id) { snapshots(filter: { name: { eq: $name } }) { nodes { id status origin error { code message remediation } } } } }',
      { id, name },
    );
    return instance.snapshots.nodes[0];
  };

  test('is CREATING and cannot be restored as long as the engine is at it, and AVAILABLE then', async () => {
    const name = `theirs-${word}`;
    const taking = take(name);
    const early = await until(() => found(name), 10_000, 'it to be listed');
    expect(early).toMatchObject({ status: 'CREATING', origin: 'EXTERNAL' });
    expect(await ask(ops, 'restoreSnapshot', { snapshotId: early.id })).toMatchObject({
      operation: null,
      userErrors: [{ code: 'SNAPSHOT_NOT_READY' }],
    });
    await taking;
    await until(async () => (await found(name)).status === 'AVAILABLE', 10_000, 'it to be AVAILABLE');
    expect(await done(ops, 'deleteSnapshot', { snapshotId: early.id })).toMatchObject({ status: 'SUCCEEDED' });
  });

  test('over which the engine goes down is ERROR, and says why; it can be deleted', async () => {
    const name = `cut-off-${word}`;
    const taking = take(name)?.catch(() => undefined);
    await until(() => raw?.snapshot(slow, name).catch(() => null), 10_000, 'it to be listed there');
    await script('incus-crash', '--with-helpers');
    await taking;
    await script('incus-up');
    const suspect = await until(async () => {
      const now = await found(name);
      return now?.status === 'ERROR' && now;
    }, 60_000, 'it to be seen'); // prettier-ignore
    expect(suspect).toMatchObject({ origin: 'EXTERNAL', error: { code: 'OUTCOME_UNKNOWN' } });
    expect(await ask(ops, 'restoreSnapshot', { snapshotId: suspect.id })).toMatchObject({
      operation: null,
      userErrors: [{ code: 'SNAPSHOT_NOT_READY' }],
    });
    expect(await done(ops, 'deleteSnapshot', { snapshotId: suspect.id })).toMatchObject({ status: 'SUCCEEDED' });
    await until(async () => !(await found(name)), 10_000, 'it to be gone');
  });
});
