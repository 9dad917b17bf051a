/** Stopping under load: whoever waits for their turn has asked already, and is answered. */
import { startTestApp } from './support/app';
import { until } from './support/until';

test('a request that waits in line when the process stops is answered', async () => {
  const app = await startTestApp({ env: { DATABASE_POOL_SIZE: '2' } });
  const ops = await app.as('ops');
  const held = [app.db.createQueryRunner(), app.db.createQueryRunner()];
  for (const each of held) await each.connect();
  const next = app.db.createQueryRunner();
  const connecting = next.connect(); // whoever it is that waits for a connection, it is no request
  await until(() => (app.db.driver as any).master.waitingCount > 0);
  const answer = ops.send('{ viewer { role } }');
  await new Promise((resolve) => setTimeout(resolve, 100));
  const stopped = app.stop();
  await new Promise((resolve) => setTimeout(resolve, 150));
  for (const each of held) await each.release();
  await connecting;
  await next.query('begin');
  await next.release();
  expect((await answer).status).toBe(200);
  await stopped;
});
