/** What a stranger on the network, or a database that goes away, cannot do to us. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { startTestApp, type TestApp } from './support/app';
import { until } from './support/until';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.stop());

/** Sends bytes and goes away without waiting for an answer. */
async function shout(bytes: string): Promise<void> {
  const { port } = new URL(app.url);
  const socket = connect(Number(port), '127.0.0.1');
  await once(socket, 'connect');
  await new Promise((done) => socket.write(bytes, done));
  socket.resetAndDestroy();
}

test('an upgrade of anything but our endpoint, by whoever goes away at once, harms nobody', async () => {
  const upgrade = 'Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n';
  for (const path of ['//', '/elsewhere', '/graphql', 'http://[', '*'])
    await shout(`GET ${path} HTTP/1.1\r\n${upgrade}`);
  await until(async () => (await fetch(`${app.url}/health/live`)).ok);
});

test('whoever signs in, goes on or leaves does nothing else in the same breath', async () => {
  const alice = await app.as('alice');
  const twice =
    'a: signIn(input: { email: "x", password: "y" }) { accessToken } b: signIn(input: { email: "x", password: "z" }) { accessToken }';
  for (const query of [
    `mutation { ${twice} }`,
    'mutation { signOut { userErrors { code } } ...More } fragment More on Mutation { changePassword(input: { currentPassword: "x", newPassword: "y" }) { userErrors { code } } }',
  ]) {
    const { status, data, errors } = await alice.send(query);
    expect([status, data, errors?.map(({ extensions }) => extensions.code)]).toEqual([400, undefined, ['BAD_REQUEST']]);
  }
  expect((await alice.query('{ viewer { displayName } }')).viewer).toMatchObject({ displayName: 'Alice Anders' });
});

test('a variable that cannot be coerced is the caller’s affair on every transport', async () => {
  const alice = await app.as('alice');
  const query =
    'query ($after: DateTimeOrDuration) { instances(filter: { createdAt: { gte: $after } }) { totalCount } }';
  const socket = alice.socket();
  const codes: unknown[] = [];
  for await (const { errors } of socket.iterate({ query, variables: { after: 'yesterday' } })) {
    codes.push(errors?.[0]?.extensions?.code);
  }
  await socket.dispose();
  expect(codes).toEqual(['BAD_USER_INPUT']);
});

test('while the database is away requests are answered 503, and afterwards as ever', async () => {
  const alice = await app.as('alice');
  const away = jest
    .spyOn(app.db, 'query')
    .mockRejectedValue(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }));
  for (const accept of ['application/json', 'application/graphql-response+json', 'text/event-stream']) {
    const { status, errors } = await alice.send('{ viewer { id } }', {}, { accept });
    expect([status, errors?.[0]?.extensions.code]).toEqual([503, 'SERVICE_UNAVAILABLE']);
  }
  away.mockRestore();
  expect((await alice.send('{ viewer { id } }')).status).toBe(200);
});
