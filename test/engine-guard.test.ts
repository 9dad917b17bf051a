/** An engine that is away or silent is known as such, asked by one probe alone, and worked with again the moment it is back. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Engine, InstanceRef } from '../src/engine/engine';
import { guarded, type GuardedEngine, type GuardOptions } from '../src/engine/guard';
import { connectIncus } from '../src/engine/incus';
import { IncusClient } from '../src/engine/incus-client';
import { endpointsOf } from '../src/engine/incus-connect';
import { startTestApp } from './support/app';
import { proxyTo, type EngineProxy } from './support/engine-proxy';
import { sync } from './support/incus-fake';
import { openFleet, type Fleet } from './support/incus-fleet';
import { signal } from './support/local-engine';
import { ask, ended, instanceId } from './support/stories';
import { until } from './support/until';

jest.setTimeout(60_000);

const QUICK = { silentMs: 200, probeMs: 200, probeEveryMs: 50 };
const at = (name: string) => ({ project: 'default', name });
const ref = (index: number, name: string) => {
  const machine: InstanceRef = { ...at(`i-${index}`), uid: `uuid-${index}` };
  return { instance: machine, name };
};

describe('a guarded engine', () => {
  let fleet: Fleet;
  let proxy: EngineProxy;
  let engine: Engine;
  let guard: GuardedEngine;
  let told: string[];
  let over: AbortController;

  const guardWith = (limits: GuardOptions['limits'] = {}) =>
    guarded(engine, {
      until: over.signal,
      onAway: () => told.push('away'),
      onReturn: () => told.push('back'),
      limits: { ...QUICK, ...limits },
    });
  const lookThrice = async () => {
    for (let n = 0; n < 3; n += 1) await guard.findInstance(at('i-0'), signal()).catch(() => undefined);
  };
  const asked = (pattern: RegExp) => fleet.fake.asked.filter((call) => pattern.test(call)).length;

  beforeEach(async () => {
    fleet = await openFleet(3, 300);
    proxy = await proxyTo(fleet.fake.socket);
    engine = await connectIncus({ socket: proxy.socket, projects: ['default'] });
    told = [];
    over = new AbortController();
    guard = guardWith();
  });
  afterEach(async () => {
    over.abort();
    await engine.close();
    await proxy.close();
    await fleet.close();
  });

  test('that is away refuses at once and says since when, and lets calls through again when it is back', async () => {
    await proxy.leave();
    await lookThrice();
    const { since } = await until(() => guard.away);
    expect(told).toEqual(['away']);
    await expect(guard.createSnapshot(ref(0, 'one'), { stateful: false }, signal())).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining(`away since ${since.toISOString().slice(0, 19)}Z: The engine cannot be reached`),
    });
    await proxy.comeBack();
    await until(() => guard.away === null);
    expect(told).toEqual(['away', 'back']);
    expect(await guard.findInstance(at('i-0'), signal())).toMatchObject({ name: 'i-0' });
  });

  test('is asked by nobody but the probe while it is away', async () => {
    fleet.fake.on(/^GET \/1\.0$/, sync(503, { type: 'error', error_code: 503, error: 'Daemon is starting up' }));
    await guard.describe(signal()).catch(() => undefined);
    await until(() => guard.away);
    const before = asked(/instances/);
    for (let n = 0; n < 20; n += 1)
      await expect(guard.findInstance(at('i-0'), signal())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(asked(/instances/)).toBe(before);
  });

  test('that answers for itself is not cut off because one of its members is down', async () => {
    fleet.fake.on(/i-1/, sync(503, { type: 'error', error_code: 503, error: 'the member is not online' }));
    const greeted = asked(/^GET \/1\.0$/);
    for (let n = 0; n < 10; n += 1)
      await expect(guard.findInstance(at('i-1'), signal())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await until(() => asked(/^GET \/1\.0$/) > greeted + 1);
    expect(await guard.findInstance(at('i-2'), signal())).toMatchObject({ name: 'i-2' });
    expect(told).toEqual([]);
  });

  test('that is silent is known as away, and looks that wait for it end then and not at their deadline', async () => {
    expect(await guard.findInstance(at('i-0'), signal())).not.toBeNull();
    proxy.hang();
    const list = guard.instances(signal())[Symbol.asyncIterator]();
    const looks = [guard.findInstance(at('i-0'), signal()), guard.describe(signal()), list.next()];
    const answers = await Promise.allSettled(looks);
    expect(answers).toEqual(
      looks.map(
        () =>
        expect.objectContaining({ reason: expect.objectContaining({ message: expect.stringMatching(/^The engine has been away since .* in time\.$/) }) }), // prettier-ignore
      ),
    );
    proxy.resume();
    await until(() => guard.away === null);
    expect(told).toEqual(['away', 'back']);
  });

  test('does not abandon an act in flight when it turns out to be silent: the driver says how it ended', async () => {
    fleet.fake.on(/^GET \/1\.0\/operations\/[\w-]+\/wait/, (request, response) => {
      void until(() => told.includes('back')).then(() => sync(200, { metadata: { status: 'Success', err: '' } })(request, response)); // prettier-ignore
    });
    const act = guard.createSnapshot(ref(0, 'kept'), { stateful: false }, signal());
    await until(() => fleet.made.length === 1);
    proxy.hang();
    await until(() => guard.away);
    proxy.resume();
    await act;
    expect(told).toEqual(['away', 'back']);
    expect(fleet.made).toEqual(['i-0/kept']);
  });

  test('ends a look at its deadline as unavailable, and an act as unknown', async () => {
    const never = () => undefined;
    guard = guardWith({ lookMs: 100, actMs: 100, failures: 100 });
    fleet.fake.on(/i-1/, never).on(/\/wait/, never);
    await expect(guard.findInstance(at('i-1'), signal())).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: 'The engine did not answer in time.',
    });
    const late = guard.createSnapshot(ref(0, 'late'), { stateful: false }, signal());
    await expect(late).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
    expect(told).toEqual([]);
  });

  test('ends a call at its deadline also when the driver does not', async () => {
    const deaf: Engine = Object.create(engine, {
      findInstance: { value: () => new Promise(() => undefined) },
      deleteSnapshot: { value: () => new Promise(() => undefined) },
    });
    guard = guarded(deaf, { until: over.signal, limits: { lookMs: 50, actMs: 50, graceMs: 50 } });
    await expect(guard.findInstance(at('i-0'), signal())).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    await expect(guard.deleteSnapshot(ref(0, 'x'), signal())).rejects.toMatchObject({ code: 'OUTCOME_UNKNOWN' });
  });

  test('is away the moment its events are lost, with nobody asking', async () => {
    const watching = guard.watch(() => undefined, over.signal).catch((error: unknown) => error);
    await until(() => asked(/^GET \/1\.0$/) > 0);
    await sleep(50);
    await proxy.leave();
    expect(await watching).toMatchObject({ code: 'UNAVAILABLE' });
    await until(() => guard.away);
  });
});

test('a member of a cluster that is silent is asked last the next time, so that it does not stand for the whole', async () => {
  const [silent, sound] = [await openFleet(1, 0), await openFleet(1, 0)];
  silent.fake.on(/./, () => undefined);
  const ways = [silent, sound].map(({ fake }) => endpointsOf({ socket: fake.socket, projects: ['default'] }));
  const client = new IncusClient((await Promise.all(ways)).flat());
  try {
    await expect(client.get('/1.0', AbortSignal.timeout(100))).rejects.toMatchObject({ code: 'UNAVAILABLE' });
    expect(await client.get('/1.0', signal())).toMatchObject({ auth: 'trusted' });
  } finally {
    await client.close();
    await Promise.all([silent.close(), sound.close()]);
  }
});

test('work accepted while the engine is away says what it waits for, and each is done once right after the return', async () => {
  const COUNT = 30;
  const fleet = await openFleet(COUNT, 50);
  const proxy = await proxyTo(fleet.fake.socket);
  const app = await startTestApp({ env: { INCUS_SOCKET: proxy.socket } });
  try {
    const ops = await app.as('ops');
    const ids: string[] = [];
    await until(async () => (await ops.query('{ instances(first: 100) { nodes { id } } }')).instances.nodes.length === COUNT); // prettier-ignore
    for (let n = 0; n < COUNT; n += 1) ids.push(await instanceId(ops, `i-${n}`));
    await proxy.leave();
    const engine = () => ops.query('{ apiInfo { engine { available } } instance(name: "i-0") { engine { unavailableSince } } }'); // prettier-ignore
    const { instance } = await until(async () => {
      const seen = await engine();
      return !seen.apiInfo.engine.available && seen;
    });
    expect(Math.abs(Date.now() - Date.parse(instance.engine.unavailableSince))).toBeLessThan(15_000);
    const operations: string[] = [];
    for (const id of ids) operations.push((await ask(ops, 'createSnapshot', { instanceId: id, name: 'out' })).operation.id); // prettier-ignore
    const seen = 'query ($id: ID!) { operation(id: $id) { status waitingReason attempts steps { name } } }';
    for (const id of operations) {
      await until(async () => (await ops.query(seen, { id })).operation.waitingReason);
    }
    expect((await ops.query(seen, { id: operations[0] })).operation).toEqual({
      status: 'QUEUED',
      waitingReason: expect.stringMatching(/^The engine has been away since .*It is tried again by itself\.$/),
      attempts: 0,
      steps: [],
    });
    await proxy.comeBack();
    const back = Date.now();
    for (const id of operations) expect(await ended(ops, id)).toMatchObject({ status: 'SUCCEEDED' });
    expect(Date.now() - back).toBeLessThan(8_000); // sooner than the pause between two attempts would let them be
    expect([...fleet.made].sort()).toEqual(ids.map((_, n) => `i-${n}/out`).sort());
    await until(async () => (await engine()).apiInfo.engine.available);
  } finally {
    await app.stop();
    await proxy.close();
    await fleet.close();
  }
});
