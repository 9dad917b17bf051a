/** How often one account or address may ask, and how much it may hold open: the same on every transport and process. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { NOBODY, type Caller, type Origin } from '../src/auth/actor';
import { BAD_TOKENS_PER_MINUTE } from '../src/auth/sign-in-limit';
import { Usage } from '../src/auth/usage';
import { RateLimits } from '../src/endpoint/rate-limits';
import { Role, UserStatus } from '../src/entities/enums';
import { startTestApp, TestClient, type TestApp } from './support/app';
import { createDatabase, type TestDatabase } from './support/database';
import { sse } from './support/sse';
import { until } from './support/until';

const LIMIT = 30;
const VIEWER = '{ viewer { id } }';

let database: TestDatabase;
let app: TestApp;
/** Another process on the same database. */
let other: TestApp;

beforeAll(async () => {
  database = await createDatabase();
  const env = {
    JWT_SECRET: randomBytes(32).toString('hex'),
    TRUST_PROXY: '1',
    RATE_LIMIT_PER_MINUTE_ACCOUNT: String(LIMIT),
    RATE_LIMIT_PER_MINUTE_ADDRESS: String(2 * LIMIT),
    OPEN_STREAMS_PER_ACCOUNT: '2',
    OPEN_STREAMS_PER_ADDRESS: '4',
  };
  app = await startTestApp({ database, env });
  other = await startTestApp({ database, env, demo: false });
});
afterAll(async () => {
  await app.stop();
  await other.stop();
  await database.drop();
});

/** What each test asks from. */
let places = 0;
const somewhere = () => ({ 'x-forwarded-for': `198.51.100.${(places += 1)}` });

const refusal = {
  status: 429,
  errors: [
    {
      message: expect.stringMatching(/^Too many .* Try again in \d+ seconds\.$/),
      extensions: {
        code: 'RATE_LIMITED',
        retryAfterSeconds: expect.any(Number),
        correlationId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      },
    },
  ],
};

test('an account that has asked too often is refused on every transport and process, and nobody else is', async () => {
  const [ops, bob] = [await app.as('ops'), await app.as('bob')];
  for (let n = 0; n < LIMIT; n += 1) expect((await ops.send(VIEWER, {}, somewhere())).status).toBe(200);
  expect(await ops.send(VIEWER, {}, somewhere())).toEqual(refusal);
  expect((await bob.send(VIEWER, {}, somewhere())).status).toBe(200);

  const response = await fetch(`${app.url}/graphql`, {
    method: 'POST',
    headers: { ...somewhere(), 'content-type': 'application/json', authorization: `Bearer ${ops.token ?? ''}` },
    body: JSON.stringify({ query: VIEWER }),
  });
  const body = (await response.json()) as any;
  expect(response.status).toBe(429);
  expect(Number(response.headers.get('retry-after'))).toBe(body.errors[0].extensions.retryAfterSeconds);
  expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
  expect(response.headers.get('x-content-type-options')).toBe('nosniff');

  const events = sse(ops, 'subscription { operationUpdated(id: "x") { id } }');
  await expect(events.next()).rejects.toThrow(/^429 application\/json.*RATE_LIMITED/);

  const socket = ops.socket();
  const answers = socket.iterate({ query: VIEWER });
  await expect(answers.next()).rejects.toMatchObject([{ extensions: { code: 'RATE_LIMITED' } }]);
  await socket.dispose();

  // The other process has been asked by nobody yet, and is told before it could count as many itself.
  const there = new TestClient(other.url, ops.token, null);
  expect((await there.send(VIEWER, {}, somewhere())).status).toBe(200);
  await until(async () => {
    const [{ used }] = await app.db.query(
      `select sum(used)::int as used from request_counts where key like 'account %'`,
    );
    return used > LIMIT;
  });
  let passed = 0;
  // Slower than it would take to count as many by itself before the next exchange.
  await until(async () => {
    if ((await there.send(VIEWER, {}, somewhere())).status === 429) return true;
    passed += 1;
    await sleep(200);
    return false;
  });
  expect(passed).toBeLessThan(LIMIT / 2);
  expect((await new TestClient(other.url, bob.token, null).send(VIEWER, {}, somewhere())).status).toBe(200);
});

test('an address that asks too often is refused without an account too, and its neighbours are not', async () => {
  const [here, there] = [somewhere(), somewhere()];
  const ask = (from: Record<string, string>) => app.anonymous.send('{ apiInfo { version } }', {}, from);
  for (let n = 0; n < 2 * LIMIT; n += 1) expect((await ask(here)).status).toBe(200);
  expect(await ask(here)).toEqual(refusal);
  expect((await ask(there)).status).toBe(200);
});

test('sockets and event streams are bounded by account, and one that ends makes room', async () => {
  const alice = await app.as('alice');
  const held = [await openSocket(alice), await openSocket(alice)];
  await expect(openSocket(alice)).rejects.toThrow('closed with 4429');
  const events = sse(alice, 'subscription { operationUpdated(id: "x") { id } }');
  await expect(events.next()).rejects.toThrow(/^429 .*sockets and event streams/);

  for (const socket of held) socket.close();
  await until(async () => {
    const again = sse(alice, 'subscription { operationUpdated(id: "x") { id } }');
    return again.next().then(
      () => true,
      () => false,
    );
  });
});

/** A socket of this person that is kept open. */
async function openSocket({ url, token }: TestClient, headers = somewhere()): Promise<WebSocket> {
  const socket = new WebSocket(`${url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws', { headers });
  await once(socket, 'open');
  const closed = once(socket, 'close').then(([code]) => {
    throw new Error(`closed with ${code}`);
  });
  socket.send(JSON.stringify({ type: 'connection_init', payload: token ? { authorization: `Bearer ${token}` } : {} }));
  await Promise.race([closed, once(socket, 'message')]);
  closed.catch(() => undefined); // later it is the test that closes it
  return socket;
}

test('sockets are bounded by address before anything is said on them', async () => {
  const here = somewhere();
  const held = await Promise.all([1, 2, 3, 4].map(() => openSocket(app.anonymous, here)));
  await expect(openSocket(app.anonymous, here)).rejects.toThrow('429');
  held[0]?.close();
  const again = await until(() => openSocket(app.anonymous, here).catch(() => null));
  for (const socket of [...held, again]) socket.close();
});

test('every limit is published', async () => {
  const fields = 'requestsPerMinutePerAccount requestsPerMinutePerToken requestsPerMinutePerAddress openStreamsPerAccount openStreamsPerAddress failedSignInsPerAccount failedSignInsPerAddress badTokensPerMinutePerAddress'; // prettier-ignore
  const { data } = await app.anonymous.send(`{ apiInfo { limits { ${fields} } } }`, {}, somewhere());
  expect(data.apiInfo.limits).toEqual({
    requestsPerMinutePerAccount: LIMIT,
    requestsPerMinutePerToken: 300_000,
    requestsPerMinutePerAddress: 2 * LIMIT,
    openStreamsPerAccount: 2,
    openStreamsPerAddress: 4,
    failedSignInsPerAccount: 10,
    failedSignInsPerAddress: 30,
    badTokensPerMinutePerAddress: BAD_TOKENS_PER_MINUTE,
  });
});

describe('counting', () => {
  let now = 60_000_000;
  const usage = () => new Usage(() => now);
  const minute = 60_000;
  beforeEach(() => (now = 60_000_000));

  test('never lets more than the limit through in a minute, wherever the minute begins', () => {
    const [counted, passed] = [usage(), [] as number[]];
    for (let n = 0; n < 6000; n += 1) {
      now += 50;
      if (counted.take('key', 100) === null) passed.push(now);
    }
    const most = Math.max(...passed.map((at) => passed.filter((t) => t > at - minute && t <= at).length));
    expect(most).toBeLessThanOrEqual(110); // the minute before is taken for evenly spread
    expect(passed.length).toBeGreaterThan(400);
  });

  test.each([1, 10, 100])('whoever waits as long as they are told gets through: %i a minute', (limit) => {
    const counted = usage();
    for (let round = 0; round < 20; round += 1) {
      now += 7919;
      for (let n = 0; n <= limit; n += 1) {
        const wait = counted.take('key', limit);
        if (wait === null) continue;
        now += wait * 1000;
        expect(counted.take('key', limit)).toBeNull();
        break;
      }
    }
  });

  test('strangers with many addresses do not fill the memory: the oldest are forgotten', () => {
    const counted = usage();
    expect([counted.take('first', 1), counted.take('first', 1)]).toEqual([null, expect.any(Number)]);
    for (let n = 0; n < 50_000; n += 1) counted.take(`stranger ${n}`, 1);
    expect(counted.take('first', 1)).toBeNull();
  });
});

describe('refusing', () => {
  const somebody: Caller = {
    actor: {
      userId: 'u',
      credential: { kind: 'SESSION', id: 's', instanceIds: null },
      role: Role.USER,
      status: UserStatus.ACTIVE,
    },
    badToken: false,
  };
  const home: Origin = { address: '192.0.2.1', client: null };
  const settings = { requestsPerMinute: { account: 3, token: 2, address: 0 }, openStreams: { account: 0, address: 0 } };

  test('is one line in the log for each key and second, however many it meets', () => {
    const lines: object[] = [];
    const limits = new RateLimits(settings, new Usage(), (_level, what) => lines.push(what));
    const told = Array.from({ length: 1000 }, () => limits.ofCaller(somebody, home)?.errors[0]?.extensions);
    expect(told.filter(Boolean)).toHaveLength(997);
    expect(lines.length).toBeLessThanOrEqual(2); // a second may have ended meanwhile
    expect(lines[0]).toMatchObject({ ...told[3], kind: 'account', who: 'u' });
  });

  test('an API token has a limit of its own, and 0 is none', () => {
    const limits = new RateLimits(settings, new Usage(), () => undefined);
    const credential = { kind: 'API_TOKEN', id: 't', instanceIds: null };
    const token = { ...somebody, actor: { ...somebody.actor, credential } } as Caller;
    expect([1, 2, 3].map(() => limits.ofCaller(token, home) === null)).toEqual([true, true, false]);
    expect(limits.ofCaller(somebody, home)).toBeNull();
    expect(Array.from({ length: 1000 }, () => limits.ofAddress(home)).every((each) => each === null)).toBe(true);
  });

  test('tokens that are no good are bounded by address, without an account to count them against', () => {
    const limits = new RateLimits(settings, new Usage(), () => undefined);
    const bad = { actor: null, badToken: true };
    const told = Array.from({ length: BAD_TOKENS_PER_MINUTE + 1 }, () => limits.ofCaller(bad, home) === null);
    expect(told.indexOf(false)).toBe(BAD_TOKENS_PER_MINUTE);
    expect(limits.ofCaller(NOBODY, home)).toBeNull();
  });
});
