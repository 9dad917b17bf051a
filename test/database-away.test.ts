/** The database goes away in the middle of requests, and comes back as the same or another server: nobody has to restart us. */
import { Client } from 'pg';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { createDatabase } from './support/database';
import { instanceId } from './support/stories';
import { tcpProxyTo, type TcpProxy } from './support/tcp-proxy';
import { until } from './support/until';

jest.setTimeout(60_000);
const READ = '{ instances(first: 1) { nodes { name } } }';
const CREATE = 'mutation ($input: CreateSnapshotInput!) { createSnapshot(input: $input) { userErrors { code } } }';
/** How soon after the return of the database requests are answered again. */
const SOON_MS = 5000;
let proxy: TcpProxy;
let app: TestApp;
let ops: TestClient;
let owner: Client;
let drop: () => Promise<void>;

beforeAll(async () => {
  const database = await createDatabase();
  drop = database.drop;
  const url = new URL(database.url);
  proxy = await tcpProxyTo(Number(url.port), url.hostname);
  url.port = String(proxy.port);
  app = await startTestApp({ database: { ...database, url: url.href } });
  ops = await app.as('ops');
  owner = new Client({ connectionString: database.migrationUrl });
  await owner.connect();
});
afterAll(async () => {
  await app.stop();
  await proxy.close();
  await owner.end();
  await drop();
});

const works = () => until(async () => (await ops.send(READ)).status === 200, SOON_MS, 'an answer as always');

async function expectAway(query = READ, variables = {}): Promise<void> {
  const { status, errors } = await ops.send(query, variables);
  expect([status, errors?.[0]?.extensions['code']]).toEqual([503, 'SERVICE_UNAVAILABLE']);
}

/** A read that waits in the middle of its statement. */
async function inFlight(): Promise<() => Promise<void>> {
  await owner.query('begin');
  await owner.query('lock table instances in access exclusive mode');
  const waiting = expectAway();
  const waits = `select from pg_locks where not granted and relation = 'instances'::regclass`;
  await until(async () => (await owner.query(waits)).rowCount, 10_000, 'a request that waits');
  return async () => {
    await waiting;
    await owner.query('rollback');
  };
}

test('it refuses connections: so do we, also in the middle of a request, and answer when it is back', async () => {
  await works();
  const ends = await inFlight();
  await proxy.refuse();
  await ends();
  for (let i = 0; i < 12; i += 1) await expectAway();
  await proxy.mend();
  await works();
});

test('every connection is cut: what was asked fails, what is asked next does not', async () => {
  await works();
  const ends = await inFlight();
  proxy.cut();
  await ends();
  await works();
});

test('it falls silent: soon nobody waits for it any more, and all is well when it speaks again', async () => {
  await works();
  proxy.hang();
  const waiting = Array.from({ length: 30 }, () => ops.send(READ));
  await until(
    async () => {
      const late = new Promise<null>((resolve) => setTimeout(resolve, 1500, null));
      return (await Promise.race([ops.send(READ), late]))?.status === 503;
    },
    10_000,
    'a refusal before long',
  );
  await proxy.mend();
  for (const answer of waiting) expect([200, 503]).toContain((await answer).status);
  await works();
});

test('it has become a standby: writing says it is away, and no connection to it is kept when the primary is back', async () => {
  const { pathname } = new URL(app.database.url);
  const name = pathname.slice(1);
  const instance = await instanceId(ops, 'web-1');
  const input = { input: { instanceId: instance, name: 'on-the-primary' } };
  await owner.query(`alter database ${name} set default_transaction_read_only = on`);
  proxy.cut();
  await until(async () => (await ops.send(CREATE, input)).status === 503, 10_000, 'the first refusal');
  await Promise.all(Array.from({ length: 12 }, () => ops.send(READ)));
  await expectAway(CREATE, input);
  await owner.query(`alter database ${name} reset default_transaction_read_only`);
  await until(async () => (await ops.send(CREATE, input)).status === 200, SOON_MS, 'a snapshot to be accepted');
  for (let i = 0; i < 12; i += 1) {
    const { data } = await ops.send(CREATE, { input: { ...input.input, name: `later-${i}` } });
    expect(data).toBeTruthy();
  }
});

test('a transaction that rests for half a minute is ended by the server, whose locks nobody keeps for ever', async () => {
  const [row] = await app.db.query<{ timeout: string }[]>(
    `select current_setting('idle_in_transaction_session_timeout') as timeout`,
  );
  expect(row?.timeout).toBe('30s');
});
