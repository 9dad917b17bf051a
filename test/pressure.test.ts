/** More to do than the process can: what would only wait is refused at once, and only that, and only as long as that. */
import fs from 'node:fs';
import { get } from 'node:http';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { instanceId } from './support/stories';
import { until } from './support/until';

const VIEWER = '{ viewer { role } }';
let app: TestApp;
let ops: TestClient;
const undo: (() => Promise<unknown>)[] = [];

/** What the program wrote to its log, line by line. */
const log: { correlationId?: string; refused?: number }[] = [];
const realWrite = fs.writeSync.bind(fs);

beforeAll(async () => {
  jest.spyOn(fs, 'writeSync').mockImplementation((fd: number, data: any) => {
    if (fd !== 2) return realWrite(fd, data);
    for (const line of String(data).split('\n').filter(Boolean)) log.push(JSON.parse(line));
    return Buffer.byteLength(data);
  });
  app = await startTestApp({ env: { DATABASE_POOL_SIZE: '4', LOG_LEVEL: 'error' } });
  ops = await app.as('ops');
});
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
  await until(async () => (await ops.send(VIEWER)).status === 200, 10_000, 'an answer as always');
});
afterAll(async () => {
  await app.stop();
  jest.restoreAllMocks();
});

/** Takes every connection of the pool, until it is released. */
async function exhaustPool(): Promise<void> {
  const held = Array.from({ length: 4 }, () => app.db.createQueryRunner());
  undo.push(() => Promise.all(held.map((each) => each.release())));
  for (const each of held) await each.connect();
}

/** Leaves the event loop little time between long tasks. */
function blockLoop(): Promise<void> {
  const blocking = setInterval(() => {
    const end = Date.now() + 150;
    while (Date.now() < end);
  }, 1);
  undo.push(() => {
    clearInterval(blocking);
    return Promise.resolve();
  });
  return Promise.resolve();
}

const metric = async (name: string): Promise<number> => {
  const text = await (await fetch(`${app.url}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
};

test('a single long task refuses nobody', async () => {
  const before = await metric('keyframe_requests_refused_total');
  const answers = Array.from({ length: 20 }, () => ops.send(VIEWER));
  const end = Date.now() + 400;
  while (Date.now() < end);
  for (const { status } of await Promise.all(answers)) expect(status).toBe(200);
  expect(await metric('keyframe_requests_refused_total')).toBe(before);
});

describe.each([
  ['no connection of the database is to be had', exhaustPool],
  ['the event loop is never free', blockLoop],
])('while %s', (_, overload) => {
  test('a request is refused with a code, an id and when to try again, and health is not', async () => {
    const before = await metric('keyframe_requests_refused_total');
    await overload();
    const ask = () =>
      fetch(`${app.url}/graphql?query=%7BapiInfo%7Bversion%7D%7D`, { headers: { 'apollo-require-preflight': '1' } });
    const answers = Array.from({ length: 60 }, ask);
    const refused = await Promise.any(
      answers.map(async (answer) => {
        const response = await answer;
        if (response.status !== 503) throw new Error('it was answered');
        return response;
      }),
    );
    expect(refused.headers.get('retry-after')).toBe('1');
    expect(refused.headers.get('content-type')).toBe('application/json; charset=utf-8');
    const { errors, data } = (await refused.json()) as any;
    expect(data).toBeUndefined();
    expect(errors).toEqual([
      {
        message: expect.any(String),
        extensions: { code: 'SERVICE_UNAVAILABLE', correlationId: expect.stringMatching(/^[0-9a-f-]{36}$/) },
      },
    ]);
    const { correlationId } = errors[0].extensions;
    const line = await until(
      () => log.find((each) => each.correlationId === correlationId),
      10_000,
      'a line in the log',
    );
    expect(line.refused).toBeGreaterThan(0);
    expect((await fetch(`${app.url}/health/live`)).status).toBe(200);
    expect(await metric('keyframe_requests_refused_total')).toBeGreaterThan(before);
    for (const step of undo.splice(0)) await step();
    await Promise.all(answers); // each of them is answered, one way or the other
  });
});

test.each(['/graphql/', '/%67raphql', '/graphql#x', 'http://any.test/graphql'])('%s is no way around it', async (path) => {
  const ask = (): Promise<number | undefined> =>
    new Promise((done, fail) => {
      const separator = path.includes('#') ? '' : '?query=%7Bviewer%7Brole%7D%7D';
      const { hostname, port } = new URL(app.url);
      const headers = { 'apollo-require-preflight': '1', authorization: `Bearer ${ops.token}` };
      get({ hostname, port, path: `${path}${separator}`, headers }, (response) => {
        response.resume().once('end', () => done(response.statusCode));
      }).once('error', fail);
    });
  expect(await ask()).not.toBe(404);
  await exhaustPool();
  const waiting = ops.send(VIEWER);
  await until(() => (app.db.driver as any).master.waitingCount > 0);
  expect(await ask()).toBe(503);
  for (const step of undo.splice(0)) await step();
  await waiting;
}); // prettier-ignore

test('over WebSocket and as event stream an operation is refused too, and what streams already goes on', async () => {
  const id = await instanceId(ops, 'web-1');
  const socket = ops.socket();
  undo.push(() => Promise.resolve(socket.dispose()));
  const query = 'subscription ($id: ID!) { instanceUpdated(id: $id) { name } }';
  const running = socket.iterate({ query, variables: { id } });
  await running.next();
  await exhaustPool();
  const unavailable = [
    expect.objectContaining({ extensions: expect.objectContaining({ code: 'SERVICE_UNAVAILABLE' }) }),
  ];
  const waiting = ops.send(VIEWER); // has had its turn, and waits for a connection
  await until(() => (app.db.driver as any).master.waitingCount > 0);
  await expect(socket.iterate({ query: VIEWER }).next()).rejects.toEqual(unavailable);
  const stream = await ops.send(query, { id }, { accept: 'text/event-stream' });
  expect(stream).toMatchObject({ status: 503, errors: unavailable });
  for (const step of undo.splice(1)) await step();
  expect(await waiting).toMatchObject({ status: 200 });
  const next = running.next();
  await app.db.query(`select pg_notify('keyframe', 'instance:' || id) from instances where name = 'web-1'`);
  expect(await next).toMatchObject({ value: { data: { instanceUpdated: { name: 'web-1' } } } });
});
