/** Somebody withdraws an operation at the moment at which workers take it up: one of them has it, never both. */
import { randomBytes } from 'node:crypto';
import type { Request } from '../src/auth/actor';
import { Tokens } from '../src/auth/tokens';
import { EngineError } from '../src/engine/engine';
import { Role, UserStatus } from '../src/entities/enums';
import { AppError } from '../src/errors';
import { Operations } from '../src/services/operation-wishes';
import { Sessions } from '../src/services/sessions';
import { Users } from '../src/services/users';
import { runOperation } from '../src/worker/run';
import { cache, find, signal } from './support/local-engine';
import { JOB, WorkerBench } from './support/worker-bench';

jest.setTimeout(120_000);

let bench: WorkerBench;
let operations: Operations;
beforeAll(async () => {
  bench = await WorkerBench.open();
  operations = new Operations(bench.db, bench.parts.audit);
  const author = { actor: null, correlationId: 'race', origin: { address: null, client: null } };
  const wish = { email: 'race@keyframe.test', role: Role.OPERATIONS };
  const password = randomBytes(12).toString('hex');
  await new Users(bench.db, bench.parts.audit).insert(author, wish, password, UserStatus.ACTIVE);
  const tokens = new Tokens({ key: { secret: randomBytes(32) }, issuer: 'race', audience: 'race' });
  const { actor } = await new Sessions(bench.db, tokens, bench.parts.audit).signIn(author, wish.email, password);
  request = { ...author, actor };
});
afterAll(() => bench.close());

let request: Request;
const moment = (ms: number) => new Promise((resolve) => setTimeout(resolve, Math.random() * ms));

/** Whether it was this call that withdrew it; anything but the one refusal fails the test. */
async function withdraws(operationId: string): Promise<boolean> {
  await moment(8);
  try {
    const { status } = await operations.cancel(request, { operationId });
    expect(status).toBe('CANCELLED');
    return true;
  } catch (error) {
    expect(error instanceof AppError ? error.code : error).toBe('OPERATION_NOT_CANCELLABLE');
    return false;
  }
}

/** What came of it: by the operation, by the snapshot's row, and on the engine. */
async function outcome(operationId: string, snapshotId: string, name: string) {
  const { status, steps } = await bench.operation(operationId);
  const row = (await bench.snapshot(snapshotId))?.status ?? null;
  const there = (await find(bench.local.engine, cache)).snapshots.some((each) => each.name === name);
  return { status, acted: steps.some((step) => step.name === 'act'), row, there };
}

const DONE = { status: 'SUCCEEDED', acted: true, row: 'AVAILABLE', there: true };
const WITHDRAWN = { status: 'CANCELLED', acted: false, row: null, there: false };

/** Both ends must be seen, else this proves nothing. */
async function raceOften(race: (name: string) => Promise<boolean>): Promise<void> {
  const seen = { withdrawn: 0, done: 0 };
  for (let round = 0; round < 20 || (round < 400 && Math.min(seen.withdrawn, seen.done) < 5); round += 1) {
    seen[(await race(`r-${Math.random().toString(36).slice(2)}`)) ? 'withdrawn' : 'done'] += 1;
  }
  expect(Math.min(seen.withdrawn, seen.done)).toBeGreaterThanOrEqual(5);
}

test('an operation is withdrawn once and never reaches the engine, or it is done and cannot be withdrawn', async () => {
  await raceOften(async (name) => {
    const { operationId, snapshotId } = await bench.pending(cache, name);
    const work = (job: string) => moment(8).then(() => runOperation(bench.parts, operationId, job, signal()));
    const [, , ...answers] = await Promise.all([
      work(JOB),
      work('another'),
      withdraws(operationId),
      withdraws(operationId),
      withdraws(operationId),
    ]);
    const withdrawn = answers.filter(Boolean).length;
    expect(withdrawn).toBeLessThanOrEqual(1);
    expect(await outcome(operationId, snapshotId, name)).toEqual(withdrawn ? WITHDRAWN : DONE);
    return withdrawn === 1;
  });
});

test('the same while the engine comes and goes, and attempts begin and are put back', async () => {
  const { engine } = bench.local;
  const flaky: typeof engine = Object.create(engine, {
    createSnapshot: {
      value: (...args: Parameters<typeof engine.createSnapshot>) => {
        const chance = Math.random();
        if (chance < 0.6) throw new EngineError('UNAVAILABLE', 'Away.');
        // Nobody knows whether that began, so from then on it cannot be withdrawn.
        if (chance < 0.7) throw new EngineError('OUTCOME_UNKNOWN', 'Cut off.');
        return engine.createSnapshot(...args);
      },
    },
  });
  await raceOften(async (name) => {
    const { operationId, snapshotId } = await bench.pending(cache, name);
    const seen = { withdrawn: false };
    const ended = async () => (await bench.operation(operationId)).finishedAt !== null;
    const work = async () => {
      while (!(await ended())) await runOperation({ ...bench.parts, engine: flaky }, operationId, JOB, signal());
    };
    const cancel = async () => {
      await moment(30);
      while (!(await ended())) seen.withdrawn = await withdraws(operationId);
    };
    await Promise.all([work(), cancel()]);
    expect(await outcome(operationId, snapshotId, name)).toEqual(seen.withdrawn ? WITHDRAWN : DONE);
    return seen.withdrawn;
  });
});
