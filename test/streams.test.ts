import type { Client } from 'graphql-ws';
import { WebSocket } from 'ws';
import { Events } from '../src/db/events';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { buildInstance, hold, missingId, uuidOf } from './support/rows';
import { sse, sseAll } from './support/sse';
import { ask, done, instanceId } from './support/stories';
import { until } from './support/until';

let app: TestApp;
let ops: TestClient;
let alice: TestClient;
const sockets: Client[] = [];

/** How often somebody listens to changes at this moment: what a client that left must not do. */
let listening = 0;
const realOn: (this: Events, ...args: Parameters<Events['on']>) => () => void = Reflect.get(Events.prototype, 'on');
beforeAll(async () => {
  Events.prototype.on = function (...args) {
    const off = realOn.apply(this, args);
    listening++;
    return () => {
      listening--;
      off();
    };
  };
  app = await startTestApp();
  ops = await app.as('ops');
  alice = await app.as('alice');
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) await socket.dispose();
  await until(() => listening === 0, 5000, 'the end of all listening');
});
afterAll(async () => {
  Events.prototype.on = realOn;
  await app.stop();
});

const OPERATION =
  'subscription ($id: ID!) { operationUpdated(id: $id) { id status done waitingReason steps { name status } snapshot { status } } }';
const INSTANCE = `subscription ($id: ID!) { instanceUpdated(id: $id) { id status activeOperation { id status }
  snapshots { nodes { name status } } } }`;

/** Each transport as the same thing: results, one after another. */
const TRANSPORTS: Record<string, (as: TestClient, query: string, variables?: object) => AsyncGenerator<any, void>> = {
  WebSocket: async function* (as, query, variables = {}) {
    const socket = as.socket();
    sockets.push(socket);
    yield* socket.iterate({ query, variables: { ...variables } });
  },
  'server-sent events': async function* (as, query, variables = {}) {
    for await (const { event, data } of sse(as, query, variables)) if (event === 'next') yield data;
  },
}; // prettier-ignore

async function all(results: AsyncGenerator<any, void>): Promise<any[]> {
  const seen = [];
  for await (const result of results) seen.push(result);
  return seen;
}

/** The errors of a request that is refused: thrown over WebSocket, a result over server-sent events. */
async function refusal(results: AsyncGenerator<any, void>): Promise<any[]> {
  try {
    const seen = await all(results);
    expect(seen).toEqual([{ errors: expect.any(Array) }]);
    return seen[0].errors;
  } catch (error) {
    if (Array.isArray(error)) return error;
    throw error;
  }
}

describe.each(Object.entries(TRANSPORTS))('over %s', (_, open) => {
  test('an operation is shown as it is, then after every change, and the stream ends when it is done', async () => {
    const instance = await buildInstance(app);
    const { id } = await hold(app, instance);
    const changed = (set: string) => app.db.query(`update operations set ${set} where id = $1`, [uuidOf(id)]);
    const results = open(ops, OPERATION, { id });
    const next = async () => (await results.next()).value?.data.operationUpdated;
    expect(await next()).toMatchObject({ id, status: 'QUEUED', done: false, waitingReason: null });
    await changed(`waiting_reason = 'The engine is away.'`);
    expect(await next()).toMatchObject({ status: 'QUEUED', waitingReason: 'The engine is away.' });
    await changed(`waiting_reason = null, status = 'RUNNING', started_at = now()`);
    expect(await next()).toMatchObject({ status: 'RUNNING', waitingReason: null });
    await changed(`status = 'FAILED', finished_at = now()`);
    expect(await next()).toMatchObject({ status: 'FAILED', done: true });
    expect(await results.next()).toMatchObject({ done: true });
  });

  test('the work of a worker arrives, and an operation that has ended is one event', async () => {
    const instance = await instanceId(ops, 'cache-1');
    const name = `followed-${Date.now()}`;
    const { operation } = await ask(ops, 'createSnapshot', { instanceId: instance, name });
    const seen = (await all(open(ops, OPERATION, { id: operation.id }))).map(({ data }) => data.operationUpdated);
    expect(seen.at(-1)).toMatchObject({ status: 'SUCCEEDED', done: true, snapshot: { status: 'AVAILABLE' } });
    expect(seen.filter((each) => each.done)).toHaveLength(1);
    const counts = seen.map(({ steps }) => steps.length);
    expect(counts).toEqual([...counts].sort());
    expect(await all(open(ops, OPERATION, { id: operation.id }))).toHaveLength(1);
  });

  test('an instance is shown as it is, then whenever it, its snapshots or its work change', async () => {
    const id = await instanceId(alice, 'new-1');
    const results = open(alice, INSTANCE, { id });
    const untilSeen = async (fits: (instance: any) => boolean) => {
      for (;;) {
        const { value, done: over } = await results.next();
        if (over) throw new Error('the stream has ended');
        if (fits(value.data.instanceUpdated)) return value.data.instanceUpdated;
      }
    };
    expect((await results.next()).value.data.instanceUpdated).toMatchObject({ id, status: 'RUNNING', activeOperation: null }); // prettier-ignore
    const { operation, snapshot } = await ask(ops, 'createSnapshot', { instanceId: id, name: 'seen' });
    await untilSeen(({ activeOperation }) => activeOperation?.id === operation.id);
    await untilSeen(({ activeOperation, snapshots }) => !activeOperation && snapshots.nodes[0]?.status === 'AVAILABLE');
    await done(ops, 'restoreSnapshot', { snapshotId: snapshot.id });
    await done(ops, 'deleteSnapshot', { snapshotId: snapshot.id });
    await untilSeen(({ snapshots, activeOperation }) => snapshots.nodes.length === 0 && !activeOperation);
    await app.local.stop({ project: 'default', name: 'new-1' });
    await untilSeen(({ status }) => status === 'STOPPED');
    await app.local.start({ project: 'default', name: 'new-1' });
    await untilSeen(({ status }) => status === 'RUNNING');
    await results.return();
  });

  test('what is hidden, missing or no id at all completes at once without an event', async () => {
    const hidden = await instanceId(ops, 'build-1');
    const held = await hold(app, hidden);
    for (const id of [hidden, missingId('Instance'), 'nonsense', '']) {
      expect([id, await all(open(alice, INSTANCE, { id }))]).toEqual([id, []]);
    }
    for (const id of [held.id, missingId('Operation'), hidden, 'nonsense']) {
      expect([id, await all(open(alice, OPERATION, { id }))]).toEqual([id, []]);
    }
    await held.release();
  });

  test('an instance that is taken from its user ends the stream, which says why and whom to ask', async () => {
    const id = await instanceId(ops, 'db-1');
    const results = open(alice, INSTANCE, { id });
    await results.next();
    const admin = await app.as('admin');
    const { viewer } = await alice.query('{ viewer { id } }');
    const change = (mutation: string) =>
      admin.query(`mutation ($input: ${mutation}Input!) { ${mutation[0]?.toLowerCase()}${mutation.slice(1)}(input: $input) { userErrors { code } } }`, { input: { userId: viewer.id, instanceId: id } }); // prettier-ignore
    await change('UnassignInstance');
    const [last, ...more] = await all(results);
    expect(more).toEqual([]);
    expect(last).toEqual({ errors: [{ message: 'You may no longer see this; an administrator can give it back to you. Write to help@keyframe.test.',
      extensions: { code: 'FORBIDDEN', contact: 'Write to help@keyframe.test', correlationId: expect.stringMatching(/./) } }] }); // prettier-ignore
    await change('AssignInstance');
  });

  test('an operation whose instance is taken ends with FORBIDDEN as well; one that is gone just ends', async () => {
    const admin = await app.as('admin');
    const { viewer } = await alice.query('{ viewer { id } }');
    const instance = await buildInstance(app);
    const input = { userId: viewer.id, instanceId: instance };
    const change = (mutation: string, type: string) =>
      admin.query(`mutation ($input: ${type}!) { ${mutation}(input: $input) { userErrors { code } } }`, { input });
    await change('assignInstance', 'AssignInstanceInput');
    const held = await hold(app, instance);
    const [taken, gone] = [open(alice, OPERATION, { id: held.id }), open(ops, OPERATION, { id: held.id })];
    for (const each of [taken, gone]) expect(await each.next()).toMatchObject({ value: { data: expect.anything() } });
    await change('unassignInstance', 'UnassignInstanceInput');
    expect(await all(taken)).toMatchObject([
      { errors: [{ extensions: { code: 'FORBIDDEN', contact: 'Write to help@keyframe.test' } }] },
    ]);
    await held.release();
    expect(await all(gone)).toEqual([]);
  });

  test('a request that is refused says why, with a code and a correlation id', async () => {
    const cases: [TestClient, string, object, string][] = [
      [ops, 'subscription { operationUpdated(id: "x") { idd } }', {}, 'GRAPHQL_VALIDATION_FAILED'],
      [ops, 'subscription { operationUpdated(id: ', {}, 'GRAPHQL_PARSE_FAILED'],
      [ops, OPERATION, {}, 'BAD_USER_INPUT'],
      [app.anonymous, OPERATION, { id: 'x' }, 'UNAUTHENTICATED'],
      [app.anonymous, '{ viewer { id } }', {}, 'UNAUTHENTICATED'],
      [alice, 'mutation { deleteSnapshot(input: { snapshotId: "x" }) { userErrors { code } } }', {}, 'FORBIDDEN'],
    ];
    for (const [as, query, variables, code] of cases) {
      const [error] = await refusal(open(as, query, variables));
      expect([query, error.extensions.code]).toEqual([query, code]);
      expect(error.extensions.correlationId).toMatch(/^[0-9a-f-]{36}$/);
      expect(error.message).not.toMatch(/did you mean/i);
    }
  });

  test('queries and mutations are answered once, and public fields need no token', async () => {
    expect(await all(open(ops, '{ viewer { role } }'))).toEqual([{ data: { viewer: { role: 'OPERATIONS' } } }]);
    expect(await all(open(app.anonymous, '{ apiInfo { engine { kind } } }'))).toEqual([{ data: { apiInfo: { engine: { kind: 'LOCAL' } } } }]); // prettier-ignore
    const [{ data }] = await all(open(ops, 'mutation { deleteSnapshot(input: { snapshotId: "x" }) { userErrors { code } } }')); // prettier-ignore
    expect(data).toEqual({ deleteSnapshot: { userErrors: [{ code: 'NOT_FOUND' }] } });
  });
});

describe('a client that goes away leaves nobody listening', () => {
  test('by closing its socket, by completing its subscriptions, or by breaking off', async () => {
    const id = await instanceId(ops, 'web-1');
    const before = listening;
    const socket = ops.socket();
    const streams = Array.from({ length: 20 }, () => socket.iterate({ query: INSTANCE, variables: { id } }));
    for (const stream of streams) await stream.next();
    expect(listening).toBeGreaterThanOrEqual(before + 20);
    for (const stream of streams.splice(0, 10)) await stream.return?.();
    await until(() => listening <= before + 11, 5000, 'ten of them to end');
    await socket.dispose();
    await until(() => listening === before, 5000, 'all of them to end');

    const leaving = new AbortController();
    const events = Array.from({ length: 10 }, () => sse(ops, INSTANCE, { id }, leaving.signal));
    for (const each of events) await each.next();
    expect(listening).toBeGreaterThanOrEqual(before + 10);
    leaving.abort();
    await Promise.allSettled(events.map((each) => each.next()));
    await until(() => listening === before, 5000, 'the events to end');
  });

  test('a connection cut without a word is noticed as well', async () => {
    const id = await instanceId(ops, 'web-1');
    const raw = new WebSocket(`${app.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
    const say = (message: object) => raw.send(JSON.stringify(message));
    const heard: string[] = [];
    raw.on('message', (data: Buffer) => heard.push(JSON.parse(data.toString()).type));
    raw.on('open', () => say({ type: 'connection_init', payload: { authorization: `Bearer ${ops.token}` } }));
    await until(() => heard.includes('connection_ack'));
    say({ id: '1', type: 'subscribe', payload: { query: INSTANCE, variables: { id } } });
    await until(() => heard.includes('next'));
    expect(listening).toBeGreaterThan(0);
    raw.terminate();
    await until(() => listening === 0, 5000, 'the end of its listening');
  });
});

test.each([
  ['another protocol', 'graphql-ws', null, 4406],
  ['no JSON', 'graphql-transport-ws', 'hello', 4400],
  ['a subscription before the greeting', 'graphql-transport-ws', JSON.stringify({ id: '1', type: 'subscribe', payload: { query: '{ apiInfo { version } }' } }), 4401],
])('a socket that speaks %s is closed with the code of the protocol', async (_, protocol, message, code) => {
  const raw = new WebSocket(`${app.url.replace('http', 'ws')}/graphql`, protocol);
  const closed = new Promise<number | string>((resolve) => {
    raw.on('close', resolve);
    raw.on('error', ({ message: why }) => resolve(why));
  });
  if (message) raw.on('open', () => raw.send(message));
  const seen = await closed;
  // The client's library refuses by itself a handshake that agrees on no protocol.
  if (typeof seen === 'number') expect(seen).toBe(code);
  else expect(seen).toContain('subprotocol');
}); // prettier-ignore

test('an event stream of an operation ends with a completion', async () => {
  expect((await sseAll(ops, '{ viewer { role } }')).map(({ event }) => event)).toEqual(['next', 'complete']);
  expect((await sseAll(alice, INSTANCE, { id: 'x' })).map(({ event }) => event)).toEqual(['complete']);
});
