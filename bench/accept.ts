// Accepting a mutation, against a bare transaction of the same inserts; and from the commit to the start of work, against a
// bare NOTIFY hop. Ratios are taken within each round: `node -r @swc-node/register bench/accept.ts [ROUNDS]`.
import 'reflect-metadata';
import { Client, Pool } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { toGlobalId } from '../src/resolvers/global-id';
import { insertInstances, median, onPostgres, operatorToken, post, quantile, timed } from './support';

const ROUNDS = Number(process.argv[2] ?? 3);
const PER_ROUND = 300;
const WARM_UP = 100;

const CREATE = `mutation ($input: CreateSnapshotInput!) {
  createSnapshot(input: $input) { snapshot { id name status } operation { id status } userErrors { code } } }`;

/** The statements of `createSnapshot`, without anything around them. */
async function bare(pool: Pool, instanceId: string, userId: string): Promise<void> {
  const client = await pool.connect();
  const [snapshot, operation] = [uuidv7(), uuidv7()];
  await client.query('begin');
  await client.query(
    `insert into snapshots (id, instance_id, name, stateful, created_by_id, created_by_operation_id, status, origin, created_at)
     values ($1, $2, 'bare', false, $3, $4, 'PENDING', 'MANUAL', now())`,
    [snapshot, instanceId, userId, operation],
  );
  await client.query(
    `insert into operations (id, kind, status, instance_id, snapshot_id, snapshot_name, actor_id, correlation_id, created_at)
     values ($1, 'SNAPSHOT_CREATE', 'QUEUED', $2, $3, 'bare', $4, $5, now())`,
    [operation, instanceId, snapshot, userId, uuidv7()],
  );
  await client.query(`select graphile_worker.add_job('operation', json_build_object('id', $1::text))`, [operation]);
  await client.query('commit');
  client.release();
}

async function accepting(): Promise<void> {
  await onPostgres(async ({ postgres, start }) => {
    await (await start('migrate')).stop();
    const app = await start('api'); // without a worker: nothing else moves
    const pool = new Pool({ connectionString: postgres.url, max: 10 });
    const token = await operatorToken(app);
    const { rows } = await pool.query<{ id: string }>('select id from users');
    const ids = await insertInstances(pool, (ROUNDS * PER_ROUND + WARM_UP) * 2);
    const ours = () => post(app.url ?? '', token, CREATE, { input: { instanceId: toGlobalId('Instance', ids.pop() ?? ''), name: 'ours' } }).then((body) => { if (body.data?.createSnapshot.userErrors.length !== 0) throw new Error(JSON.stringify(body)); }); // prettier-ignore
    const theirs = () => bare(pool, ids.pop() ?? '', rows[0]?.id ?? '');
    for (let i = 0; i < WARM_UP; i += 1) await ours().then(theirs);
    const ratios: number[] = [];
    for (let round = 1; round <= ROUNDS; round += 1) {
      const [a, b]: [number[], number[]] = [[], []];
      for (let i = 0; i < PER_ROUND; i += 1) {
        a.push(await timed(ours));
        b.push(await timed(theirs));
      }
      ratios.push(median(a) / median(b));
      console.log(
        `accept, round ${round}: createSnapshot p50 ${median(a).toFixed(2)} ms (p99 ${quantile(a, 0.99).toFixed(2)}), bare transaction p50 ${median(b).toFixed(2)} ms, ratio ${(median(a) / median(b)).toFixed(2)}`,
      );
    }
    console.log(`accept: median ratio ${median(ratios).toFixed(2)} (at most 3)`);
    await pool.end();
    await app.stop();
  });
}

/** Milliseconds of the wall clock, finer than Date's. */
const now = () => performance.timeOrigin + performance.now();

async function starting(): Promise<void> {
  await onPostgres(async ({ postgres, start }) => {
    const app = await start('all');
    const token = await operatorToken(app);
    const pool = new Pool({ connectionString: postgres.url, max: 4 });
    const listener = new Client({ connectionString: postgres.url });
    await listener.connect();
    await listener.query('listen keyframe');
    await listener.query('listen bench');
    const arrivals = new Map<string, number[]>();
    listener.on('notification', ({ payload = '' }) => arrivals.set(payload, [...(arrivals.get(payload) ?? []), now()]));
    const seen = async (topic: string, count: number) => {
      while ((arrivals.get(topic)?.length ?? 0) < count) await new Promise((resolve) => setImmediate(resolve));
      return arrivals.get(topic) ?? [];
    };
    const hop = async (key: string) => {
      const sent = now();
      await pool.query('select pg_notify($1, $2)', ['bench', key]);
      return ((await seen(key, 1))[0] ?? sent) - sent;
    };
    const ids = await insertInstances(pool, ROUNDS * PER_ROUND + WARM_UP);
    // From the moment a listener hears of the commit to the worker's first statement (`started_at`, by the same clock). The
    // commit itself was a hop earlier, which is added.
    const startOf = async () => {
      const input = { instanceId: toGlobalId('Instance', ids.pop() ?? ''), name: 'ours' };
      const body = await post(app.url ?? '', token, CREATE, { input });
      const id = Buffer.from(body.data.createSnapshot.operation.id, 'base64url').toString().split(':')[1] ?? '';
      const [accepted = 0] = await seen(`operation:${id}`, 2);
      const { rows } = await pool.query<{ at: number }>(
        'select extract(epoch from started_at)::float8 * 1000 as at from operations where id = $1',
        [id],
      );
      await new Promise((resolve) => setTimeout(resolve, 5));
      return (rows[0]?.at ?? 0) - accepted;
    };
    for (let i = 0; i < WARM_UP; i += 1) await startOf();
    for (let round = 1; round <= ROUNDS; round += 1) {
      const [a, b]: [number[], number[]] = [[], []];
      for (let i = 0; i < PER_ROUND; i += 1) {
        a.push(await startOf());
        b.push(await hop(`${round}-${i}`));
      }
      const start = median(a) + median(b);
      const bound = 3 * median(b) + 5;
      console.log(
        `start, round ${round}: commit to start of work p50 ${start.toFixed(2)} ms (p99 ${quantile(a, 0.99).toFixed(2)}), NOTIFY hop p50 ${median(b).toFixed(2)} ms, bound ${bound.toFixed(2)} ms: ${start <= bound ? 'within' : 'BEYOND'}`,
      );
    }
    await listener.end();
    await pool.end();
    await app.stop();
  });
}

void accepting().then(starting);
