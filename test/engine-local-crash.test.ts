import { spawn, spawnSync } from 'node:child_process';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLocalEngine, type LocalEngine } from '../src/engine/local';
import { alive, childrenOf, find, signal, snapshot, web } from './support/local-engine';
import { until } from './support/until';

describe('an owner that is killed', () => {
  const owner = ['-r', '@swc-node/register', join(__dirname, 'support/local-owner.ts')];
  const files = ['etc/motd', 'srv/data/orders.csv', 'srv/new'];
  let template: string;

  /** web-1, meant to run, as `new` with a snapshot `kept` of when it was `old`. */
  beforeAll(async () => {
    template = await mkdtemp(join(tmpdir(), 'keyframe-local-'));
    const engine = await openLocalEngine(template);
    await engine.createInstance(web.project, web.name);
    for (const state of ['old', 'new']) {
      for (const file of files) await writeFile(join(rootIn(template), file), state);
      await engine.configure(web, 'user.state', state);
      if (state === 'old') await snapshot(engine, web, 'kept');
    }
    await engine.start(web);
    await engine.close();
  });
  afterAll(() => rm(template, { recursive: true }));

  const rootIn = (folder: string): string => join(folder, 'instances/default/web-1/rootfs');

  /** One word when all files and the configuration are of one state. */
  async function stateOf(folder: string, engine: LocalEngine): Promise<string> {
    const states = await Promise.all(files.map((file) => readFile(join(rootIn(folder), file), 'utf8')));
    return [...new Set([...states, (await find(engine, web)).configuration.config['user.state']])].join(' and ');
  }

  /** Kills the owner before each change it makes to the file system, one after another, until it gets through. */
  async function killAtEachStep(
    act: string,
    judge: (folder: string, engine: LocalEngine) => Promise<string>,
  ): Promise<string[]> {
    const outcomes: string[] = [];
    for (let step = 0, done = false; !done; step += 1) {
      const folder = await mkdtemp(join(tmpdir(), 'keyframe-local-'));
      await cp(template, folder, { recursive: true, verbatimSymlinks: true });
      const run = spawnSync(process.execPath, [...owner, folder, act, String(step)], { encoding: 'utf8' });
      done = run.stdout.includes('done');
      if (!done && run.signal !== 'SIGKILL') throw new Error(run.stderr);
      const engine = await openLocalEngine(folder);
      outcomes.push(await judge(folder, engine));
      expect((await find(engine, web)).status).toBe('RUNNING');
      await engine.close();
      const left = (await readdir(join(rootIn(folder), '..'))).filter((name) => /^(\.|root-)/.test(name));
      expect(left).toHaveLength(1);
      await rm(folder, { recursive: true });
    }
    return outcomes;
  }

  test('leaves an instance that is wholly old or wholly new, whatever step of a restore it was at', async () => {
    const outcomes = await killAtEachStep('restore', async (folder, engine) => {
      expect((await find(engine, web)).snapshots.map(({ name }) => name)).toEqual(['kept']);
      return stateOf(folder, engine);
    });
    expect(outcomes.length).toBeGreaterThan(8);
    expect(new Set(outcomes)).toEqual(new Set(['new', 'old']));
    expect([outcomes[0], outcomes.at(-1)]).toEqual(['new', 'old']);
  }, 120_000);

  test('leaves no snapshot or a whole one, whatever step of its creation it was at', async () => {
    const outcomes = await killAtEachStep('create', async (folder, engine) => {
      const { uid, snapshots } = await find(engine, web);
      expect(await stateOf(folder, engine)).toBe('new');
      if (!snapshots.some(({ name }) => name === 'made')) return 'none';
      const instance = { ...web, uid };
      await engine.restoreSnapshot({ instance, name: 'kept' }, { memory: false }, signal());
      await engine.restoreSnapshot({ instance, name: 'made' }, { memory: false }, signal());
      expect(await stateOf(folder, engine)).toBe('new');
      return 'whole';
    });
    expect(outcomes.length).toBeGreaterThan(8);
    expect([outcomes[0], outcomes.at(-1)]).toEqual(['none', 'whole']);
  }, 120_000);

  test('leaves a whole snapshot or none, whatever step of its deletion it was at', async () => {
    const outcomes = await killAtEachStep('delete', async (folder, engine) => {
      const { uid, snapshots } = await find(engine, web);
      if (snapshots.length === 0) return 'none';
      await engine.restoreSnapshot({ instance: { ...web, uid }, name: 'kept' }, { memory: false }, signal());
      expect(await stateOf(folder, engine)).toBe('old');
      return 'whole';
    });
    expect([outcomes[0], outcomes.at(-1)]).toEqual(['whole', 'none']);
  }, 60_000);

  test('takes the processes of its instances along', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'keyframe-local-'));
    await cp(template, folder, { recursive: true, verbatimSymlinks: true });
    const child = spawn(process.execPath, [...owner, folder, 'own'], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      await new Promise((resolve) => child.stdout.once('data', resolve));
      const pids = childrenOf(child.pid ?? 0);
      expect(pids).toHaveLength(1);
      child.kill('SIGKILL');
      await until(() => !pids.some(alive), 5_000, 'the instance to end');
    } finally {
      child.kill('SIGKILL');
      await rm(folder, { recursive: true });
    }
  });
});
