/** What a client does with bytes, headers, sockets and time harms nobody else, and browsers are told what they may do. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { getIntrospectionQuery } from 'graphql';
import { WebSocket } from 'ws';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { until } from './support/until';

const ORIGIN = 'https://console.example.com';
let app: TestApp;
let ops: TestClient;
beforeAll(async () => {
  app = await startTestApp({ env: { CORS_ORIGINS: ORIGIN, MAX_SOCKET_OPERATIONS: '5', REQUEST_TIMEOUT_SECONDS: '2' } });
  ops = await app.as('ops');
});
afterAll(() => app.stop());

const VIEWER = '{ viewer { role } }';

function post(body: string | Buffer, headers: Record<string, string> = {}): Promise<Response> {
  const all = { 'content-type': 'application/json', authorization: `Bearer ${ops.token}`, ...headers };
  return fetch(`${app.url}/graphql`, { method: 'POST', headers: all, body });
}

/** A socket of our own making, greeted. */
async function greeted(): Promise<WebSocket> {
  const socket = new WebSocket(`${app.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
  socket.on('error', () => undefined);
  await once(socket, 'open');
  socket.send(JSON.stringify({ type: 'connection_init', payload: { authorization: `Bearer ${ops.token}` } }));
  await once(socket, 'message');
  return socket;
}

describe('bytes', () => {
  test.each(['application/json', 'text/event-stream'])('a body of 1 MB or 5 MB is refused (%s)', async (accept) => {
    for (const bytes of [1_000_000, 5_000_000]) {
      // Answered by its head alone: whoever goes on sending finds the connection closed.
      const socket = connect(Number(new URL(app.url).port), '127.0.0.1');
      socket.on('error', () => undefined);
      socket.write(
        `POST /graphql HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAccept: ${accept}\r\nContent-Length: ${bytes}\r\n\r\n{"query":`,
      );
      let answer = '';
      for await (const part of socket) answer += String(part);
      expect(answer).toMatch(/^HTTP\/1.1 413 [^]*"BAD_REQUEST"/);
    }
  });

  test.each([
    ['of 1 MB', 'x'.repeat(1_000_000), 1009],
    ['that is binary', Buffer.from('{}'), 1003],
  ])('a message %s closes its socket', async (_, message, code) => {
    const socket = await greeted();
    socket.send(message);
    expect((await once(socket, 'close'))[0]).toBe(code);
  });

  test('a text that is not UTF-8 is refused, not guessed at', async () => {
    const body = Buffer.concat([Buffer.from('{"query":"{ node(id: \\"'), Buffer.from([0xc3, 0x28]), Buffer.from('\\") { id } }"}')]); // prettier-ignore
    for (const accept of ['application/json', 'text/event-stream']) {
      const response = await post(body, { accept });
      expect([response.status, await response.json()]).toEqual([
        400,
        { errors: [{ message: 'The body is not UTF-8.', extensions: { code: 'BAD_REQUEST', correlationId: expect.any(String) } }] },
      ]); // prettier-ignore
    }
  });

  test('headers without end are refused', async () => {
    const socket = connect(Number(new URL(app.url).port), '127.0.0.1');
    socket.write(`GET /graphql HTTP/1.1\r\nHost: x\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`);
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toMatch(/^HTTP\/1.1 431 /);
    socket.destroy();
  });
});

describe('browsers', () => {
  const get = (path: string, headers = {}) => fetch(`${app.url}${path}`, { redirect: 'manual', headers });

  test.each([
    ['an answer', () => post(JSON.stringify({ query: VIEWER })), 200],
    ['a refusal', () => post('{'), 400],
    ['another type', () => post('x', { 'content-type': 'image/png' }), 415],
    ['a redirect', () => get('/'), 302],
    ['nothing', () => get('/nowhere'), 404],
    ['health', () => get('/health/live'), 200],
    ['metrics', () => get('/metrics'), 200],
    ['an event stream', () => post(JSON.stringify({ query: VIEWER }), { accept: 'text/event-stream' }), 200],
  ])('%s carries what protects them', async (_, ask, status) => {
    const response = await ask();
    await response.text();
    expect([response.status, Object.fromEntries(response.headers)]).toEqual([
      status,
      expect.objectContaining({
        'content-security-policy': "default-src 'none';frame-ancestors 'none'",
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'x-frame-options': 'SAMEORIGIN',
      }),
    ]);
  });

  test('a page of a named origin may ask, another may not, and none with credentials', async () => {
    const preflight = async (origin: string) => {
      const headers = { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type' }; // prettier-ignore
      const response = await fetch(`${app.url}/graphql`, { method: 'OPTIONS', headers });
      await response.text();
      expect(response.headers.get('access-control-allow-credentials')).toBeNull();
      return response.headers.get('access-control-allow-origin');
    };
    expect(await preflight(ORIGIN)).toBe(ORIGIN);
    for (const origin of ['https://evil.example.com', `${ORIGIN}.evil.test`, 'null', 'http://console.example.com'])
      expect([origin, await preflight(origin)]).toEqual([origin, null]);
    const answer = await post(JSON.stringify({ query: VIEWER }), { origin: ORIGIN });
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([200, ORIGIN]);
  });

  test.each(['application/json', 'text/event-stream'])('what a page can send unasked changes nothing (%s)', async (accept) => {
    const query = 'mutation { signOut { userErrors { code } } }';
    const body = JSON.stringify({ query });
    const unasked = ['text/plain', 'text/plain; application/json', 'text/plain;charset=application/json'];
    for (const type of unasked) {
      const response = await post(body, { accept, 'content-type': type });
      expect([type, [400, 415].includes(response.status)]).toEqual([type, true]);
      await response.text();
    }
    const response = await get(`/graphql?query=${encodeURIComponent(query)}`, { accept, authorization: `Bearer ${ops.token}` }); // prettier-ignore
    expect(await response.text()).toContain('BAD_REQUEST');
    expect((await ops.query(VIEWER)).viewer).toEqual({ role: 'OPERATIONS' });
  }); // prettier-ignore
});

describe('a socket', () => {
  test('that does not greet is closed after three seconds, whatever else it says', async () => {
    const socket = new WebSocket(`${app.url.replace('http', 'ws')}/graphql`, 'graphql-transport-ws');
    await once(socket, 'open');
    const since = Date.now();
    const talking = setInterval(() => socket.send(JSON.stringify({ type: 'ping' })), 100);
    const [code] = await once(socket, 'close');
    clearInterval(talking);
    expect(code).toBe(4408);
    expect(Date.now() - since).toBeLessThan(10_000);
  });

  test('carries so many operations at once, and one more when one has ended', async () => {
    const { instance } = await ops.query('{ instance(name: "web-1") { id } }');
    const socket = ops.socket();
    const request = { query: 'subscription ($id: ID!) { instanceUpdated(id: $id) { name } }', variables: { id: instance.id } }; // prettier-ignore
    const running = Array.from({ length: 5 }, () => socket.iterate(request));
    for (const each of running) await each.next();
    const refusal: any = await socket
      .iterate({ query: VIEWER })
      .next()
      .catch((errors: unknown) => errors);
    expect(refusal[0]).toMatchObject({ message: expect.stringContaining('at most 5'), extensions: { code: 'QUERY_TOO_COMPLEX' } }); // prettier-ignore
    await running[0]?.return?.();
    await until(async () => {
      const again: any = await socket
        .iterate({ query: VIEWER })
        .next()
        .catch(() => null);
      return again?.value?.data;
    });
    await socket.dispose();
  });

  test('that floods us with operations and gives them up at once is closed', async () => {
    const socket = await greeted();
    for (let n = 0; n < 100; n += 1) {
      socket.send(JSON.stringify({ id: `${n}`, type: 'subscribe', payload: { query: VIEWER } }));
      socket.send(JSON.stringify({ id: `${n}`, type: 'complete' }));
    }
    expect([1006, 1008]).toContain((await once(socket, 'close'))[0]);
  });

  test('whose client asks and does not read is cut off before it fills our memory', async () => {
    const socket = await greeted();
    socket.pause();
    const query = getIntrospectionQuery();
    let n = 0;
    await until(
      () => {
        // Completed when it is answered, so that the protocol's own books hold nothing of what still has to be sent.
        socket.send(JSON.stringify({ id: `${n}`, type: 'subscribe', payload: { query } }));
        if (n > 3) socket.send(JSON.stringify({ id: `${n - 3}`, type: 'complete' }));
        n += 1;
        return socket.readyState !== WebSocket.OPEN;
      },
      20_000,
      'the end of the socket',
    );
    expect(n * JSON.stringify(await ops.query(query)).length).toBeLessThan(64 * 1024 * 1024);
  });
});

describe('time', () => {
  test('a request that takes too long is told so, and its statement ends on the server', async () => {
    const blocker = app.db.createQueryRunner();
    await blocker.connect();
    await blocker.startTransaction();
    await blocker.query('lock table snapshots in access exclusive mode');
    const waiting = async () =>
      (await app.db.query(`select count(*)::int as n from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`))[0].n; // prettier-ignore
    try {
      const since = Date.now();
      const answer = ops.send('{ snapshots { totalCount } }');
      await until(async () => (await waiting()) === 1, 5000, 'the statement to wait');
      const { status, errors } = await answer;
      expect([status, errors?.[0]?.extensions.code]).toEqual([503, 'SERVICE_UNAVAILABLE']);
      expect(errors?.[0]?.message).toMatch(/too long and was stopped/);
      expect(Date.now() - since).toBeLessThan(10_000);
      expect(await waiting()).toBe(0);
    } finally {
      await blocker.rollbackTransaction();
      await blocker.release();
    }
    expect((await ops.send('{ snapshots { totalCount } }')).status).toBe(200);
  });
});
