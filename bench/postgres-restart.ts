// Postgres killed under load and started again: how soon the API answers after its return, and whether all that was accepted ends.
// `node -r @swc-node/register bench/postgres-restart.ts [ROUNDS=3]`.
import 'reflect-metadata';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Pool } from 'pg';
import { onPostgres, post, startProcess } from './support';

const ROUNDS = Number(process.argv[2] ?? 3);
const READERS = 4;
const LOAD_MS = 3000;

const INSTANCES = '{ instances { nodes { id name } } }';
const CREATE = `mutation ($input: CreateSnapshotInput!) { createSnapshot(input: $input) { operation { id } userErrors { code } } }`;

/** Whether the server takes connections; nobody else is asked. */
async function answers(connectionString: string): Promise<boolean> {
  const client = new Client({ connectionString, connectionTimeoutMillis: 1000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('select 1');
    return true;
  } catch {
    return false;
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** The server's process is the parent of each that serves a connection. */
async function serverPid(connectionString: string): Promise<number> {
  const client = new Client({ connectionString });
  await client.connect();
  try {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    const status = await readFile(`/proc/${rows[0]?.pid}/status`, 'utf8');
    return Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]);
  } finally {
    await client.end();
  }
}

async function until(look: () => Promise<boolean>, everyMs: number): Promise<number> {
  for (;;) {
    const at = performance.now();
    if (await look()) return at;
    await sleep(everyMs);
  }
}

void onPostgres(async ({ folder, postgres, env }) => {
  const program = await startProcess({ ...env, KEYFRAME_DEMO: '1' }, 'all');
  const { ops } = JSON.parse(await readFile(join(folder, 'data', 'demo-credentials.json'), 'utf8'));
  const signIn = `mutation ($e: String!, $p: String!) { signIn(input: { email: $e, password: $p }) { accessToken } }`;
  const { data } = await post(program.url, null, signIn, { e: ops.email, p: ops.password });
  const token: string = data.signIn.accessToken;
  const ask = (query: string, variables = {}) => post(program.url, token, query, variables);
  await until(async () => (await ask(INSTANCES)).data.instances.nodes.length > 0, 50);
  const { nodes } = (await ask(INSTANCES)).data.instances;

  let over = false;
  const accepted: string[] = [];
  const reader = async () => {
    while (!over) await ask(INSTANCES).catch(() => null).then(() => sleep(5)); // prettier-ignore
  };
  const writer = async (instanceId: string) => {
    for (let n = 0; !over; n += 1) {
      const answer = await ask(CREATE, { input: { instanceId, name: `load-${n}` } }).catch(() => null);
      const operation = answer?.data?.createSnapshot?.operation;
      if (operation) accepted.push(operation.id);
      await sleep(10);
    }
  };
  const callers = [...Array.from({ length: READERS }, reader), ...nodes.map(({ id }: { id: string }) => writer(id))];
  const times: number[] = [];
  for (let round = 1; round <= ROUNDS; round += 1) {
    await sleep(LOAD_MS);
    process.kill(await serverPid(postgres.url), 'SIGKILL');
    await until(async () => !(await answers(postgres.url)), 1);
    const back = await until(() => answers(postgres.url), 5);
    const served = await until(() => ask(INSTANCES).then(({ data: got }) => Boolean(got?.instances), () => false), 10); // prettier-ignore
    times.push(served - back);
    console.log(
      `postgres-restart: round ${round}: answered ${(served - back).toFixed(0)} ms after the server's return`,
    );
  }
  await sleep(LOAD_MS);
  over = true;
  await Promise.all(callers);
  const pool = new Pool({ connectionString: postgres.url, max: 1 });
  const open = async () => {
    const { rows } = await pool.query(`select from operations where finished_at is null`);
    return rows.length;
  };
  const deadline = performance.now() + 60_000;
  await until(async () => (await open()) === 0 || performance.now() > deadline, 100);
  const { rows } = await pool.query('select status, count(*)::int as count from operations group by status');
  const lost = (await open()) + accepted.length;
  const kept = await pool.query(`select count(*)::int as count from operations`);
  const ids = accepted.map((id) => Buffer.from(id, 'base64url').toString().replace(/^\w+:/, ''));
  const found = await pool.query('select from operations where id = any($1::uuid[]) and finished_at is not null', [
    ids,
  ]);
  await pool.end();
  console.log(
    `postgres-restart: ${JSON.stringify(rows)} of ${kept.rows[0].count}; the client knows of ${accepted.length}`,
  );
  const missing = lost - found.rows.length;
  const worst = Math.max(...times);
  console.log(`postgres-restart: ${missing} lost (must be 0): ${missing === 0 ? 'within' : 'BEYOND'}`);
  console.log(
    `postgres-restart: slowest ${worst.toFixed(0)} ms (at most 5000): ${worst <= 5000 ? 'within' : 'BEYOND'}`,
  );
  await program.end('SIGINT');
});
