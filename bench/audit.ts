// What the audit log costs: `createSnapshot` as often as eight clients can, with the chain being sealed at the same time and
// without, in rounds that take turns on one database: `node -r @swc-node/register bench/audit.ts [ROUNDS] [SECONDS]`.
import 'reflect-metadata';
import { Pool } from 'pg';
import { createDataSource } from '../src/db/data-source';
import { toGlobalId } from '../src/resolvers/global-id';
import { AuditSealer } from '../src/services/audit-sealer';
import { verifyAudit } from '../src/services/audit-verification';
import { insertInstances, median, onPostgres, operatorToken, post, timed } from './support';

const ROUNDS = Number(process.argv[2] ?? 8);
const SECONDS = Number(process.argv[3] ?? 5);
const CLIENTS = 8;
/** Each takes an instance; far more than a round can use. */
const INSTANCES = 20_000;

const CREATE = `mutation ($input: CreateSnapshotInput!) { createSnapshot(input: $input) { operation { id } userErrors { code } } }`;

async function main(): Promise<void> {
  await onPostgres(async ({ postgres, start }) => {
    await (await start('migrate')).stop();
    // No product setting switches sealing off: here the process's own sealer stands still, and one of the bench's works in turn.
    const { prototype } = AuditSealer;
    const { start: begin, stop: end } = prototype;
    Object.assign(prototype, { start: () => undefined, stop: () => Promise.resolve() });
    const app = await start('api'); // without a worker: nothing else moves
    Object.assign(prototype, { start: begin, stop: end });
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
    const sealing = async (): Promise<number> => {
      const sealer = new AuditSealer(db, auditKeys, () => undefined);
      sealer.start();
      const found = await rate();
      await sealer.stop();
      return found;
    };
    await rate();
    await new AuditSealer(db, auditKeys, () => undefined).seal();
    const ratios: number[] = [];
    for (let round = 1; round <= ROUNDS; round += 1) {
      const rates = { on: 0, off: 0 };
      // Whoever comes second finds larger tables, so they take turns at that as well.
      for (const way of round % 2 ? (['off', 'on'] as const) : (['on', 'off'] as const)) {
        rates[way] = await (way === 'on' ? sealing() : rate());
        // What a round without has left is no work of the next.
        await new AuditSealer(db, auditKeys, () => undefined).seal();
      }
      const { on, off } = rates;
      ratios.push(on / off);
      console.log(`audit, round ${round}: ${on.toFixed(0)}/s sealed, ${off.toFixed(0)}/s not, ratio ${(on / off).toFixed(3)}`); // prettier-ignore
    }
    console.log(`audit: median ratio ${median(ratios).toFixed(3)} (at least 0.9)`);
    let report = '';
    const ms = await timed(async () => {
      const { intact, checked } = await verifyAudit(db, auditKeys);
      report = `${checked} entries ${intact ? 'are intact' : 'ARE NOT INTACT'}`;
    });
    console.log(`audit: verified in ${(ms / 1000).toFixed(2)} s, ${report}`);
    await db.destroy();
    await pool.end();
    await app.stop();
  });
}

void main();
