/** Stopping, as the supervisor that asks for it and the clients that are connected see it. */
import { Client } from 'pg';
import { cleanUp, freshDatabase, freshFolder, PATIENCE_MS, signInAsOps, snapshotNames, startProgram, statusOf } from './support/program'; // prettier-ignore
import { ask, ended, instanceId } from './support/stories';
import { until } from './support/until';

jest.setTimeout(180_000);
afterEach(cleanUp);

const ONE = '{ instances(first: 1) { nodes { name } } }';

/** Lets no query on instances go on until it is released. */
async function holdInstances(url: string) {
  const owner = new Client({ connectionString: url });
  await owner.connect();
  await owner.query('begin');
  await owner.query('lock table instances in access exclusive mode');
  // Reads only: the observer, which locks rows, may wait at the same time.
  const waiting = `select from pg_locks where not granted and relation = 'instances'::regclass and mode = 'AccessShareLock'`;
  let released: Promise<void> | undefined;
  return {
    areWaitedFor: (count: number) =>
      until(async () => ((await owner.query(waiting)).rowCount ?? 0) >= count, PATIENCE_MS, 'requests that wait'),
    release: () => (released ??= owner.end()),
  };
}

describe('when it is told to stop', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s: readiness says no, what is in flight is answered, streams end, and it exits 0',
    async (signal) => {
      const folder = await freshFolder();
      const env = await freshDatabase();
      const program = startProgram({ ...env, KEYFRAME_DATA_DIR: folder, KEYFRAME_DEMO: '1' });
      const url = await program.ready();
      const client = await signInAsOps(url, folder);
      const id = await instanceId(client, 'web-1');
      const query = 'subscription ($id: ID!) { instanceUpdated(id: $id) { name } }';
      const stream = await fetch(`${url}/graphql`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          accept: 'text/event-stream',
          authorization: `Bearer ${client.token}`,
        },
        body: JSON.stringify({ query, variables: { id } }),
      });
      const reader = stream.body?.getReader();
      const read = async () => Buffer.from((await reader?.read())?.value ?? '').toString();
      await until(async () => (await read()).includes('web-1'), PATIENCE_MS, 'the first event');
      let closedWith: number | undefined;
      const following = client.socket({ onClosed: ({ code }) => (closedWith = code) });
      // Its first event is awaited: a subscription that still reads would be counted among the requests that wait.
      await following.iterate({ query, variables: { id } }).next();

      const held = await holdInstances(env.DATABASE_MIGRATION_URL);
      try {
        const inFlight = client.send(ONE);
        const overSocket = client.socket().iterate({ query: ONE }).next();
        await held.areWaitedFor(2);
        const exit = program.end(signal);
        await until(async () => (await statusOf(`${url}/health/ready`)) !== 200, PATIENCE_MS, 'readiness to say no');
        await held.release();
        const answer = { data: { instances: { nodes: [expect.anything()] } } };
        expect(await inFlight).toMatchObject({ status: 200, ...answer });
        expect(await overSocket).toMatchObject({ value: answer });
        const { code, ms } = await exit;
        expect(code).toBe(0);
        expect(ms).toBeLessThan(10_000);
        await until(async () => (await reader?.read().catch(() => ({ done: true })))?.done, PATIENCE_MS, 'its end');
        expect(await until(() => closedWith, PATIENCE_MS, 'the end of the socket')).toBe(1001);
      } finally {
        await held.release();
      }
      expect(program.stderr()).not.toContain('"level":50');
    },
  );

  test('SIGTERM: for as long as a balancer may need to notice that readiness says no, requests and sockets are served', async () => {
    const folder = await freshFolder();
    const program = startProgram({ ...(await freshDatabase()), KEYFRAME_DATA_DIR: folder, KEYFRAME_DEMO: '1' });
    const url = await program.ready();
    const client = await signInAsOps(url, folder);
    const exit = program.end('SIGTERM');
    await until(async () => (await statusOf(`${url}/health/ready`)) === 503, PATIENCE_MS, 'readiness to say no');
    const answer = await fetch(`${url}/graphql?query=%7BapiInfo%7Bversion%7D%7D`, {
      headers: { 'apollo-require-preflight': '1' },
    });
    expect([answer.status, answer.headers.get('connection')]).toEqual([200, 'close']);
    expect(await client.send(ONE)).toMatchObject({ status: 200 });
    expect(await client.socket().iterate({ query: ONE }).next()).toMatchObject({ value: { data: expect.anything() } });
    await until(async () => (await statusOf(`${url}/health/live`)) === null, PATIENCE_MS, 'connections to be refused');
    const { code, ms } = await exit;
    expect(code).toBe(0);
    expect(ms).toBeLessThan(10_000);
    expect(program.stderr()).not.toContain('"level":50');
  });

  test('a request that cannot be answered does not keep it: exit 0 within ten seconds all the same', async () => {
    const folder = await freshFolder();
    const env = await freshDatabase();
    const program = startProgram({ ...env, KEYFRAME_DATA_DIR: folder, KEYFRAME_DEMO: '1' });
    const url = await program.ready();
    const client = await signInAsOps(url, folder);
    const held = await holdInstances(env.DATABASE_MIGRATION_URL);
    try {
      const cutOff = expect(client.send(ONE)).rejects.toThrow();
      await held.areWaitedFor(1);
      const { code, ms } = await program.end();
      expect(code).toBe(0);
      expect(ms).toBeLessThan(10_000);
      await cutOff;
    } finally {
      await held.release();
    }
  });

  test('work that was accepted just before is done once, before the end or after the next start', async () => {
    const folder = await freshFolder();
    const env = { ...(await freshDatabase()), KEYFRAME_DATA_DIR: folder, KEYFRAME_DEMO: '1' };
    const first = startProgram(env);
    const url = await first.ready();
    const client = await signInAsOps(url, folder);
    const id = await instanceId(client, 'db-1');
    const taken = await ask(client, 'createSnapshot', { instanceId: id, name: 'across' });
    const { code, ms } = await first.end();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(10_000);
    const second = startProgram(env);
    const again = await signInAsOps(await second.ready(), folder);
    expect(await ended(again, taken.operation.id)).toMatchObject({ status: 'SUCCEEDED' });
    expect((await snapshotNames(again)).filter((name) => name === 'across')).toHaveLength(1);
  });
});
