import { EngineError, type Hint } from '../../src/engine/engine';
import { codeOf, deadline, KEY, type Bench } from './engine-bench';
import { until } from './until';

/** Names that no driver lets through, each for a reason in the engine's facts. */
export const BAD_NAMES = [
  '',
  '.',
  '..',
  'a..b',
  '%',
  'a%2Fb',
  '/',
  'a/b',
  'a\nb',
  'a b',
  '-a',
  'a-',
  'é',
  'x'.repeat(65),
];

/** The part of the engine contract that says what is refused, what ends in time, and what is told of. */
export function describeLimits(bench: () => Bench): void {
  describeRefusals(bench);
  describeDeadlines(bench);
  describeWatching(bench);
}

function describeRefusals(bench: () => Bench): void {
  test('an instance that is not the one meant is left alone by every act', async () => {
    const { on, engine } = bench();
    const ref = await bench().create(on.running);
    const before = await bench().now(on.running);
    const names = await bench().names(on.running);
    const wrong = { instance: { ...ref.instance, uid: 'somebody-else' }, name: ref.name };
    expect(await codeOf(engine.createSnapshot({ ...wrong, name: bench().name() }, { stateful: false }, deadline()))).toBe('NOT_FOUND'); // prettier-ignore
    expect(await codeOf(engine.restoreSnapshot(wrong, { memory: false }, deadline()))).toBe('NOT_FOUND');
    expect(await codeOf(engine.renameSnapshot(wrong, bench().name(), deadline()))).toBe('NOT_FOUND');
    expect(await codeOf(engine.deleteSnapshot(wrong, deadline()))).toBe('NOT_FOUND');
    expect(await engine.findSnapshot(wrong, deadline())).toBeNull();
    expect(await bench().names(on.running)).toEqual(names);
    expect((await bench().now(on.running)).boot).toBe(before.boot);
  });

  test.each(BAD_NAMES)('the name %j is refused before it reaches the engine', async (name) => {
    const { on, engine } = bench();
    const ref = await bench().create(on.stopped);
    const before = (await bench().find(on.stopped)).snapshots.map((snapshot) => snapshot.name);
    const bad = { ...ref, name };
    expect(await codeOf(engine.createSnapshot(bad, { stateful: false }, deadline()))).toBe('REJECTED');
    expect(await codeOf(engine.renameSnapshot(ref, name, deadline()))).toBe('REJECTED');
    expect((await bench().find(on.stopped)).snapshots.map((snapshot) => snapshot.name)).toEqual(before);
    await engine.deleteSnapshot(ref, deadline());
  });

  test.each(['.', '..', '%', 'a%2Fb', 'a/b', '../x', 'a\nb', ''])(
    'no act reaches a snapshot called %j',
    async (name) => {
      const { on, engine } = bench();
      const ref = await bench().ref(on.stopped, name);
      expect(await codeOf(engine.restoreSnapshot(ref, { memory: false }, deadline()))).toBe('REJECTED');
      expect(await codeOf(engine.renameSnapshot(ref, bench().name(), deadline()))).toBe('REJECTED');
      expect(await codeOf(engine.deleteSnapshot(ref, deadline()))).toBe('REJECTED');
    },
  );
}

function describeDeadlines(bench: () => Bench): void {
  test('a call whose time is over before it starts does nothing', async () => {
    const { on, engine } = bench();
    const ref = await bench().ref(on.stopped, bench().name('late'));
    const over = AbortSignal.abort();
    expect(await codeOf(engine.createSnapshot(ref, { stateful: false }, over))).toBe('UNAVAILABLE');
    expect(await codeOf(engine.findInstance(on.stopped, over))).toBe('UNAVAILABLE');
    expect(await bench().snapshot(ref)).toBeNull();
  });

  test('a call ends soon after its time is over', async () => {
    const { on, engine } = bench();
    const ref = await bench().ref(on.plain, bench().name('cut'));
    const clock = new AbortController();
    const call = engine.createSnapshot(ref, { stateful: false }, clock.signal).then(
      () => 'done',
      (error: unknown) => (error instanceof EngineError ? error.code : error),
    );
    setTimeout(() => clock.abort(), 3);
    let outcome: unknown = null;
    void call.then((ended) => (outcome = ended));
    await until(() => outcome !== null, 3_000, 'the call to end');
    expect(['done', 'UNAVAILABLE', 'OUTCOME_UNKNOWN']).toContain(outcome);
    // The engine may still be busy with what was cut off; it must let us clear up in the end.
    const cleared = (): Promise<boolean> =>
      engine.deleteSnapshot(ref, deadline()).then(
        () => true,
        () => false,
      );
    await until(cleared, 20_000, 'the snapshot to be deleted');
  });
}

function describeWatching(bench: () => Bench): void {
  test('a snapshot made behind our back is told of within two seconds, and seen', async () => {
    const { on, engine } = bench();
    const stop = new AbortController();
    const hints: Hint[] = [];
    const watching = engine.watch((hint) => hints.push(hint), stop.signal);
    try {
      // Nothing says when the watch has begun, so another instance is touched until it is heard.
      const heard = async (): Promise<boolean> => {
        await on.configure(on.plain, KEY, String(Date.now()));
        return hints.length > 0;
      };
      await until(heard, 10_000, 'the watch to begin');
      const name = bench().name('outside');
      hints.length = 0;
      const made = on.makeSnapshotDirectly(on.stopped, name).then(() => Date.now());
      const about = (hint: Hint): boolean => hint === null || (hint.name === on.stopped.name && hint.project === on.stopped.project); // prettier-ignore
      await until(() => hints.some(about), 10_000, 'a hint');
      const hintedAt = Date.now();
      expect(hintedAt - (await made)).toBeLessThan(2_000);
      expect(await bench().names(on.stopped)).toContain(name);
    } finally {
      await on.configure(on.plain, KEY, '');
      stop.abort();
    }
    await expect(watching).resolves.toBeUndefined();
  });
}
