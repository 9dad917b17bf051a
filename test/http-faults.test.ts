import fs from 'node:fs';
import { Client } from 'pg';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { sseAll } from './support/sse';
import { instanceId } from './support/stories';

let app: TestApp;
let ops: TestClient;
let cache: string;

/** What the program wrote to its log, line by line. */
const log: { level: number; correlationId?: string; err?: { message: string } }[] = [];
const realWrite = fs.writeSync.bind(fs);

beforeAll(async () => {
  jest.spyOn(fs, 'writeSync').mockImplementation((fd: number, data: any) => {
    if (fd !== 2) return realWrite(fd, data);
    for (const line of String(data).split('\n').filter(Boolean)) log.push(JSON.parse(line));
    return Buffer.byteLength(data);
  });
  app = await startTestApp({ env: { LOG_LEVEL: 'error' } });
  ops = await app.as('ops');
  cache = await instanceId(ops, 'cache-1');
});
afterAll(async () => {
  await app.stop();
  jest.restoreAllMocks();
});

/** As the owner of the tables: takes away what a request needs, and gives it back. */
async function without(table: string, work: () => Promise<void>): Promise<void> {
  const owner = new Client({ connectionString: app.database.migrationUrl });
  await owner.connect();
  try {
    await owner.query(`alter table ${table} rename to ${table}_away`);
    await work();
  } finally {
    await owner.query(`alter table if exists ${table}_away rename to ${table}`);
    await owner.end();
  }
}

const CREATE = 'mutation ($input: CreateSnapshotInput!) { createSnapshot(input: $input) { userErrors { code } } }';
const input = () => ({ input: { instanceId: cache, name: 'never', idempotencyKey: 'k' } });

function expectMasked(error: any): void {
  expect(error.extensions).toEqual({ code: 'INTERNAL_SERVER_ERROR', correlationId: expect.any(String) });
  expect(JSON.stringify(error)).not.toMatch(/\brelation\b|idempotency_keys|insert|\.ts/);
  const lines = log.filter(({ correlationId }) => correlationId === error.extensions.correlationId);
  expect(lines).toHaveLength(1);
  expect(lines[0]?.err?.message).toContain('idempotency_keys');
}

test('a fault of ours is shown by its correlation id only, and the log says under that id what it was', async () => {
  await without('idempotency_keys', async () => {
    const modern = await ops.send(CREATE, input());
    expect([modern.status, modern.data ?? null]).toEqual([500, null]);
    expectMasked(modern.errors?.[0]);
    const classic = await ops.send(CREATE, input(), { accept: 'application/json' });
    expect(classic.status).toBe(200);
    expectMasked(classic.errors?.[0]);
    expect(classic.errors?.[0]?.extensions.correlationId).not.toBe(modern.errors?.[0]?.extensions.correlationId);
    const [event] = await sseAll(ops, CREATE, input());
    expectMasked(event?.data.errors[0]);
    const socket = ops.socket();
    for await (const { errors } of socket.iterate({ query: CREATE, variables: input() })) expectMasked(errors?.[0]);
    await socket.dispose();
  });
  const { data } = await ops.send(CREATE, input());
  expect(data.createSnapshot.userErrors).toEqual([]);
});

test('what a caller did wrong is no line in the log of errors', async () => {
  const before = log.length;
  await ops.send('{ nothing }');
  await app.anonymous.send('{ viewer { id } }');
  await ops.send('{ instances(first: 0) { totalCount } }');
  expect(log.slice(before)).toEqual([]);
});
