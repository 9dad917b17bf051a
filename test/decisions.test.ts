/** Every row of the decision tables, with a real engine brought into what the row says; and the tables are the documented ones. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EngineError, type Engine } from '../src/engine/engine';
import { OperationKind } from '../src/entities/enums';
import { CREATE, DELETE, RENAME, RESTORE, type Table, type Verdict } from '../src/worker/decisions';
import { runOperation } from '../src/worker/run';
import { cache, find, signal } from './support/local-engine';
import { JOB, WorkerBench } from './support/worker-bench';

jest.setTimeout(60_000);

let bench: WorkerBench;
beforeAll(async () => {
  bench = await WorkerBench.open();
});
afterAll(() => bench.close());

const TABLES = { CREATE, RESTORE, DELETE, RENAME };

test('the documented tables are those that decide', () => {
  const text = readFileSync(join(__dirname, '../docs/recovery.md'), 'utf8');
  const documented: Record<string, Record<string, Record<string, string>>> = {};
  for (const [block] of text.matchAll(/(?:^\|.*\n)+/gm)) {
    const [head = [], , ...rows] = block.trim().split('\n').map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim())); // prettier-ignore
    const [name = '', ...columns] = head;
    documented[name] = Object.fromEntries(
      rows.map(([known = '', ...cells]) => [known, Object.fromEntries(cells.map((cell, n) => [columns[n], cell]))]),
    );
  }
  expect(documented).toEqual(TABLES);
});

interface Situation {
  operationId: string;
  snapshotId: string;
  /** Brings the engine into the state that the column names. */
  show: (shows: string) => Promise<void>;
}

let count = 0;
const fresh = (): string => `d-${(count += 1)}`;
const instance = () => find(bench.local.engine, cache);

const SITUATIONS: Record<keyof typeof TABLES, () => Promise<Situation>> = {
  CREATE: async () => {
    const name = fresh();
    const made = await bench.pending(cache, name);
    const show = async (shows: string) => {
      if (shows === 'present') await bench.local.makeSnapshotDirectly(cache, name);
    };
    return { ...made, show };
  },
  RESTORE: () =>
    onTaken(OperationKind.SNAPSHOT_RESTORE, async (shows, name) => {
      const ref = { instance: await instance(), name };
      if (shows === 'changed') await bench.local.engine.restoreSnapshot(ref, { memory: false }, signal());
      if (shows === 'gone') await bench.local.engine.deleteSnapshot(ref, signal());
    }),
  DELETE: () =>
    onTaken(OperationKind.SNAPSHOTS_DELETE, async (shows, name) => {
      if (shows === 'present') return;
      await bench.local.engine.deleteSnapshot({ instance: await instance(), name }, signal());
      if (shows === 'another') await bench.local.makeSnapshotDirectly(cache, name);
    }),
  RENAME: () =>
    onTaken(OperationKind.SNAPSHOT_RENAME, async (shows, name, newName) => {
      const ref = { instance: await instance(), name };
      if (shows === 'new') await bench.local.engine.renameSnapshot(ref, newName, signal());
      if (shows === 'taken') await bench.local.makeSnapshotDirectly(cache, newName);
      if (shows === 'gone') await bench.local.engine.deleteSnapshot(ref, signal());
    }),
};

async function onTaken(
  kind: OperationKind,
  show: (shows: string, name: string, newName: string) => Promise<void>,
): Promise<Situation> {
  const [name, newName] = [fresh(), fresh()];
  const snapshotId = await bench.taken(cache, name);
  const { generation: generationBefore } = await instance();
  const operationId = await bench.wish(kind, snapshotId, { newName, generationBefore });
  return { snapshotId, operationId, show: (shows) => show(shows, name, newName) };
}

/** What the engine does when it is asked; null: what it is asked for. */
type Answer = (() => Promise<void>) | null;

/** The real engine, which counts how often it was asked, and answers as told. */
function asked(answer: Answer, blind: boolean): { engine: Engine; acts: () => number } {
  let acts = 0;
  const { engine } = bench.local;
  type Act = 'createSnapshot' | 'restoreSnapshot' | 'deleteSnapshot' | 'renameSnapshot';
  const wrap = (act: Act) => ({
    value: async (...args: Parameters<Engine[Act]>) => {
      acts += 1;
      await (answer ? answer() : (engine[act] as (...given: typeof args) => Promise<void>).call(engine, ...args));
    },
  });
  const decorated = Object.create(engine, {
    createSnapshot: wrap('createSnapshot'),
    restoreSnapshot: wrap('restoreSnapshot'),
    deleteSnapshot: wrap('deleteSnapshot'),
    renameSnapshot: wrap('renameSnapshot'),
    findInstance: {
      value: async (...args: Parameters<Engine['findInstance']>) => {
        const facts = await engine.findInstance(...args);
        return facts && blind ? { ...facts, generation: null } : facts;
      },
    },
  }) as Engine;
  return { engine: decorated, acts: () => acts };
}

const ERRORS: Record<string, EngineError> = {
  refusal: new EngineError('REJECTED', 'No.'),
  open: new EngineError('OUTCOME_UNKNOWN', 'Nobody knows.'),
  'given-up': new EngineError('OUTCOME_UNKNOWN', 'Nobody knows.'),
};

/** Leaves on record what earlier attempts would have, or gives how the engine answers this one. */
async function prepare(
  kind: string,
  known: string,
  { operationId, snapshotId, show }: Situation,
  shows: string,
): Promise<Answer> {
  if (known === 'interrupted' || known === 'success') {
    await bench.dieActing(operationId, {}, async (tx) => {
      if (kind === 'DELETE') await tx.query(`update snapshots set status = 'DELETING' where id = $1`, [snapshotId]);
    }, known === 'success' ? 'verify' : 'act'); // prettier-ignore
  }
  if (known === 'nothing' || known === 'interrupted' || (known === 'success' && kind !== 'DELETE')) {
    await show(shows);
    return null;
  }
  if (known === 'success')
    await bench.db.query(`update snapshots set status = 'AVAILABLE' where id = $1`, [snapshotId]);
  if (known === 'given-up') await bench.db.query('update operations set attempts = 1000 where id = $1', [operationId]);
  return async () => {
    await show(shows);
    const error = ERRORS[known];
    if (error) throw error;
  };
}

interface Seen {
  operation: object;
  snapshot: unknown;
  acts?: number;
}

const succeeded = (kind: string): Seen => ({
  operation: { status: 'SUCCEEDED', error: null },
  snapshot: kind === 'DELETE' ? null : expect.objectContaining({ status: 'AVAILABLE', error: null }),
});

/** What a verdict looks like from outside. */
const OUTCOMES: Record<Verdict, (kind: string) => Seen> = {
  act: (kind) => ({ ...succeeded(kind), acts: 1 }),
  succeeded,
  refused: (kind) => ({
    operation: { status: 'FAILED', error: expect.not.objectContaining({ code: 'OUTCOME_UNKNOWN' }) },
    snapshot: kind === 'CREATE' ? null : expect.objectContaining({ status: 'AVAILABLE' }),
  }),
  suspect: () => ({
    operation: { status: 'FAILED', error: expect.objectContaining({ retryable: true }) },
    snapshot: expect.objectContaining({ status: 'ERROR', error: expect.objectContaining({ retryable: true }) }),
  }),
  unknown: () => ({
    operation: { status: 'FAILED', error: expect.objectContaining({ code: 'OUTCOME_UNKNOWN' }) },
    snapshot: expect.objectContaining({ status: 'AVAILABLE' }),
  }),
  wait: () => ({
    operation: { status: 'QUEUED', error: null, waitingReason: expect.any(String) },
    snapshot: expect.anything(),
  }),
};

const rows = (Object.keys(TABLES) as (keyof typeof TABLES)[]).flatMap((kind) =>
  Object.entries<Record<string, Verdict>>(TABLES[kind] as Table<string>).flatMap(([known, row]) =>
    Object.entries(row)
      // Once the engine was asked, the snapshot may go: it is not looked for any more.
      .filter(([shows]) => !(kind === 'RESTORE' && shows === 'gone' && !['nothing', 'interrupted'].includes(known)))
      .map(([shows, verdict]) => [kind, known, shows, verdict] as const),
  ),
);

test.each(rows)('%s: %s is known, %s is shown: %s', async (kind, known, shows, verdict) => {
  const situation = await SITUATIONS[kind]();
  const answer = await prepare(kind, known, situation, shows);
  const { engine, acts } = asked(answer, shows === 'untold');
  await runOperation({ ...bench.parts, engine }, situation.operationId, JOB, signal());
  const expected = OUTCOMES[verdict](kind);
  expect(await bench.operation(situation.operationId)).toMatchObject(expected.operation);
  expect(await bench.snapshot(situation.snapshotId)).toEqual(expected.snapshot);
  if (answer === null) expect(acts()).toBe(expected.acts ?? 0);
  // What waits is brought to its end, so that the instance is free for the next row.
  if (verdict === 'wait') await bench.run(situation.operationId);
});
