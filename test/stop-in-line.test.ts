/** Stopping under load: whoever waits for their turn has asked already, and is answered. */
import { Client } from 'pg';
import { startTestApp } from './support/app';
import { until } from './support/until';

const later = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test('a request that waits in line when the process stops is answered', async () => {
  const app = await startTestApp({ env: { DATABASE_POOL_SIZE: '2' } });
  const ops = await app.as('ops');
  const held = [app.db.createQueryRunner(), app.db.createQueryRunner()];
  for (const each of held) await each.connect();
  const next = app.db.createQueryRunner();
  const connecting = next.connect(); // whoever it is that waits for a connection, it is no request
  await until(() => (app.db.driver as any).master.waitingCount > 0);
  const owner = new Client({ connectionString: app.database.migrationUrl });
  await owner.connect();
  await owner.query('begin');
  await owner.query('lock table instances in access exclusive mode');
  const answer = ops.send('{ instances { nodes { name } } }').catch((error: unknown) => ({ status: String(error) }));
  await later(50);
  const stopped = app.stop();
  await later(100);
  for (const each of held) await each.release();
  await connecting;
  await next.release();
  await later(1000);
  await owner.end();
  expect((await answer).status).toBe(200);
  await stopped;
});
