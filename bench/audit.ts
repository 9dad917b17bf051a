// What the audit log costs: `createSnapshot` as often as eight clients can, with the chain being sealed at the same time and
// without, in rounds that take turns on one database: `node -r @swc-node/register bench/audit.ts [ROUNDS] [SECONDS]`.
import 'reflect-metadata';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Client, Pool } from 'pg';
import { createDataSource } from '../src/db/data-source';
import { toGlobalId } from '../src/resolvers/global-id';
import { SEALER_LOCK } from '../src/services/audit-sealer';
import { verifyAudit } from '../src/services/audit-verification';
import { insertInstances, median, onPostgres, operatorToken, post, timed } from './support';

const ROUNDS = Number(process.argv[2] ?? 8);
const SECONDS = Number(process.argv[3] ?? 5);
const CLIENTS = 8;
/** Each takes an instance; far more than a round can use. */
const INSTANCES = 60_000;

const CREATE = `mutation ($input: CreateSnapshotInput!) { createSnapshot(input: $input) { operation { id } userErrors { code } } }`;

async function main(): Promise<void> {
  await onPostgres(async ({ postgres, start }) => {
    await (await start('migrate')).stop();
    const app = await start('api'); // without a worker: nothing else moves
    const { auditKeys } = app;
    if (!auditKeys) throw new Error('a process without a key');
    const token = await operatorToken(app);
    const pool = new Pool({ connectionString: postgres.url, max: 2 });
    const db = await createDataSource(postgres.url, 2).initialize();
    const ids = await insertInstances(pool, INSTANCES);
    const rate = async (): Promise<number> => {
      const until = performance.now() + SECONDS * 1000;
      let done = 0;
      const client = async () => {
        while (performance.now() < until) {
          const input = { instanceId: toGlobalId('Instance', ids.pop() ?? ''), name: 'ours' };
          const body = await post(app.url ?? '', token, CREATE, { input });
          if (body.data?.createSnapshot.userErrors.length !== 0) throw new Error(JSON.stringify(body));
          done += 1;
        }
      };
      const ms = await timed(() => Promise.all(Array.from({ length: CLIENTS }, client)));
      return (1000 * done) / ms;
    };
    // No product setting switches sealing off: who holds the lock keeps the process's sealer from it.
    const lock = new Client({ connectionString: postgres.url });
    await lock.connect();
    const unsealed = async (): Promise<number> => {
      await lock.query('select pg_advisory_lock($1)', [SEALER_LOCK]);
      const found = await rate();
      await lock.query('select pg_advisory_unlock($1)', [SEALER_LOCK]);
      return found;
    };
    const allSealed = async () => {
      while ((await pool.query('select from audit_events where position is null limit 1')).rowCount)
        await new Promise((resolve) => setTimeout(resolve, 100));
    };
    await rate();
    const ratios: number[] = [];
    for (let round = 1; round <= ROUNDS; round += 1) {
      const rates = { on: 0, off: 0 };
      // Whoever comes second finds larger tables, so they take turns at that as well.
      for (const way of round % 2 ? (['off', 'on'] as const) : (['on', 'off'] as const)) {
        await allSealed(); // what the last one has left is no work of this
        rates[way] = await (way === 'on' ? rate() : unsealed());
      }
      const { on, off } = rates;
      ratios.push(on / off);
      console.log(`audit, round ${round}: ${on.toFixed(0)}/s sealed, ${off.toFixed(0)}/s not, ratio ${(on / off).toFixed(3)}`); // prettier-ignore
    }
    console.log(`audit: median ratio ${median(ratios).toFixed(3)} (at least 0.9)`);
    await allSealed();
    let report = '';
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const ms = await timed(async () => {
      const { intact, checked } = await verifyAudit(db, auditKeys);
      report = `${checked} entries ${intact ? 'are intact' : 'ARE NOT INTACT'}`;
    });
    console.log(
      `audit: verified in ${(ms / 1000).toFixed(2)} s, ${report}; nobody waited longer than ${(delay.max / 1e6).toFixed(0)} ms meanwhile`,
    );
    await db.destroy();
    await lock.end();
    await pool.end();
    await app.stop();
  });
}

void main();
