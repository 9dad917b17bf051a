import { chmod, cp, mkdir, readdir, readFile, readlink, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'; // prettier-ignore
import { join } from 'node:path';
import type { InstanceFacts } from '../src/engine/engine';
import { openLocalEngine } from '../src/engine/local';
import { codeOf, describeEngineContract } from './support/engine-contract';
import { alive, cache, childrenOf, db, find, localUnderTest, signal, snapshot, web, type LocalUnderTest } from './support/local-engine'; // prettier-ignore
import { until } from './support/until';

describeEngineContract('local', localUnderTest);

describe('a local engine', () => {
  let on: LocalUnderTest;
  beforeEach(async () => {
    on = await localUnderTest();
  });
  afterEach(() => on.close());

  test('an instance whose program finds its file broken is in ERROR until a good snapshot is restored', async () => {
    const { engine } = on;
    const good = await snapshot(engine, web, 'good');
    await on.write(web, 'etc/app.json', '{ "name": ');
    expect((await find(engine, web)).status).toBe('RUNNING');
    await engine.stop(web);
    await engine.start(web);
    expect((await find(engine, web)).status).toBe('ERROR');
    expect(await readFile(on.path(web, 'console.log'), 'utf8')).toContain('/etc/app.json');

    const broken = await snapshot(engine, web, 'broken');
    expect(await codeOf(snapshot(engine, web, 'state', true))).toBe('STATE_INVALID');
    await engine.restoreSnapshot(good, { memory: false }, signal());
    expect((await find(engine, web)).status).toBe('RUNNING');
    expect(await codeOf(engine.restoreSnapshot(broken, { memory: false }, signal()))).toBe('REJECTED');
    expect((await find(engine, web)).status).toBe('ERROR');
  });

  test('a process that dies by accident puts its instance in ERROR and is hinted at', async () => {
    const stop = new AbortController();
    const heard = new Set<string>();
    const watching = on.engine.watch((hint) => heard.add(hint?.name ?? ''), stop.signal);
    await until(() => heard.has(''), 5_000, 'the watch to begin');
    const [victim] = childrenOf(process.pid);
    if (victim === undefined) throw new Error('no instance runs');
    process.kill(victim, 'SIGKILL');
    const look = async (): Promise<InstanceFacts | undefined> =>
      [await find(on.engine, web), await find(on.engine, db)].find(({ status }) => status === 'ERROR');
    const failed = await until(look, 5_000, 'the instance to be in ERROR');
    await until(() => heard.has(failed.name), 5_000, 'a hint');
    stop.abort();
    await watching;
  });

  test('a stateful snapshot of a running instance starts it where it was after it was stopped', async () => {
    const taken = await on.status(web);
    const ref = await snapshot(on.engine, web, 'state', true);
    await on.engine.stop(web);
    await on.engine.restoreSnapshot(ref, { memory: true }, signal());
    const back = await on.status(web);
    expect(back.boot).toBe(taken.boot);
    expect(back.mem).toBeGreaterThan(taken.mem);
    expect((await find(on.engine, web)).status).toBe('RUNNING');
  });

  test('a memory that cannot be read is refused before anything is done', async () => {
    const ref = await snapshot(on.engine, web, 'state', true);
    const before = await on.status(web);
    await writeFile(on.path(web, 'snapshots/state/memory.json'), '{}');
    expect(await codeOf(on.engine.restoreSnapshot(ref, { memory: true }, signal()))).toBe('REJECTED');
    expect((await on.status(web)).boot).toBe(before.boot);
  });

  test('links, modes, times and write-protected folders come back as they were', async () => {
    const data = (...rest: string[]): string => on.path(cache, 'rootfs/srv', ...rest);
    await mkdir(data('tools'));
    await writeFile(data('tools/run'), '#!/bin/sh\n');
    await chmod(data('tools/run'), 0o750);
    await utimes(data('tools/run'), new Date(1_000_000_000_000), new Date(1_000_000_000_000));
    await symlink('../etc/nowhere', data('link'));
    await chmod(data('tools'), 0o555);
    const ref = await snapshot(on.engine, cache, 'kept');
    await rm(data('link'));
    await writeFile(data('link'), 'no link any more');
    await on.engine.restoreSnapshot(ref, { memory: false }, signal());

    expect(await readlink(data('link'))).toBe('../etc/nowhere');
    expect((await stat(data('tools'))).mode & 0o777).toBe(0o555);
    const run = await stat(data('tools/run'));
    expect([run.mode & 0o777, run.mtimeMs]).toEqual([0o750, 1_000_000_000_000]);
    await on.engine.deleteSnapshot(ref, signal());
    expect(await readdir(on.path(cache, 'snapshots'))).toEqual([]);
  });

  test('acts asked for at once on one instance are done one after another', async () => {
    const { uid } = await find(on.engine, web);
    const names = ['a', 'b', 'c', 'd', 'e', 'f'];
    const make = (name: string): Promise<void> =>
      on.engine.createSnapshot({ instance: { ...web, uid }, name }, { stateful: name < 'c' }, signal());
    const restore = on.engine.restoreSnapshot.bind(on.engine);
    await Promise.all([
      ...names.map(make),
      restore({ instance: { ...web, uid }, name: 'f' }, { memory: false }, signal()),
    ]);
    const facts = await find(on.engine, web);
    expect(facts.snapshots.map(({ name }) => name).sort()).toEqual(names);
    expect(facts.status).toBe('RUNNING');
  });

  test('an act that is over while it waits for its turn is not done', async () => {
    const { uid } = await find(on.engine, web);
    const instance = { ...web, uid };
    const first = on.engine.createSnapshot({ instance, name: 'first' }, { stateful: false }, signal());
    const clock = new AbortController();
    const late = on.engine.createSnapshot({ instance, name: 'late' }, { stateful: false }, clock.signal);
    clock.abort();
    expect(await codeOf(late)).toBe('UNAVAILABLE');
    await first;
    expect((await find(on.engine, web)).snapshots.map(({ name }) => name)).toEqual(['first']);
  });

  test('no process is left after close, and nothing can be done to a closed engine', async () => {
    const pids = childrenOf(process.pid);
    expect(pids).toHaveLength(2);
    await on.engine.close();
    expect(pids.filter(alive)).toEqual([]);
    expect(await codeOf(on.engine.findInstance(web, signal()))).toBe('UNAVAILABLE');
  });

  test('what ran is booted anew when the folder is opened again, and goes on from its disk', async () => {
    const before = await on.status(web);
    await on.engine.close();
    const engine = await openLocalEngine(on.folder);
    const after = await on.status(web);
    const statuses = [await find(engine, web), await find(engine, cache)].map(({ status }) => status);
    await engine.close();
    expect(statuses).toEqual(['RUNNING', 'STOPPED']);
    expect(after.boot).not.toBe(before.boot);
    expect(after.disk).toBeGreaterThan(before.disk);
  });
});

describe('folders that people change by hand', () => {
  let on: LocalUnderTest;
  const inside = (...rest: string[]): string => on.path(cache, 'snapshots', ...rest);
  const names = async (): Promise<string[]> => (await find(on.engine, cache)).snapshots.map(({ name }) => name).sort();
  beforeAll(async () => {
    on = await localUnderTest();
  });
  afterAll(() => on.close());
  afterEach(async () => {
    for (const name of await readdir(inside())) await rm(inside(name), { recursive: true });
  });

  test('a copied, a renamed and a deleted snapshot folder show as they are', async () => {
    const ref = await snapshot(on.engine, cache, 'one');
    await cp(inside('one'), inside('two'), { recursive: true });
    expect(await names()).toEqual(['one', 'two']);
    await rename(inside('one'), inside('three'));
    expect(await names()).toEqual(['three', 'two']);
    await on.write(cache, 'etc/motd', 'changed');
    await on.engine.restoreSnapshot({ ...ref, name: 'two' }, { memory: false }, signal());
    expect(await on.read(cache, 'etc/motd')).not.toBe('changed');
    await rm(inside('two'), { recursive: true });
    expect(await names()).toEqual(['three']);
  });

  test('folders without facts, or with broken ones, are listed with the time of the folder', async () => {
    const ref = await snapshot(on.engine, cache, 'good');
    await mkdir(inside('bare'));
    await mkdir(inside('broken'));
    await writeFile(inside('broken/snapshot.json'), '{"createdAt": 7');
    await mkdir(inside('od d%é'));
    await writeFile(inside('a-file'), 'not a snapshot');
    await utimes(inside('bare'), new Date(1_500_000_000_000), new Date(1_500_000_000_000));
    expect(await names()).toEqual(['bare', 'broken', 'good', 'od d%é']);
    const bare = (await find(on.engine, cache)).snapshots.find(({ name }) => name === 'bare');
    expect(bare).toEqual({ name: 'bare', createdAt: new Date(1_500_000_000_000), stateful: false, sizeBytes: null });

    const { generation } = await find(on.engine, cache);
    for (const name of ['bare', 'broken', 'od d%é']) {
      expect(await codeOf(on.engine.restoreSnapshot({ ...ref, name }, { memory: false }, signal()))).toBe('REJECTED');
    }
    expect((await find(on.engine, cache)).generation).toBe(generation);
    await on.engine.deleteSnapshot({ ...ref, name: 'bare' }, signal());
    expect(await codeOf(on.engine.createSnapshot({ ...ref, name: 'broken' }, { stateful: false }, signal()))).toBe('NAME_TAKEN'); // prettier-ignore
  });

  test('a record that cannot be read hides its instance, and nothing of it is touched', async () => {
    const record = await readFile(on.path(db, 'instance.json'), 'utf8');
    await on.engine.close();
    const before = await readdir(on.path(db));
    await writeFile(on.path(db, 'instance.json'), '{ half');
    const engine = await openLocalEngine(on.folder);
    expect(await engine.findInstance(db, signal())).toBeNull();
    const listed: string[] = [];
    for await (const { name } of engine.instances(signal())) listed.push(name);
    await engine.close();
    expect(listed).toEqual(['cache-1', 'web-1']);
    expect(await readdir(on.path(db))).toEqual(before);
    await writeFile(on.path(db, 'instance.json'), record);
    on.engine = await openLocalEngine(on.folder);
    expect((await find(on.engine, db)).status).toBe('RUNNING');
  });

  test('a folder that is gone is not a folder without instances', async () => {
    const aside = join(on.folder, 'aside');
    await rename(join(on.folder, 'instances'), aside);
    const list = async (): Promise<void> => {
      for await (const { name } of on.engine.instances(signal())) throw new Error(name);
    };
    const codes = [await codeOf(on.engine.findInstance(web, signal())), await codeOf(list())];
    await rename(aside, join(on.folder, 'instances'));
    expect(codes).toEqual(['UNAVAILABLE', 'UNAVAILABLE']);
  });

  test.each(['..', '../default', '.', 'a/../web-1', '%2e%2e'])('an instance called %j leads nowhere', async (name) => {
    expect(await codeOf(on.engine.findInstance({ project: 'default', name }, signal()))).toBe('REJECTED');
    expect(await codeOf(on.engine.findInstance({ project: name, name: 'web-1' }, signal()))).toBe('REJECTED');
    expect(await codeOf(on.engine.createInstance(name, 'x'))).toBe('REJECTED');
  });
});
