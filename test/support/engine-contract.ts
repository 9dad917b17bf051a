import type { InstanceFacts } from '../../src/engine/engine';
import { Bench, codeOf, deadline, KEY, NOTE, RUN, type At, type EngineUnderTest } from './engine-bench';
import { describeLimits } from './engine-contract-limits';

export { codeOf, type At, type EngineUnderTest, type InstanceStatus } from './engine-bench';

/** The one contract that every driver keeps, told by what a user of the engine can see. */
export function describeEngineContract(
  title: string,
  setUp: () => Promise<EngineUnderTest>,
  options: { skip?: boolean; statefulRestore?: boolean } = {},
): void {
  const suite = options.skip === true ? describe.skip : describe;
  suite(`the engine contract: ${title}`, () => {
    let bench: Bench | undefined;
    beforeAll(async () => {
      bench = new Bench(await setUp());
    }, 300_000);
    afterAll(async () => {
      await bench?.clear();
      await bench?.on.close();
    }, 120_000);

    const get = (): Bench => {
      if (bench === undefined) throw new Error('the engine was not set up');
      return bench;
    };
    describeListing(get);
    describeCreate(get);
    describeRestore(get);
    describeMemory(get, options.statefulRestore !== false);
    describeRenameAndDelete(get);
    describeLimits(get);
  });
}

function describeListing(bench: () => Bench): void {
  test('it says what it is and what it can do', async () => {
    const facts = await bench().engine.describe(deadline());
    expect(facts.kind).toBe(bench().engine.kind);
    expect(facts.name).not.toBe('');
    expect(facts.version).not.toBe('');
    expect(facts.capabilities).toEqual(expect.arrayContaining(['SNAPSHOTS', 'EVENTS']));
  });

  test('each instance is listed once, with what a user needs to know of it', async () => {
    const { on, engine } = bench();
    const listed: InstanceFacts[] = [];
    for await (const facts of engine.instances(deadline())) listed.push(facts);
    const keys = listed.map(({ project, name }) => `${project}/${name}`);
    expect(new Set(keys).size).toBe(keys.length);
    expect(new Set(listed.map(({ uid }) => uid)).size).toBe(listed.length);

    const of = (at: At): InstanceFacts | undefined =>
      listed.find(({ project, name }) => project === at.project && name === at.name);
    expect(of(on.running)).toMatchObject({ status: 'RUNNING', statefulSupport: { supported: true, reasons: [] } });
    expect(of(on.stopped)).toMatchObject({ status: 'STOPPED' });
    expect(of(on.plain)).toMatchObject({ status: 'RUNNING', statefulSupport: { supported: false } });
    expect(of(on.plain)?.statefulSupport.reasons.join(' ')).toContain('migration.stateful');
    for (const facts of listed) {
      expect(facts.uid).not.toBe('');
      expect(facts.type).toBe('CONTAINER');
      expect(facts.createdAt.getTime()).toBeLessThanOrEqual(Date.now());
      expect(Object.keys(facts.configuration.config).filter((key) => key.startsWith('volatile.'))).toEqual([]);
    }
  });

  test('one instance looked up is the same as in the list', async () => {
    const { on, engine } = bench();
    for await (const listed of engine.instances(deadline())) {
      if (listed.project !== on.stopped.project || listed.name !== on.stopped.name) continue;
      const found = await bench().find(on.stopped);
      expect({ ...found, snapshots: [] }).toEqual({ ...listed, snapshots: [] });
    }
  });

  test('an instance that is not there is null, and nothing can be done to it', async () => {
    const { on, engine } = bench();
    const missing = { project: on.running.project, name: `${RUN}-none` };
    const ref = { instance: { ...missing, uid: 'none' }, name: 'a' };
    expect(await engine.findInstance(missing, deadline())).toBeNull();
    expect(await engine.findSnapshot(ref, deadline())).toBeNull();
    expect(await codeOf(engine.createSnapshot(ref, { stateful: false }, deadline()))).toBe('NOT_FOUND');
    expect(await codeOf(engine.restoreSnapshot(ref, { memory: false }, deadline()))).toBe('NOT_FOUND');
    expect(await codeOf(engine.renameSnapshot(ref, 'b', deadline()))).toBe('NOT_FOUND');
  });
}

function describeCreate(bench: () => Bench): void {
  test('a snapshot that was made is found, with its facts', async () => {
    const { on, engine } = bench();
    const before = Date.now();
    const ref = await bench().create(on.running);
    const found = await bench().snapshot(ref);
    expect(found).toMatchObject({ name: ref.name, stateful: false });
    const createdAt = found?.createdAt.getTime() ?? 0;
    expect(createdAt).toBeGreaterThan(before - 5_000);
    expect(createdAt).toBeLessThan(Date.now() + 5_000);
    expect(found?.sizeBytes === null || Number(found?.sizeBytes) >= 0).toBe(true);

    const ofInstance = (await bench().find(on.running)).snapshots.find(({ name }) => name === ref.name);
    expect(ofInstance).toEqual(found);
    for await (const { project, name, snapshots } of engine.instances(deadline())) {
      if (project !== on.running.project || name !== on.running.name) continue;
      const listed = snapshots.find((snapshot) => snapshot.name === ref.name);
      expect(listed).toMatchObject({ name: ref.name, stateful: false, createdAt: found?.createdAt });
      expect(listed?.sizeBytes).toBeUndefined();
    }
  });

  test('a stopped instance can be snapshotted', async () => {
    const ref = await bench().create(bench().on.stopped);
    expect(await bench().snapshot(ref)).toMatchObject({ name: ref.name, stateful: false });
  });

  test('a second snapshot of one name is refused and the first stays', async () => {
    const ref = await bench().create(bench().on.stopped);
    const first = await bench().snapshot(ref);
    expect(await codeOf(bench().create(bench().on.stopped, { stateful: false }, ref.name))).toBe('NAME_TAKEN');
    expect(await bench().snapshot(ref)).toEqual(first);
  });
}

function describeRestore(bench: () => Bench): void {
  test('a restore brings back files and configuration, as often as wanted', async () => {
    const { on } = bench();
    const at = on.stopped;
    const clean = await bench().create(at);
    await on.write(at, NOTE, 'one');
    await on.configure(at, KEY, 'one');
    const first = await bench().create(at);
    await on.write(at, NOTE, 'two');
    await on.configure(at, KEY, 'two');

    await bench().restore(first);
    expect(await on.read(at, NOTE)).toBe('one');
    const facts = await bench().find(at);
    expect(facts.configuration.config[KEY]).toBe('one');
    expect(facts.status).toBe('STOPPED');
    expect(facts.uid).toBe(first.instance.uid);

    await bench().restore(clean);
    expect(await on.read(at, NOTE)).toBeNull();
    expect((await bench().find(at)).configuration.config[KEY]).toBeUndefined();
    expect(await bench().names(at)).toEqual(expect.arrayContaining([clean.name, first.name]));
  });

  test('each restore changes the generation, where the engine has one, and nothing else does', async () => {
    const at = bench().on.stopped;
    const { capabilities } = await bench().engine.describe(deadline());
    const before = (await bench().find(at)).generation;
    const ref = await bench().create(at);
    expect((await bench().find(at)).generation).toBe(before);
    await bench().restore(ref);
    const after = (await bench().find(at)).generation;
    if (capabilities.includes('GENERATION_ID')) expect(after).not.toBe(before);
    else expect(after).toBeNull();
  });

  test('a running instance starts anew from the files of the snapshot', async () => {
    const { on } = bench();
    const at = on.running;
    const taken = await bench().now(at);
    const ref = await bench().create(at);
    const before = await bench().status(at, ({ disk }) => disk >= taken.disk + 5, 'the disk counter to go on');

    await bench().restore(ref);
    const after = await bench().status(at, ({ boot }) => boot !== before.boot, 'a new boot');
    expect(after.disk).toBeGreaterThanOrEqual(taken.disk);
    expect(after.disk).toBeLessThan(before.disk);
    expect((await bench().find(at)).status).toBe('RUNNING');
  });

  test('restoring what is not there is refused, and the instance goes on untouched', async () => {
    const { on } = bench();
    const before = await bench().now(on.running);
    const ref = await bench().ref(on.running, bench().name('none'));
    const { generation } = await bench().find(on.running);
    expect(await codeOf(bench().restore(ref))).toBe('NOT_FOUND');
    const after = await bench().status(on.running, ({ mem }) => mem > before.mem, 'the memory counter to go on');
    expect(after.boot).toBe(before.boot);
    expect(await bench().find(on.running)).toMatchObject({ status: 'RUNNING', generation });
  });
}

function describeMemory(bench: () => Bench, canRestore: boolean): void {
  const whereRestored = canRestore ? test : test.skip;
  whereRestored(
    'a stateful snapshot goes on where it was, also after a boot in between',
    async () => {
      const { on } = bench();
      const at = on.running;
      const taken = await bench().now(at);
      const ref = await bench().create(at, { stateful: true });
      expect(await bench().snapshot(ref)).toMatchObject({ stateful: true });
      expect((await bench().status(at, ({ mem }) => mem > taken.mem, 'it to run on')).boot).toBe(taken.boot);

      await bench().restore(ref);
      const anew = await bench().status(at, ({ boot }) => boot !== taken.boot, 'a new boot');
      expect(anew.disk).toBeGreaterThanOrEqual(taken.disk);

      await bench().restore(ref, true);
      const back = await bench().status(at, ({ boot }) => boot === taken.boot, 'the boot of the snapshot');
      expect(back.mem).toBeGreaterThanOrEqual(taken.mem);
      await bench().status(at, ({ boot, mem }) => boot === taken.boot && mem > back.mem, 'the memory counter to go on');
      expect((await bench().find(at)).status).toBe('RUNNING');
    },
    90_000,
  );

  test('a stateful snapshot of a stopped instance is refused for its state', async () => {
    const { on } = bench();
    const name = bench().name();
    expect(await codeOf(bench().create(on.stopped, { stateful: true }, name))).toBe('STATE_INVALID');
    expect(await bench().names(on.stopped)).not.toContain(name);
  });

  test('a stateful snapshot of an instance that is not set up for it is refused, and it goes on', async () => {
    const { on } = bench();
    const before = await bench().now(on.plain);
    const name = bench().name();
    expect(await codeOf(bench().create(on.plain, { stateful: true }, name))).toBe('STATEFUL_NOT_SUPPORTED');
    expect(await bench().names(on.plain)).not.toContain(name);
    const after = await bench().status(on.plain, ({ mem }) => mem > before.mem, 'it to run on');
    expect(after.boot).toBe(before.boot);
  });

  test('memory asked of a stateless snapshot is refused, and the instance goes on', async () => {
    const { on } = bench();
    const before = await bench().now(on.running);
    const ref = await bench().create(on.running);
    expect(['STATE_INVALID', 'REJECTED']).toContain(await codeOf(bench().restore(ref, true)));
    const after = await bench().status(on.running, ({ mem }) => mem > before.mem, 'it to run on');
    expect(after.boot).toBe(before.boot);
  });
}

function describeRenameAndDelete(bench: () => Bench): void {
  test('a renamed snapshot is found under its new name only, and restores', async () => {
    const { on, engine } = bench();
    const ref = await bench().create(on.stopped);
    const other = await bench().create(on.stopped);
    const renamed = { ...ref, name: bench().name('renamed') };
    await engine.renameSnapshot(ref, renamed.name, deadline());
    expect(await bench().snapshot(ref)).toBeNull();
    expect(await bench().snapshot(renamed)).toMatchObject({ name: renamed.name, stateful: false });
    expect(await codeOf(engine.renameSnapshot(renamed, other.name, deadline()))).toBe('NAME_TAKEN');
    expect(await codeOf(engine.renameSnapshot(ref, bench().name(), deadline()))).toBe('NOT_FOUND');
    await bench().restore(renamed);
  });

  test('a deleted snapshot is gone, the others stay, and deleting it again succeeds', async () => {
    const { on, engine } = bench();
    const ref = await bench().create(on.stopped);
    const other = await bench().create(on.stopped);
    await engine.deleteSnapshot(ref, deadline());
    await engine.deleteSnapshot(ref, deadline());
    expect(await bench().snapshot(ref)).toBeNull();
    expect(await bench().snapshot(other)).toMatchObject({ name: other.name });
  });
}
