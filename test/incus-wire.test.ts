import type { ServerResponse } from 'node:http';
import { WebSocketServer } from 'ws';
import type { Hint, SnapshotRef } from '../src/engine/engine';
import { codeOf } from './support/engine-contract';
import { FakeEngine, hangUp, inTurn, instance, notFound, op, started, sync, waitLies } from './support/incus-fake';
import { until } from './support/until';

const deadline = (ms = 20_000): AbortSignal => AbortSignal.timeout(ms);
const WAIT = /^GET .*\/wait\?/;
const LOOK = /^GET \/1\.0\/operations\/[^/]+$/;
const SNAPSHOT = /^GET .*\/snapshots\/s\?/;

describe('writing and waiting', () => {
  const ref: SnapshotRef = { instance: { project: 'default', name: 'web-1', uid: 'uuid-1' }, name: 's' };
  let fake: FakeEngine;
  beforeEach(async () => {
    fake = await new FakeEngine().open();
    fake.on(/^(POST|PUT|DELETE) /, started);
  });
  afterEach(() => fake.close());

  const missing = sync(404, { type: 'error', error_code: 404, error: 'Instance_snapshot not found' });
  const present = sync(200, { metadata: { name: 's', stateful: true } });
  const create = (signal = deadline()): Promise<void> => fake.engine.createSnapshot(ref, { stateful: false }, signal);
  const restore = (signal = deadline()): Promise<void> => fake.engine.restoreSnapshot(ref, { memory: true }, signal);
  const remove = (): Promise<void> => fake.engine.deleteSnapshot(ref, deadline());

  test('a create sends its name, its kind and that it never expires, and is looked at afterwards', async () => {
    let sent = '';
    fake.on(SNAPSHOT, inTurn(missing, present)).on(WAIT, op('Success'));
    fake.on(/^POST /, (request, response) => {
      request.setEncoding('utf8').on('data', (chunk: string) => (sent += chunk));
      request.on('end', () => started(request, response));
    });
    await create();
    expect(JSON.parse(sent)).toEqual({ name: 's', stateful: false, expires_at: '0001-01-01T00:00:00Z' });
  });

  test('a create that ended well and left nothing is not believed', async () => {
    fake.on(SNAPSHOT, missing).on(WAIT, op('Success'));
    expect(await codeOf(create())).toBe('OUTCOME_UNKNOWN');
  });

  test('a wait whose time is over is not a failure', async () => {
    fake.on(SNAPSHOT, inTurn(missing, present));
    fake.on(WAIT, inTurn(waitLies('context deadline exceeded'), op('Running'), op('Success'))).on(LOOK, op('Running'));
    await create();
    expect(fake.asked.filter((call) => WAIT.test(call))).toHaveLength(3);
  });

  test('a failure is believed when the operation itself says so', async () => {
    fake.on(SNAPSHOT, missing);
    fake.on(WAIT, waitLies('no space left on device')).on(LOOK, op('Failure', 'no space left on device'));
    expect(await codeOf(create())).toBe('STORAGE_FULL');
  });

  test('a success that a wait reports as an error is a success', async () => {
    fake.on(SNAPSHOT, inTurn(missing, present)).on(WAIT, waitLies('something')).on(LOOK, op('Success'));
    await create();
  });

  test('the failure in an answer that says sync is a failure', async () => {
    fake.on(SNAPSHOT, present).on(WAIT, op('Failure', 'forkmigrate: exit status 1'));
    expect(await codeOf(restore())).toBe('REJECTED');
  });

  test.each([
    ['from the wait', notFound, notFound],
    ['from the look after an error', waitLies('boom'), notFound],
  ])('an operation that is forgotten (%s) has an unknown outcome', async (_, wait, look) => {
    fake.on(SNAPSHOT, present).on(WAIT, wait).on(LOOK, look);
    expect(await codeOf(restore())).toBe('OUTCOME_UNKNOWN');
  });

  test('a connection that breaks while waiting is taken up again', async () => {
    fake
      .on(SNAPSHOT, present)
      .on(WAIT, inTurn(hangUp, hangUp, op('Success')))
      .on(LOOK, op('Running'));
    await restore();
  });

  test('a connection that breaks after the wish was sent has an unknown outcome, and nothing is sent twice', async () => {
    fake.on(SNAPSHOT, present).on(/^PUT /, hangUp);
    expect(await codeOf(restore())).toBe('OUTCOME_UNKNOWN');
    expect(fake.asked.filter((call) => call.startsWith('PUT'))).toHaveLength(1);
  });

  test('a refusal before anything was started is told as it is', async () => {
    fake
      .on(SNAPSHOT, present)
      .on(/^PUT /, sync(500, { type: 'error', error_code: 500, error: "Server isn't ready yet" }));
    expect(await codeOf(restore())).toBe('UNAVAILABLE');
  });

  test('a wish that one member lost while handing it on to another has an unknown outcome', async () => {
    const lost = { type: 'error', error_code: 500, error: 'Put "https://10.0.0.2:8443/1.0/instances/web-1": EOF' };
    fake.on(SNAPSHOT, present).on(/^PUT /, sync(500, lost));
    expect(await codeOf(restore())).toBe('OUTCOME_UNKNOWN');
  });

  test('the deadline is total: waiting ends with it, and the outcome is unknown', async () => {
    fake.on(SNAPSHOT, present).on(WAIT, () => undefined);
    const before = Date.now();
    expect(await codeOf(restore(deadline(300)))).toBe('OUTCOME_UNKNOWN');
    expect(Date.now() - before).toBeLessThan(2_000);
  });

  test('a read without an answer ends with its deadline as unavailable', async () => {
    fake.on(/^GET \/1\.0\/instances\/web-1\?/, () => undefined);
    expect(await codeOf(fake.engine.findInstance(ref.instance, deadline(200)))).toBe('UNAVAILABLE');
  });

  test.each([
    ['it was gone before', inTurn(missing), op('Success')],
    [
      'another delete was faster',
      inTurn(present, missing),
      op('Failure', 'A matching non-reusable operation has now succeeded'),
    ],
    ['the operation is forgotten', inTurn(present, missing), notFound],
  ])('a delete succeeds when %s', async (_, snapshot, wait) => {
    fake.on(SNAPSHOT, snapshot).on(WAIT, wait);
    await remove();
  });

  test('a delete whose operation is forgotten and whose snapshot is there has an unknown outcome', async () => {
    fake.on(SNAPSHOT, present).on(WAIT, notFound);
    expect(await codeOf(remove())).toBe('OUTCOME_UNKNOWN');
  });

  test('a rename whose operation is forgotten is proven by the two names', async () => {
    fake
      .on(SNAPSHOT, missing)
      .on(/^GET .*\/snapshots\/t\?/, inTurn(missing, present))
      .on(WAIT, notFound);
    await fake.engine.renameSnapshot(ref, 't', deadline());
  });

  test.each([
    ['create', create, /^POST /],
    ['restore', restore, /^PUT /],
    ['delete', remove, /^DELETE /],
    ['rename', () => fake.engine.renameSnapshot(ref, 't', deadline()), /^POST /],
  ])('a %s waits for what is at work on the instance already, and only for that', async (_, write, wish) => {
    const taking = (name: string, status: string, description = 'Snapshotting instance') => ({
      status,
      description,
      resources: { instances: [`/1.0/instances/${name}`] },
    });
    const others = { running: [taking('web-2', 'Running'), taking('web-1', 'Running', 'Executing command')], success: [taking('web-1', 'Success')] }; // prettier-ignore
    fake
      .on(SNAPSHOT, present)
      .on(/^GET .*\/snapshots\/t\?/, missing)
      .on(WAIT, op('Success'));
    fake.on(/^GET \/1\.0\/operations\?/, sync(200, { metadata: { ...others, pending: [taking('web-1', 'Pending')] } }));
    expect(await codeOf(write())).toBe('BUSY');
    // By its own schedule the engine takes and deletes snapshots of whichever instances in one operation that names none.
    for (const scheduled of ['Snapshotting instance', 'Cleaning up expired instance snapshots']) {
      const running = [{ status: 'Running', description: scheduled, resources: null }];
      fake.on(/^GET \/1\.0\/operations\?/, sync(200, { metadata: { ...others, running } }));
      expect(await codeOf(write())).toBe('BUSY');
    }
    expect(fake.asked.some((call) => wish.test(call))).toBe(false);

    fake.on(/^GET \/1\.0\/operations\?/, sync(200, { metadata: others }));
    await write().catch(() => undefined);
    expect(fake.asked.some((call) => wish.test(call))).toBe(write !== create);
  });

  test('names that wreck engines never reach the wire', async () => {
    for (const name of ['..', 'a%2Fb', '', 'a/../b']) {
      expect(await codeOf(fake.engine.createSnapshot({ ...ref, name }, { stateful: false }, deadline()))).toBe(
        'REJECTED',
      );
      expect(await codeOf(fake.engine.restoreSnapshot({ ...ref, name }, { memory: false }, deadline()))).toBe(
        'REJECTED',
      );
      expect(await codeOf(fake.engine.deleteSnapshot({ ...ref, name }, deadline()))).toBe('REJECTED');
    }
    expect(fake.asked).toEqual([]);
  });

  test('every part of a URL is escaped', async () => {
    const odd = { ...ref, instance: { ...ref.instance, name: 'é&x' }, name: 'a b' };
    expect(await fake.engine.findSnapshot(odd, deadline())).toBeNull();
    expect(fake.asked).toEqual(['GET /1.0/instances/%C3%A9%26x?project=default']);
  });
});

describe('long lists', () => {
  const fakes: FakeEngine[] = [];
  const open = async (): Promise<FakeEngine> => {
    const fake = await new FakeEngine().open();
    fakes.push(fake);
    return fake.on(/^GET \/1\.0\/projects\/default$/, sync(200, { metadata: { name: 'default' } }));
  };
  afterEach(() => Promise.all(fakes.splice(0).map((fake) => fake.close())));
  const LIST = /^GET \/1\.0\/instances\?recursion=2/;
  const long = Object.fromEntries(Array.from({ length: 14 }, (_, i) => [`volatile.note.${i}`, 'x'.repeat(40)]));
  const snapshots = ['a', 'b', 'c'].map((name) => ({ name, created_at: '2026-11-22T15:00:00Z', stateful: false, config: long, expanded_config: long })); // prettier-ignore

  test('ten thousand instances with three snapshots each pass through one by one', async () => {
    const fake = await open();
    const write = (response: ServerResponse, i = 0): void => {
      for (let n = i; n < 10_000; n += 1) {
        const one = JSON.stringify(instance({ name: `i-${n}`, snapshots }, { ...long, 'volatile.uuid': `u-${n}` }));
        if (!response.write(`${n === 0 ? '' : ','}${one}`)) {
          response.once('drain', () => write(response, n + 1));
          return;
        }
      }
      response.end(']}');
    };
    fake.on(LIST, (_, response) => {
      response.write('{"type":"sync","status_code":200,"metadata":[');
      write(response);
    });
    const before = process.memoryUsage().rss;
    let peak = before;
    let count = 0;
    const uids = new Set<string>();
    for await (const facts of fake.engine.instances(deadline(30_000))) {
      uids.add(facts.uid);
      count += facts.snapshots.length;
      if (uids.size % 200 === 0) peak = Math.max(peak, process.memoryUsage().rss);
    }
    const grownMb = (peak - before) / 2 ** 20;
    expect([uids.size, count]).toEqual([10_000, 30_000]);
    expect(grownMb).toBeLessThan(200);
  }, 40_000);

  test.each([
    ['that breaks off', '{"type":"sync","metadata":[{"name":"a","config":{"volatile.uuid":"u"}},{"na', true],
    ['that ends too soon', '{"type":"sync","metadata":[{"name":"a","config":{"volatile.uuid":"u"}}', false],
    ['of null', '{"type":"sync","metadata":null}', false],
    ['that is none', '{"type":"sync"}', false],
    ['with a stub of a member that is away', '{"metadata":[{"name":"a","config":null,"snapshots":null}]}', false],
  ])('a list %s is an error, never a shorter list', async (_, text, breaks) => {
    const fake = await open();
    fake.on(LIST, (request, response) => {
      response.writeHead(200);
      response.write(text, () => (breaks ? request.socket.destroy() : response.end()));
    });
    const all = async (): Promise<void> => {
      for await (const facts of fake.engine.instances(deadline())) expect(facts.name).toBe('a');
    };
    expect(await codeOf(all())).toBe('UNAVAILABLE');
  });

  test('whoever stops listening early closes the stream', async () => {
    const fake = await open();
    let closed = false;
    fake.on(LIST, (_, response) => {
      response.on('close', () => (closed = true));
      response.write(`{"metadata":[${JSON.stringify(instance())},`);
    });
    for await (const facts of fake.engine.instances(deadline())) {
      expect(facts.name).toBe('web-1');
      break;
    }
    await until(() => closed, 2_000, 'the stream to be closed');
  });
});

describe('the event stream', () => {
  let fake: FakeEngine;
  let events: WebSocketServer;
  beforeEach(async () => {
    fake = await new FakeEngine().open();
    events = new WebSocketServer({ server: fake.server, path: '/1.0/events', autoPong: false });
  });
  afterEach(async () => {
    for (const client of events.clients) client.terminate();
    events.close();
    await fake.close();
  });
  const started = {
    type: 'lifecycle',
    project: 'default',
    metadata: { action: 'instance-started', source: '/1.0/instances/a' },
  };

  test('says to look everywhere when it begins, tells of what happens, and ends with its signal', async () => {
    const hints: Hint[] = [];
    const stop = new AbortController();
    events.on('connection', (socket) => {
      socket.send('not json');
      socket.send(JSON.stringify(started));
    });
    const watching = fake.engine.watch((hint) => hints.push(hint), stop.signal);
    await until(() => hints.length === 2, 3_000, 'two hints');
    expect(hints).toEqual(expect.arrayContaining([null, { project: 'default', name: 'a' }]));
    stop.abort();
    await watching;
    await until(() => events.clients.size === 0, 3_000, 'the stream to be closed');
  });

  test('is unavailable when it is lost, so that somebody looks', async () => {
    events.on('connection', (socket) => socket.terminate());
    expect(await codeOf(fake.engine.watch(() => undefined, deadline()))).toBe('UNAVAILABLE');
  });

  test('a peer that is silent is noticed as lost', async () => {
    const before = Date.now();
    expect(await codeOf(fake.engine.watch(() => undefined, deadline(25_000)))).toBe('UNAVAILABLE');
    expect(Date.now() - before).toBeLessThan(18_000);
  });

  test('a refusal of the engine is told as it is', async () => {
    events.close();
    expect(await codeOf(fake.engine.watch(() => undefined, deadline()))).toBe('NOT_FOUND');
  });

  test('an error of whoever listens is theirs, and ends the watch', async () => {
    const watching = fake.engine.watch(() => {
      throw new TypeError('mine');
    }, deadline());
    await expect(watching).rejects.toThrow('mine');
  });

  test('closing the driver ends the watch', async () => {
    const hints: Hint[] = [];
    const watching = fake.engine.watch((hint) => hints.push(hint), deadline());
    await until(() => hints.length === 1, 3_000, 'the stream to be open');
    await fake.engine.close();
    await watching;
    expect(await codeOf(fake.engine.describe(deadline()))).toBe('UNAVAILABLE');
  });
});
