/** A worker may lose its claim at any time, and every operation may be run again: neither does anything twice. */
import type { EntityManager } from 'typeorm';
import { inTransaction } from '../src/db/transaction';
import { EngineAway } from '../src/engine/breaker';
import { EngineError, type Engine } from '../src/engine/engine';
import { OperationKind } from '../src/entities/enums';
import { beginStep, claim, ClaimLost, finish, note, release, type Claim } from '../src/services/operations';
import { wakeWaiting } from '../src/services/postponement';
import { recordAbsences, recordLook } from '../src/worker/observation';
import { runOperation } from '../src/worker/run';
import { cache, find, signal, web } from './support/local-engine';
import { JOB, WorkerBench } from './support/worker-bench';

let bench: WorkerBench;
beforeAll(async () => {
  bench = await WorkerBench.open();
});
afterAll(() => bench.close());

let count = 0;
const fresh = (): string => `s-${(count += 1)}`;

/** The names of an instance's snapshots on the engine. */
const onEngine = async (at = cache): Promise<string[]> =>
  (await find(bench.local.engine, at)).snapshots.map(({ name }) => name);

describe('a claim on an operation', () => {
  /** A claim, and the one by which the same job took the operation up again. */
  async function twoClaims(): Promise<{ stale: Claim; current: Claim; operationId: string; snapshotId: string }> {
    const { operationId, snapshotId } = await bench.pending(cache, fresh());
    const stale = await claim(bench.db, operationId, JOB);
    const current = await claim(bench.db, operationId, JOB);
    if (!stale || !current) throw new Error('the operation could not be claimed');
    return { stale, current, operationId, snapshotId };
  }

  test('is held by one job; the same job takes it up again, under another token', async () => {
    const { stale, current, operationId } = await twoClaims();
    expect(stale.token).not.toBe(current.token);
    expect(await claim(bench.db, operationId, 'another')).toBeNull();
    // One whose id begins like that of the job is another, too.
    expect(await claim(bench.db, operationId, JOB.slice(0, -1))).toBeNull();
    await inTransaction(bench.db, (tx) => finish(tx, current, null, bench.parts.audit));
    expect(await claim(bench.db, operationId, JOB)).toBeNull();
  });

  const set = (status: string) => async (tx: EntityManager, snapshotId: string) => {
    await tx.query('update snapshots set status = $2 where id = $1', [snapshotId, status]);
  };
  const writes: [string, (held: Claim, snapshotId: string) => Promise<unknown>][] = [
    ['begin a step', (held, id) => beginStep(bench.db, held, 'act', { change: (tx) => set('CREATING')(tx, id) })],
    ['note what became of an item', (held, id) => note(bench.db, held, { change: (tx) => set('DELETING')(tx, id) })],
    ['put it back', (held) => inTransaction(bench.db, (tx) => release(tx, held, 'because', 0, true))],
    [
      'end it',
      (held, id) =>
        inTransaction(bench.db, (tx) => set('AVAILABLE')(tx, id).then(() => finish(tx, held, null, bench.parts.audit))),
    ],
  ];
  test.each(writes)('that was lost cannot %s, and what was changed with it is undone', async (_, write) => {
    const { stale, current, operationId, snapshotId } = await twoClaims();
    const state = async () => [
      await bench.operation(operationId),
      await bench.snapshot(snapshotId),
      await bench.db.query('select count(*) from graphile_worker._private_jobs'),
    ];
    const before = await state();
    await expect(write(stale, snapshotId)).rejects.toBeInstanceOf(ClaimLost);
    expect(await state()).toEqual(before);
    await write(current, snapshotId);
    await bench.run(operationId);
  });

  test('that was lost while the engine was at work changes nothing when the engine is done', async () => {
    const { operationId, snapshotId } = await bench.pending(cache, fresh());
    let current: Claim | null = null;
    const { engine } = bench.local;
    const slow: typeof engine = Object.create(engine, {
      createSnapshot: {
        value: async (...args: Parameters<typeof engine.createSnapshot>) => {
          await engine.createSnapshot(...args);
          current = await claim(bench.db, operationId, JOB);
        },
      },
    });
    // The queue is told so, too: it must not take the job away from whoever holds it now.
    await expect(runOperation({ ...bench.parts, engine: slow }, operationId, JOB, signal())).rejects.toThrow(ClaimLost);
    expect(current).not.toBeNull();
    expect(await bench.operation(operationId)).toMatchObject({ status: 'RUNNING', attempts: 2 });
    expect(await bench.snapshot(snapshotId)).toMatchObject({ status: 'CREATING' });
    expect(await bench.run(operationId)).toMatchObject({ status: 'FAILED', error: { code: 'OUTCOME_UNKNOWN' } });
    expect(await bench.snapshot(snapshotId)).toMatchObject({ status: 'ERROR' });
  });
});

test.each(Object.values(OperationKind))('%s that has ended is not done again by its job', async (kind) => {
  const name = fresh();
  const { snapshotId, operationId } = await bench.pending(cache, name);
  const first = await bench.run(operationId);
  const operation = kind === OperationKind.SNAPSHOT_CREATE ? first : await bench.run(await bench.wish(kind, snapshotId, { newName: `${name}-new` })); // prettier-ignore
  expect(operation).toMatchObject({ status: 'SUCCEEDED', attempts: 1 });
  const before = await find(bench.local.engine, cache);
  expect(await bench.run(operation.id)).toEqual(operation);
  expect(await find(bench.local.engine, cache)).toEqual(before);
});

describe('work whose process died while the engine was at it', () => {
  test('a creation that left something is suspect: it is never restored, it can be deleted, and its name is free then', async () => {
    const name = fresh();
    const { snapshotId, operationId } = await bench.pending(cache, name);
    await bench.dieActing(operationId);
    await bench.local.makeSnapshotDirectly(cache, name);
    expect(await bench.run(operationId)).toMatchObject({ status: 'FAILED', error: { code: 'OUTCOME_UNKNOWN' } });
    expect(await bench.snapshot(snapshotId)).toMatchObject({ status: 'ERROR', error: { code: 'OUTCOME_UNKNOWN' } });
    await bench.look();
    expect(await bench.snapshot(snapshotId)).toMatchObject({ status: 'ERROR' });

    expect(await bench.run(await bench.wish(OperationKind.SNAPSHOTS_DELETE, snapshotId))).toMatchObject({
      status: 'SUCCEEDED',
    });
    expect(await bench.snapshot(snapshotId)).toBeNull();
    expect(await onEngine()).not.toContain(name);
    expect(await bench.snapshot(await bench.taken(cache, name))).toMatchObject({ name, status: 'AVAILABLE' });
  });

  test('a creation that left nothing is done, once', async () => {
    const name = fresh();
    const { snapshotId, operationId } = await bench.pending(cache, name);
    await bench.dieActing(operationId);
    expect(await bench.run(operationId)).toMatchObject({ status: 'SUCCEEDED', attempts: 2 });
    expect(await bench.snapshot(snapshotId)).toMatchObject({ status: 'AVAILABLE' });
    expect((await onEngine()).filter((each) => each === name)).toEqual([name]);
  });

  test('a creation that is still going on at the engine, and wins, is suspect', async () => {
    const name = fresh();
    const { snapshotId, operationId } = await bench.pending(cache, name);
    await bench.dieActing(operationId);
    const { engine } = bench.local;
    // The engine finishes what the dead process began between the look and the act of the one that took over.
    const late: typeof engine = Object.create(engine, {
      createSnapshot: {
        value: async (...args: Parameters<typeof engine.createSnapshot>) => {
          await bench.local.makeSnapshotDirectly(cache, name);
          return engine.createSnapshot(...args);
        },
      },
    });
    await runOperation({ ...bench.parts, engine: late }, operationId, JOB, signal());
    expect(await bench.operation(operationId)).toMatchObject({ status: 'FAILED' });
    expect(await bench.snapshot(snapshotId)).toMatchObject({ status: 'ERROR' });
  });

  test('a deletion is completed, whether the engine had done it or not', async () => {
    for (const done of [true, false]) {
      const name = fresh();
      const snapshotId = await bench.taken(cache, name);
      const operationId = await bench.wish(OperationKind.SNAPSHOTS_DELETE, snapshotId);
      await bench.dieActing(operationId, {}, async (tx) => {
        await tx.query(`update snapshots set status = 'DELETING' where id = $1`, [snapshotId]);
      });
      const instance = await find(bench.local.engine, cache);
      if (done) await bench.local.engine.deleteSnapshot({ instance, name }, signal());
      expect(await bench.run(operationId)).toMatchObject({ status: 'SUCCEEDED' });
      expect(await bench.snapshot(snapshotId)).toBeNull();
      expect(await onEngine()).not.toContain(name);
    }
  });

  test('a deletion does not take what somebody made meanwhile under the name', async () => {
    const name = fresh();
    const snapshotId = await bench.taken(cache, name);
    const operationId = await bench.wish(OperationKind.SNAPSHOTS_DELETE, snapshotId);
    await bench.dieActing(operationId, {}, async (tx) => {
      await tx.query(`update snapshots set status = 'DELETING' where id = $1`, [snapshotId]);
    });
    await bench.local.engine.deleteSnapshot({ instance: await find(bench.local.engine, cache), name }, signal());
    await bench.local.makeSnapshotDirectly(cache, name);
    expect(await bench.run(operationId)).toMatchObject({ status: 'SUCCEEDED' });
    expect(await bench.snapshot(snapshotId)).toBeNull();
    expect(await onEngine()).toContain(name);
  });

  test('a rename is completed, whether the engine had done it or not', async () => {
    for (const done of [true, false]) {
      const [name, newName] = [fresh(), fresh()];
      const snapshotId = await bench.taken(cache, name);
      const operationId = await bench.wish(OperationKind.SNAPSHOT_RENAME, snapshotId, { newName });
      await bench.dieActing(operationId);
      const instance = await find(bench.local.engine, cache);
      if (done) await bench.local.engine.renameSnapshot({ instance, name }, newName, signal());
      expect(await bench.run(operationId)).toMatchObject({ status: 'SUCCEEDED' });
      expect(await bench.snapshot(snapshotId)).toMatchObject({ name: newName, status: 'AVAILABLE' });
    }
  });

  test('a restore that the engine had completed is not done again: what was written since stays', async () => {
    const name = fresh();
    const snapshotId = await bench.taken(web, name);
    const operationId = await bench.wish(OperationKind.SNAPSHOT_RESTORE, snapshotId);
    const instance = await find(bench.local.engine, web);
    await bench.dieActing(operationId, { generationBefore: instance.generation });
    await bench.local.engine.restoreSnapshot({ instance, name }, { memory: false }, signal());
    await bench.local.write(web, 'srv/since', 'written after the restore');
    expect(await bench.run(operationId)).toMatchObject({ status: 'SUCCEEDED' });
    expect(await bench.local.read(web, 'srv/since')).toBe('written after the restore');
  });

  test('a restore that the engine had not completed is done', async () => {
    const name = fresh();
    const snapshotId = await bench.taken(web, name);
    const operationId = await bench.wish(OperationKind.SNAPSHOT_RESTORE, snapshotId);
    const { generation } = await find(bench.local.engine, web);
    await bench.dieActing(operationId, { generationBefore: generation });
    await bench.local.write(web, 'srv/half', 'half restored');
    expect(await bench.run(operationId)).toMatchObject({ status: 'SUCCEEDED' });
    expect(await bench.local.read(web, 'srv/half')).toBeNull();
    expect((await find(bench.local.engine, web)).generation).not.toBe(generation);
  });

  test('a restore that was cut off with the instance stopped does not pass for one after which it runs', async () => {
    const name = fresh();
    const snapshotId = await bench.taken(cache, name);
    const operationId = await bench.wish(OperationKind.SNAPSHOT_RESTORE, snapshotId);
    const { generation, status } = await find(bench.local.engine, cache);
    expect(status).toBe('STOPPED');
    await bench.dieActing(operationId, { generationBefore: generation, ranBefore: true });
    const error = { code: 'INSTANCE_STATE_INVALID', message: expect.stringMatching(/STOPPED.*disk is that of the/) };
    expect(await bench.run(operationId)).toMatchObject({ status: 'FAILED', error });
    expect((await find(bench.local.engine, cache)).generation).not.toBe(generation);
    expect(await bench.snapshot(snapshotId)).toMatchObject({ status: 'AVAILABLE' });
  });

  test.each([
    ['on an engine that leaves no trace of it', { generationBefore: null }],
    ['of memory, after the disk was restored', { generationBefore: 'another', restoreMemory: true }],
  ])('a restore %s ends as unknown, and is not done again', async (_, input) => {
    const snapshotId = await bench.taken(web, fresh());
    const operationId = await bench.wish(OperationKind.SNAPSHOT_RESTORE, snapshotId, input);
    await bench.dieActing(operationId, input);
    await bench.local.write(web, 'srv/kept', 'kept');
    expect(await bench.run(operationId)).toMatchObject({ status: 'FAILED', error: { code: 'OUTCOME_UNKNOWN' } });
    expect(await bench.local.read(web, 'srv/kept')).toBe('kept');
    expect(await bench.snapshot(snapshotId)).toMatchObject({ status: 'AVAILABLE' });
  });
});

test('the database being away for a moment does not cost the outcome that the engine just gave', async () => {
  const name = fresh();
  const { snapshotId, operationId } = await bench.pending(cache, name);
  const { engine } = bench.local;
  const away: Promise<void>[] = [];
  const thenAway = Object.create(engine, {
    createSnapshot: {
      value: async (...given: Parameters<Engine['createSnapshot']>) => {
        await engine.createSnapshot(...given);
        away.push((await bench.shutDatabase(1_000)).over);
      },
    },
  }) as Engine;
  await runOperation({ ...bench.parts, engine: thenAway }, operationId, JOB, signal());
  expect(away).toHaveLength(1);
  await Promise.all(away);
  expect(await bench.operation(operationId)).toMatchObject({ status: 'SUCCEEDED', attempts: 1 });
  expect(await bench.snapshot(snapshotId)).toMatchObject({ status: 'AVAILABLE' });
});

describe('a look at the engine', () => {
  test('leaves the snapshots of an instance alone while work on it goes on', async () => {
    const name = fresh();
    const { snapshotId, operationId } = await bench.pending(cache, name);
    await bench.dieActing(operationId);
    await bench.local.makeSnapshotDirectly(cache, name);
    await bench.look();
    expect(await bench.snapshot(snapshotId)).toMatchObject({ status: 'PENDING' });
    await bench.run(operationId);
  });

  test('that saw an instance at work does not take it for absent when the work ends before the look', async () => {
    const { operationId } = await bench.pending(cache, fresh());
    const held = await claim(bench.db, operationId, JOB);
    const { look, seen } = await bench.beginLook();
    const busy = await inTransaction(bench.db, (tx) => recordLook(tx, look, seen));
    expect(busy.map(({ name }) => name)).toEqual([cache.name]);
    await inTransaction(bench.db, async (tx) => held && finish(tx, held, null, bench.parts.audit));
    await inTransaction(bench.db, (tx) => recordAbsences(tx, look));
    expect((await bench.instance(cache)).status).toBe('STOPPED');
  });
});

describe('a deletion', () => {
  test('because of an expiry that was taken back in the meantime spares the snapshot', async () => {
    const snapshotId = await bench.taken(cache, fresh());
    const operationId = await bench.wish(OperationKind.SNAPSHOTS_DELETE, snapshotId, { onlyIfExpired: true });
    expect(await bench.run(operationId)).toMatchObject({ status: 'SUCCEEDED', items: [{ status: 'CANCELLED' }] });
    expect(await bench.snapshot(snapshotId)).toMatchObject({ status: 'AVAILABLE', error: null });
  });

  test('that the engine did not begin waits, and leaves the snapshot what it was', async () => {
    const snapshotId = await bench.taken(cache, fresh());
    const operationId = await bench.wish(OperationKind.SNAPSHOTS_DELETE, snapshotId);
    const { engine } = bench.local;
    const away: typeof engine = Object.create(engine, {
      deleteSnapshot: { value: () => Promise.reject(new EngineError('UNAVAILABLE', 'It does not answer.')) },
    });
    await runOperation({ ...bench.parts, engine: away }, operationId, JOB, signal());
    expect(await bench.operation(operationId)).toMatchObject({ status: 'QUEUED', waitingReason: expect.any(String) });
    expect(await bench.snapshot(snapshotId)).toMatchObject({ status: 'AVAILABLE' });
    expect(await bench.run(operationId)).toMatchObject({ status: 'SUCCEEDED' });
  });

  test('that failed half-way leaves a suspect, which no restore is made from', async () => {
    const snapshotId = await bench.taken(cache, fresh());
    const operationId = await bench.wish(OperationKind.SNAPSHOTS_DELETE, snapshotId);
    const { engine } = bench.local;
    const broken: typeof engine = Object.create(engine, {
      deleteSnapshot: { value: () => Promise.reject(new EngineError('REJECTED', 'The storage failed.')) },
    });
    await runOperation({ ...bench.parts, engine: broken }, operationId, JOB, signal());
    expect(await bench.operation(operationId)).toMatchObject({ status: 'FAILED', error: { code: 'ENGINE_ERROR' } });
    expect(await bench.snapshot(snapshotId)).toMatchObject({ status: 'ERROR' });
    expect(await bench.run(await bench.wish(OperationKind.SNAPSHOTS_DELETE, snapshotId))).toMatchObject({
      status: 'SUCCEEDED',
    });
  });
});

describe('an operation whose engine is away', () => {
  const away = () => Promise.reject(new EngineError('UNAVAILABLE', 'It does not answer.'));
  const runAway = async (operationId: string, ...calls: (keyof typeof bench.local.engine)[]) => {
    const engine = Object.create(bench.local.engine, Object.fromEntries(calls.map((call) => [call, { value: away }])));
    await runOperation({ ...bench.parts, engine }, operationId, JOB, signal());
    return bench.operation(operationId);
  };
  const agoInput = (hours: number) => ({ awaySince: new Date(Date.now() - hours * 3_600_000).toISOString() });

  test('waits without using up its patience with a busy one, and without steps to show for it', async () => {
    const { operationId } = await bench.pending(cache, fresh());
    for (let n = 0; n < 3; n += 1) await runAway(operationId, 'findInstance');
    expect(await runAway(operationId, 'createSnapshot')).toMatchObject({
      status: 'QUEUED',
      waitingReason: 'It does not answer. It is tried again by itself.',
      attempts: 0,
      steps: [{ name: 'check', status: 'SUCCEEDED' }],
      input: { awaySince: expect.any(String) },
    });
    expect(await bench.run(operationId)).toMatchObject({ status: 'SUCCEEDED', attempts: 1 });
  });

  test.each(['findInstance', 'createSnapshot'] as const)(
    'for more than a day ends as that when it was never begun (%s), and leaves nothing behind',
    async (call) => {
      const { operationId, snapshotId } = await bench.pending(cache, fresh());
      await bench.db.query('update operations set input = $2 where id = $1', [operationId, agoInput(23)]);
      expect(await runAway(operationId, call)).toMatchObject({ status: 'QUEUED' });
      await bench.db.query('update operations set input = $2 where id = $1', [operationId, agoInput(25)]);
      expect(await runAway(operationId, call)).toMatchObject({
        status: 'FAILED',
        error: { code: 'ENGINE_UNAVAILABLE', message: 'It does not answer. Nothing was begun.', retryable: true },
      });
      expect(await bench.snapshot(snapshotId)).toBeNull();
    },
  );

  test('for more than a day still waits when it may have been begun', async () => {
    const { operationId, snapshotId } = await bench.pending(cache, fresh());
    await bench.dieActing(operationId, agoInput(25));
    expect(await runAway(operationId, 'findInstance')).toMatchObject({ status: 'QUEUED' });
    expect(await bench.snapshot(snapshotId)).not.toBeNull();
    await bench.run(operationId);
  });

  test('that is known to be away is not taken up at all, and still says what it waits for', async () => {
    const { operationId } = await bench.pending(cache, fresh());
    const known = new EngineAway(new Date(), 'It is off.');
    const parts = { ...bench.parts, away: () => known };
    await runOperation(parts, operationId, JOB, signal());
    expect(await bench.operation(operationId)).toMatchObject({
      status: 'QUEUED',
      waitingReason: `${known.message} It is tried again by itself.`,
      attempts: 0,
      startedAt: null,
    });
    await bench.db.query('update operations set input = $2 where id = $1', [operationId, agoInput(25)]);
    await runOperation({ ...parts, engine: Object.create(bench.local.engine, { findInstance: { value: () => Promise.reject(known) } }) }, operationId, JOB, signal()); // prettier-ignore
    expect(await bench.operation(operationId)).toMatchObject({
      status: 'FAILED',
      error: { code: 'ENGINE_UNAVAILABLE' },
    });
  });

  test('for one process alone is soon taken up by another', async () => {
    const { operationId } = await bench.pending(cache, fresh());
    const parts = { ...bench.parts, away: () => new EngineAway(new Date(), 'It is off.') };
    const pause = async () => {
      await bench.db.query('delete from graphile_worker._private_jobs');
      await runOperation(parts, operationId, JOB, signal());
      const [job] = await bench.db.query<{ seconds: number }[]>('select extract(epoch from run_at - now())::float8 as seconds from graphile_worker._private_jobs'); // prettier-ignore
      return job?.seconds;
    };
    expect(await pause()).toBeLessThan(4);
    await bench.db.query('update engines set unavailable_since = now()');
    expect(await pause()).toBeGreaterThan(8);
    await bench.db.query('update engines set unavailable_since = null');
    await bench.run(operationId);
  });

  test('is due at once when it is back, in the order of acceptance; work under way is left alone', async () => {
    const waiting = [await bench.pending(cache, fresh()), await bench.pending(web, fresh())];
    for (const { operationId } of [...waiting].reverse()) await runAway(operationId, 'findInstance');
    const jobs = () =>
      bench.db.query<{ id: string; due: boolean }[]>(
        `select payload ->> 'id' as id, run_at <= now() as due from graphile_worker._private_jobs
         where payload ->> 'id' = any($1) and (run_at > now() or run_at = (select created_at from operations o where o.id::text = payload ->> 'id'))
         order by run_at`,
        [waiting.map(({ operationId }) => operationId)],
      );
    // Their first jobs are those of the queue that this bench does not have.
    await bench.db.query('delete from graphile_worker._private_jobs where run_at <= now()');
    expect((await jobs()).map(({ due }) => due)).toEqual([false, false]);
    expect(await wakeWaiting(bench.db)).toBe(2);
    expect(await jobs()).toEqual(waiting.map(({ operationId }) => ({ id: operationId, due: true })));
    expect(await wakeWaiting(bench.db)).toBe(0);
    for (const { operationId } of waiting) await bench.run(operationId);
  });
});
