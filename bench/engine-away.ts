// The engine is away while work for it is accepted: the real program as a process of its own, a fake engine behind a proxy.
// `node -r @swc-node/register bench/engine-away.ts [INSTANCES] [SECONDS]`.
import 'reflect-metadata';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import { createDataSource } from '../src/db/data-source';
import { proxyTo } from '../test/support/engine-proxy';
import { openFleet } from '../test/support/incus-fleet';
import { until } from '../test/support/until';
import { median, onPostgres, operatorToken, post, quantile, startProcess } from './support';

const INSTANCES = Number(process.argv[2] ?? 200);
const SECONDS = Number(process.argv[3] ?? 60);
const ACT_MS = 100;
const READS_PER_SECOND = 20;
/** Work is accepted at a steady pace in the first half of the outage; in the second it only waits. */
const ACCEPT_EVERY_MS = (SECONDS * 500) / INSTANCES;
const MAX_SECONDS = 30;
const MAX_RATIO = 1.5;

const CREATE = `mutation ($input: CreateSnapshotInput!) {
  createSnapshot(input: $input) { operation { id } userErrors { code } } }`;
const READ = `{ instances(first: 20) { nodes { id name status snapshots(first: 5) { nodes { name status } } } }
  operations(first: 20) { nodes { id status waitingReason } } apiInfo { engine { available } } }`;

/** Reads at a steady pace, whether answers come or not; latencies count from when a read was due. */
function readSteadily(url: string, token: string) {
  const latencies: number[] = [];
  const began = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    for (; sent < ((performance.now() - began) / 1000) * READS_PER_SECOND; sent += 1) {
      const due = began + (sent * 1000) / READS_PER_SECOND;
      void post(url, token, READ).then((body) => {
        if (body.errors) throw new Error(JSON.stringify(body.errors));
        latencies.push(performance.now() - due);
      });
    }
  }, 5);
  return { latencies, stop: () => clearInterval(timer) };
}

const words = (name: string, latencies: number[]) =>
  `reads ${name}: ${latencies.length}, p50 ${median(latencies).toFixed(1)} ms, p99 ${quantile(latencies, 0.99).toFixed(1)} ms`;

async function main(): Promise<void> {
  await onPostgres(async ({ postgres, env }) => {
    const fleet = await openFleet(INSTANCES, ACT_MS);
    const proxy = await proxyTo(fleet.fake.socket);
    const program = await startProcess({ ...env, INCUS_SOCKET: proxy.socket }, 'all');
    const db = await createDataSource(postgres.url, 2).initialize();
    try {
      const token = await operatorToken({ url: program.url, db });
      const known = async () => Number((await db.query('select count(*) from instances'))[0].count) === INSTANCES;
      await until(known, 120_000, 'the import');
      const ids = await allInstances(program.url, token);

      // Reads find as much before as during the outage.
      for (const instanceId of ids) await create(program.url, token, instanceId, 'first');
      await until(() => allEnded(db), 120_000, 'the first snapshots');
      const warmUp = readSteadily(program.url, token);
      await sleep(5000);
      warmUp.stop();
      const before = readSteadily(program.url, token);
      await sleep((SECONDS * 1000) / 2);
      before.stop();

      await proxy.leave();
      const leftAt = Date.now();
      const during = readSteadily(program.url, token);
      for (const [index, instanceId] of ids.entries()) {
        await sleep(Math.max(0, leftAt + index * ACCEPT_EVERY_MS - Date.now()));
        await create(program.url, token, instanceId, 'out');
      }
      const accepting = during.latencies.length;
      await sleep(Math.max(0, leftAt + SECONDS * 1000 - Date.now()));
      during.stop();
      const [waited] = await db.query(`select count(*) filter (where status = 'QUEUED' and waiting_reason is not null)::int as waiting from operations`); // prettier-ignore

      const backAt = Date.now();
      await proxy.comeBack();
      await until(() => allEnded(db), 120_000, 'the end of all operations').catch((error: unknown) =>
        console.log(String(error)),
      );
      const [row] = await db.query(
        `select count(*) filter (where status = 'SUCCEEDED')::int as succeeded, extract(epoch from max(finished_at))::float8 as last from operations where snapshot_name = 'out'`,
      );
      const seconds = row.last - backAt / 1000;
      const ratio = quantile(during.latencies, 0.99) / quantile(before.latencies, 0.99);
      const twice = fleet.made.length - new Set(fleet.made).size;
      console.log(words('before', before.latencies));
      console.log(words('while it was away', during.latencies));
      console.log(words('  of these while work was accepted', during.latencies.slice(0, accepting)));
      console.log(words('  of these while work only waited', during.latencies.slice(accepting)));
      console.log(
        `away for ${((backAt - leftAt) / 1000).toFixed(1)} s, ${waited.waiting} of ${ids.length} operations said what they wait for\n` +
          `after the return: the last of ${ids.length} ended after ${seconds.toFixed(1)} s (at most ${MAX_SECONDS}), ${row.succeeded} SUCCEEDED, ${twice} made twice\n` +
          `reads' p99: ratio ${ratio.toFixed(2)} (at most ${MAX_RATIO})\n` +
          `engine-away: ${seconds <= MAX_SECONDS && ratio <= MAX_RATIO && row.succeeded === ids.length && twice === 0 ? 'within' : 'BEYOND'}`,
      );
    } finally {
      await db.destroy();
      await program.end('SIGINT');
      await proxy.close();
      await fleet.close();
    }
  });
}

async function create(url: string, token: string, instanceId: string, name: string): Promise<void> {
  const body = await post(url, token, CREATE, { input: { instanceId, name } });
  if (body.data?.createSnapshot.userErrors.length !== 0) throw new Error(JSON.stringify(body));
}

const allEnded = async (db: DataSource) =>
  (await db.query(`select count(*)::int as open from operations where finished_at is null`))[0].open === 0;

async function allInstances(url: string, token: string): Promise<string[]> {
  const ids: string[] = [];
  for (let after: string | null = null; ;) {
    const body = await post(url, token, 'query ($after: String) { instances(first: 100, after: $after) { nodes { id } pageInfo { hasNextPage endCursor } } }', { after }); // prettier-ignore
    ids.push(...body.data.instances.nodes.map(({ id }: { id: string }) => id));
    if (!body.data.instances.pageInfo.hasNextPage) return ids;
    after = body.data.instances.pageInfo.endCursor;
  }
}

void main();
