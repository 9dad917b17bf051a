/** What may be half made stays suspect, and accepted work ends, also where several misfortunes meet. */
import { Client } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { inTransaction } from '../src/db/transaction';
import { ANYWHERE, EngineError, type Engine } from '../src/engine/engine';
import { failure } from '../src/engine/incus-errors';
import { placesAtWork } from '../src/engine/incus-events';
import { instanceFacts, serverFacts } from '../src/engine/incus-facts';
import { OperationKind } from '../src/entities/enums';
import { SnapshotDeletion } from '../src/services/snapshot-deletion';
import { databaseTime, recordAbsences, recordLook } from '../src/worker/observation';
import { Observer } from '../src/worker/observer';
import { runOperation } from '../src/worker/run';
import { cache, db, signal, web } from './support/local-engine';
import { until } from './support/until';
import { JOB, WorkerBench } from './support/worker-bench';

jest.setTimeout(60_000);

let bench: WorkerBench;
beforeEach(async () => {
  bench = await WorkerBench.open();
});
afterEach(() => bench.close());

const no =
  (code: 'REJECTED' | 'UNAVAILABLE', text = 'No.') =>
  () =>
    Promise.reject(new EngineError(code, text));
const engineWith = (over: Partial<Record<keyof Engine, unknown>>): Engine =>
  Object.create(
    bench.local.engine,
    Object.fromEntries(Object.entries(over).map(([key, value]) => [key, { value }])),
  ) as Engine;
const run = async (operationId: string, over: Partial<Record<keyof Engine, unknown>>) => {
  await runOperation({ ...bench.parts, engine: engineWith(over) }, operationId, JOB, signal());
  return bench.operation(operationId);
};
const rows = async () =>
  (
    await bench.db.query<{ name: string; status: string; origin: string }[]>(
      'select name, status, origin from snapshots order by name, status',
    )
  ).map(({ name, status, origin }) => `${name} ${status} ${origin}`);

test('no snapshot is restored from that became suspect after the restore was judged', async () => {
  const id = await bench.taken(cache, 'half');
  const operationId = await bench.wish(OperationKind.SNAPSHOT_RESTORE, id, {});
  await bench.db.query(`update snapshots set status = 'ERROR' where id = $1`, [id]);
  const before = (await bench.instance(cache)).generation;
  expect(await bench.run(operationId)).toMatchObject({ status: 'FAILED' });
  expect((await bench.local.engine.findInstance(cache, signal()))?.generation).toBe(before);
  expect(await bench.snapshot(id)).toMatchObject({ status: 'ERROR' });
});

test('a snapshot that was being taken anew, when what became of it cannot be looked at, is never found as good', async () => {
  const id = await bench.taken(cache, 'anew');
  // Half made: suspect, with the engine's time for it. Then taken anew.
  await bench.db.query(`update snapshots set status = 'PENDING', error = '{"code":"OUTCOME_UNKNOWN"}' where id = $1`, [
    id,
  ]);
  const operationId = await bench.wish(OperationKind.SNAPSHOT_CREATE, id, { replaces: true });
  const { engine } = bench.local;
  let began = false;
  await run(operationId, {
    createSnapshot: async (...args: Parameters<Engine['createSnapshot']>) => {
      await engine.createSnapshot(...args);
      began = true;
      throw new EngineError('OUTCOME_UNKNOWN', 'The connection was lost.');
    },
    findSnapshot: (...args: Parameters<Engine['findSnapshot']>) =>
      began ? no('REJECTED', 'Not authorized.')() : engine.findSnapshot(...args),
  });
  expect(await bench.operation(operationId)).toMatchObject({ status: 'FAILED' });
  await bench.look();
  expect(await rows()).toEqual(['anew ERROR MANUAL']);
});

test('a creation that fails before the engine was asked leaves no snapshot', async () => {
  const { snapshotId, operationId } = await bench.pending(cache, 'never');
  expect(await run(operationId, { findInstance: no('REJECTED', 'Not authorized.') })).toMatchObject({
    status: 'FAILED',
  });
  expect(await bench.snapshot(snapshotId)).toBeNull();
});

test('a deletion that is given up before it began leaves the row of one that others take', async () => {
  const id = await bench.taken(cache, 'theirs');
  await bench.db.query(`update snapshots set status = 'CREATING', origin = 'EXTERNAL' where id = $1`, [id]);
  const operationId = await bench.wish(OperationKind.SNAPSHOTS_DELETE, id, {
    awaySince: new Date(Date.now() - 25 * 3600_000).toISOString(),
  });
  expect(await run(operationId, { findInstance: no('UNAVAILABLE') })).toMatchObject({ status: 'FAILED' });
  expect(await rows()).toEqual(['theirs CREATING EXTERNAL']);
});

test.each([
  ['one that is cut in half', `${'x'.repeat(278)}😀${'y'.repeat(50)}`],
  ['a null character', 'a\0b'],
])("a deletion ends, whatever the engine's reason is made of: %s", async (_, text) => {
  const id = await bench.taken(cache, 'stubborn');
  const operationId = await bench.wish(OperationKind.SNAPSHOTS_DELETE, id);
  const ended = await run(operationId, { deleteSnapshot: () => Promise.reject(failure('delete', text)) });
  expect(ended).toMatchObject({ status: 'FAILED', error: { code: 'ENGINE_ERROR' } });
});

test('one instance with characters that no database keeps does not hide the others', async () => {
  const { look, seen } = await bench.beginLook();
  const server = serverFacts({});
  const strange = { name: 'web-1', description: 'a\0b', config: { 'user.x': '\0', 'volatile.uuid': uuidv7() } };
  const facts = instanceFacts({ ...strange, created_at: '2026-01-01T00:00:00Z' }, server);
  if (!facts) throw new Error('no facts');
  const poisoned = [facts, ...seen.map((each) => ({ ...each, description: 'new' }))];
  await inTransaction(bench.db, (tx) => recordLook(tx, look, poisoned));
  expect((await bench.instance(db)).configuration).toMatchObject({ description: 'new' });
});

test('work on snapshots that names no instance is work on any of them', () => {
  const running = { status: 'Running', description: 'Snapshotting instance', resources: null };
  expect(placesAtWork([running], 'default')).not.toEqual([]);
  const expiry = { ...running, description: 'Cleaning up expired instance snapshots' };
  expect(placesAtWork([expiry], 'default')).not.toEqual([]);
  expect(placesAtWork([{ ...running, description: 'Cleaning up expired volume snapshots' }], 'default')).toEqual([]);
});

describe('what others were taking when the engine went down', () => {
  let daemon: string;
  let observer: Observer;
  const atWork = new Set<string>();
  const stored = async () => (await bench.db.query<{ run: string }[]>('select run from engines'))[0]?.run;
  const start = async (deletion = new SnapshotDeletion(bench.db, bench.parts.audit)) => {
    const engine = engineWith({
      describe: async () => ({ ...(await bench.local.engine.describe(signal())), run: daemon }),
      atWork: () => Promise.resolve(new Set(atWork)),
      // What happens is seen when a test says so, not by a hint that comes before it.
      watch: (_: unknown, until: AbortSignal) =>
        new Promise<void>((end) => until.addEventListener('abort', () => end())),
    });
    const parts = { ...bench.parts, engine };
    observer = new Observer(parts, {
      intervalSeconds: 3600,
      deletion,
      awaySince: () => null,
      connect: async () => {
        const client = new Client({ connectionString: (bench.db.options as { url?: string }).url ?? '' });
        await client.connect();
        return client;
      },
    });
    const since = await databaseTime(bench.db);
    observer.start();
    await until(async () => (await bench.instance(db)).observedAt > since);
  };
  afterEach(async () => {
    atWork.clear();
    await observer.stop();
  });

  test('is looked at, and what else is due is done, when one of the things that are due fails', async () => {
    await bench.db.query(
      `insert into failed_tries (key, failed_at, last_failed_at) values ('old', '{}', now() - interval '1 day')`,
    );
    daemon = '1';
    await start(
      new (class extends SnapshotDeletion {
        override deleteExpired = () => Promise.reject(new Error('no snapshot can be deleted'));
      })(bench.db, bench.parts.audit),
    );
    expect(await bench.db.query('select from failed_tries')).toEqual([]);
  });

  test('is suspect also where work of ours waited on the instance at that moment', async () => {
    daemon = '1';
    await start();
    await until(async () => (await stored()) === '1');
    await observer.stop();
    const { operationId } = await bench.pending(cache, 'ours'); // waits for theirs
    await bench.local.makeSnapshotDirectly(cache, 'theirs');
    daemon = '2';
    await start();
    await bench.run(operationId);
    await until(async () => (await rows()).some((row) => row.startsWith('theirs')));
    expect(await rows()).toEqual(['ours AVAILABLE MANUAL', 'theirs ERROR EXTERNAL']);
    await bench.local.makeSnapshotDirectly(cache, 'later');
    observer.engineChanged(); // looks everywhere
    await until(async () => (await rows()).includes('later AVAILABLE EXTERNAL'));
    await until(async () => (await stored()) === '2');
  });

  test('is suspect also where somebody is at work on the instance again', async () => {
    daemon = '1';
    await start();
    await until(async () => (await stored()) === '1');
    await observer.stop();
    await bench.local.makeSnapshotDirectly(web, 'theirs');
    daemon = '2';
    atWork.add('default/web-1');
    await start();
    await until(async () => (await rows()).includes('theirs CREATING EXTERNAL'));
    atWork.clear();
    await until(async () => !(await rows()).includes('theirs CREATING EXTERNAL'));
    expect(await rows()).toEqual(['theirs ERROR EXTERNAL']);
  });

  test('is suspect also when the last look everywhere was long ago, as long as somebody was observing', async () => {
    daemon = '1';
    await start();
    await until(async () => (await stored()) === '1');
    await bench.db.query(`update engines set observed_at = now() - interval '50 minutes'`);
    await bench.local.makeSnapshotDirectly(cache, 'theirs');
    daemon = '2';
    observer.engineChanged();
    await until(async () => (await rows()).length > 0);
    expect(await rows()).toEqual(['theirs ERROR EXTERNAL']);
  });
});

test('what others were taking is suspect when it was out of sight in between', async () => {
  const { look } = await bench.beginLook();
  await bench.local.makeSnapshotDirectly(cache, 'theirs');
  const shown = await bench.beginLook();
  const atWork = new Set(['default/cache-1']);
  await inTransaction(bench.db, (tx) => recordLook(tx, { ...shown.look, atWork }, shown.seen));
  expect(await rows()).toEqual(['theirs CREATING EXTERNAL']);
  await inTransaction(bench.db, async (tx) => recordAbsences(tx, { ...look, at: await databaseTime(tx) }));
  expect(await rows()).toEqual(['theirs MISSING EXTERNAL']);
  await bench.look();
  expect(await rows()).toEqual(['theirs ERROR EXTERNAL']);
});

test('a restore that follows another at once is not taken for done, also when the engine was away in between', async () => {
  const id = await bench.taken(cache, 'twice');
  const wish = async () => {
    const { generation: generationBefore } = await bench.instance(cache);
    return bench.wish(OperationKind.SNAPSHOT_RESTORE, id, { generationBefore });
  };
  const { engine } = bench.local;
  let looks = 0;
  const first = await run(await wish(), {
    findInstance: (...args: Parameters<Engine['findInstance']>) =>
      (looks += 1) > 3 ? no('UNAVAILABLE')() : engine.findInstance(...args),
  });
  expect(first).toMatchObject({ status: 'SUCCEEDED' });
  expect(looks).toBe(4);
  expect(await bench.run(await wish())).toMatchObject({ status: 'SUCCEEDED' });
});

test('what the engine takes by its own schedule is being taken until the schedule is through', async () => {
  await bench.local.makeSnapshotDirectly(cache, 'scheduled');
  const { look, seen } = await bench.beginLook();
  const atWork = new Set([ANYWHERE]);
  const again = await inTransaction(bench.db, (tx) => recordLook(tx, { ...look, atWork }, seen));
  expect(await rows()).toEqual(['scheduled CREATING EXTERNAL']);
  expect(again.map(({ name }) => name)).toEqual(['cache-1']);
  await bench.look();
  expect(await rows()).toEqual(['scheduled AVAILABLE EXTERNAL']);
});
