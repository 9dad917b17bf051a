/** Starting and stopping, as whoever runs the program sees it: its output, its files, its exit codes. */
import { once } from 'node:events';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Client } from 'pg';
import { TestClient } from './support/app';
import { createDatabase, type TestDatabase } from './support/database';
import { cleanUp, databaseProcess, endNow, freshFolder, PATIENCE_MS, startProgram } from './support/program';
import { ask, ended, instanceId } from './support/stories';
import { until } from './support/until';

jest.setTimeout(180_000);
const JWT_SECRET = 'a secret of more than thirty-two characters';
const databases: TestDatabase[] = [];

afterEach(async () => {
  await cleanUp();
  for (const database of databases.splice(0)) await database.drop();
});

async function database(options = {}): Promise<{ DATABASE_URL: string; DATABASE_MIGRATION_URL: string }> {
  const made = await createDatabase(options);
  databases.push(made);
  return { DATABASE_URL: made.url, DATABASE_MIGRATION_URL: made.migrationUrl };
}

/** A status, or null when the connection is refused. */
async function statusOf(url: string): Promise<number | null> {
  return fetch(url).then(
    ({ status }) => status,
    () => null,
  );
}

const mode = async (...path: string[]): Promise<number> => (await stat(join(...path))).mode & 0o777;
const sentence = (text: string): string => text.replace(/^\{.*\n/gm, '');
const snapshotNames = async (client: TestClient): Promise<string[]> => {
  const { snapshots } = await client.query('{ snapshots(first: 100) { nodes { name } } }');
  return snapshots.nodes.map(({ name }: { name: string }) => name);
};

describe('with nothing configured', () => {
  test('it says who may sign in and where, keeps that in a private file, and nothing is lost from one start to the next', async () => {
    const folder = await freshFolder();
    const first = startProgram({ KEYFRAME_DATA_DIR: folder });
    const url = await first.ready();
    const credentials = JSON.parse(await readFile(join(folder, 'demo-credentials.json'), 'utf8'));
    expect(Object.entries(credentials)).toEqual(
      ['admin', 'ops', 'alice', 'bob'].map((name) => [
        name,
        { email: `${name}@keyframe.test`, password: expect.stringMatching(/^.{16}$/) },
      ]),
    );
    const signIn = Object.values<{ email: string; password: string }>(credentials).map(
      ({ email, password }) => `  ${email.padEnd(22)} ${password}\n`,
    );
    expect(first.stdout()).toBe(`Sign in as\n${signIn.join('')}GraphiQL at ${url}/graphiql\nReady at ${url}/graphql\n`);
    expect(new URL(url).hostname).toBe('127.0.0.1');
    for (const line of first.stderr().trim().split('\n')) expect(JSON.parse(line)).toHaveProperty('msg');
    expect(await mode(folder, 'demo-credentials.json')).toBe(0o600);
    expect(await mode(folder, 'secrets', 'jwt')).toBe(0o600);
    expect((await mode(folder)) & 0o007).toBe(0);
    expect(await statusOf(`${url}/health/ready`)).toBe(200);

    const { email, password } = credentials.ops;
    const ops = await TestClient.signIn(url, email, password);
    const taken = await ask(ops, 'createSnapshot', { instanceId: await instanceId(ops, 'web-1'), name: 'kept' });
    expect(await ended(ops, taken.operation.id)).toMatchObject({ status: 'SUCCEEDED' });
    expect((await first.end()).code).toBe(0);
    expect(await databaseProcess(folder)).toBeNull();

    const second = startProgram({ KEYFRAME_DATA_DIR: folder });
    const again = new TestClient(await second.ready(), ops.token, null); // the key that signs is kept as well
    expect(await snapshotNames(again)).toContain('kept');
    expect(second.stdout()).toContain(signIn.join(''));
    expect((await second.end('SIGINT')).code).toBe(0);
  });

  test('it comes back after it was killed, and answers again when its database was', async () => {
    const folder = await freshFolder();
    const killed = startProgram({ KEYFRAME_DATA_DIR: folder });
    await killed.ready();
    const { ops } = JSON.parse(await readFile(join(folder, 'demo-credentials.json'), 'utf8'));
    expect((await killed.end('SIGKILL')).code).toBeNull();

    const second = startProgram({ KEYFRAME_DATA_DIR: folder });
    const client = await TestClient.signIn(await second.ready(), ops.email, ops.password);
    expect(await snapshotNames(client)).toContain('before-upgrade');
    await endNow((await databaseProcess(folder)) ?? 0);
    await until(async () => (await statusOf(`${client.url}/health/ready`)) === 200, PATIENCE_MS, 'readiness');
    const taken = await ask(client, 'createSnapshot', { instanceId: await instanceId(client, 'web-1'), name: 'after' });
    expect(await ended(client, taken.operation.id)).toMatchObject({ status: 'SUCCEEDED' });
    expect((await second.end()).code).toBe(0);
    expect(await databaseProcess(folder)).toBeNull();
  });

  test('a second process on the same data folder is told who has it, and the first does not notice', async () => {
    const folder = await freshFolder();
    const first = startProgram({ KEYFRAME_DATA_DIR: folder, KEYFRAME_DEMO: '0' });
    const url = await first.ready();
    expect(first.stdout()).toBe(`GraphiQL at ${url}/graphiql\nReady at ${url}/graphql\n`);
    await expect(stat(join(folder, 'demo-credentials.json'))).rejects.toThrow('ENOENT');
    for (const PORT of ['0', new URL(url).port]) {
      const second = startProgram({ KEYFRAME_DATA_DIR: folder, PORT });
      expect(await second.exit).toBe(78);
      expect(second.stderr()).toMatch(
        new RegExp(`^The data folder .* is already in use by process ${first.pid}\\. .*KEYFRAME_DATA_DIR.*\\n$`),
      );
      expect(second.stdout()).toBe('');
    }
    expect(await statusOf(`${url}/health/ready`)).toBe(200);
    expect((await first.end()).code).toBe(0);
  });

  test('a start that is interrupted leaves no database running, and the next start is a whole one', async () => {
    const folder = await freshFolder();
    const interrupted = startProgram({ KEYFRAME_DATA_DIR: folder });
    await until(() => databaseProcess(folder), PATIENCE_MS, 'the database');
    expect((await interrupted.end('SIGINT')).code).toBe(0);
    expect(interrupted.stdout()).toBe('');
    expect(await databaseProcess(folder)).toBeNull();
    const next = startProgram({ KEYFRAME_DATA_DIR: folder });
    await next.ready();
    expect(next.stdout()).toContain('admin@keyframe.test');
  });
});

describe('when it is told to stop', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    '%s: readiness says no, what is in flight is answered, streams end, and it exits 0',
    async (signal) => {
      const folder = await freshFolder();
      const env = await database();
      const program = startProgram({ ...env, KEYFRAME_DATA_DIR: folder, KEYFRAME_DEMO: '1' });
      const url = await program.ready();
      const { ops } = JSON.parse(await readFile(join(folder, 'demo-credentials.json'), 'utf8'));
      const client = await TestClient.signIn(url, ops.email, ops.password);
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
      const closed = new Promise<number>((resolve) => {
        const socket = client.socket({ onClosed: ({ code }) => resolve(code) });
        const nothing = () => undefined;
        socket.subscribe({ query, variables: { id } }, { next: nothing, error: nothing, complete: nothing });
      });

      const owner = new Client({ connectionString: env.DATABASE_MIGRATION_URL });
      await owner.connect();
      try {
        await owner.query('begin');
        await owner.query('lock table instances in access exclusive mode');
        const inFlight = client.send('{ instances(first: 1) { nodes { name } } }');
        await until(
          async () =>
            (await owner.query(`select from pg_locks where not granted and relation = 'instances'::regclass`)).rowCount,
          PATIENCE_MS,
          'a request that waits',
        );
        const exit = program.end(signal);
        await until(async () => (await statusOf(`${url}/health/ready`)) !== 200, PATIENCE_MS, 'readiness to say no');
        await owner.query('rollback');
        expect(await inFlight).toMatchObject({ status: 200, data: { instances: { nodes: [expect.anything()] } } });
        const { code, ms } = await exit;
        expect(code).toBe(0);
        expect(ms).toBeLessThan(10_000);console.log(ms, program.stderr());
        await until(async () => (await reader?.read().catch(() => ({ done: true })))?.done, PATIENCE_MS, 'its end');
        expect(await closed).toBe(1001);
      } finally {
        await owner.end();
      }
      expect(program.stderr()).not.toContain('"level":50');
    },
  );

  test('work that was accepted just before is done once, before the end or after the next start', async () => {
    const folder = await freshFolder();
    const env = { ...(await database()), KEYFRAME_DATA_DIR: folder, KEYFRAME_DEMO: '1' };
    const first = startProgram(env);
    const url = await first.ready();
    const { ops } = JSON.parse(await readFile(join(folder, 'demo-credentials.json'), 'utf8'));
    const client = await TestClient.signIn(url, ops.email, ops.password);
    const id = await instanceId(client, 'db-1');
    const taken = await ask(client, 'createSnapshot', { instanceId: id, name: 'across' });
    const { code, ms } = await first.end();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(10_000);
    const second = startProgram(env);
    const again = await TestClient.signIn(await second.ready(), ops.email, ops.password);
    expect(await ended(again, taken.operation.id)).toMatchObject({ status: 'SUCCEEDED' });
    expect((await snapshotNames(again)).filter((name) => name === 'across')).toHaveLength(1);
  });
});

describe('when it cannot start', () => {
  test('a wrong configuration: every fault at once, and exit 78', async () => {
    const program = startProgram({
      PORT: '70000',
      KEYFRAME_DEMO: 'yes',
      DATABASE_URL: 'mysql://somewhere',
      JWT_SECRET: 'short',
    });
    expect(await program.exit).toBe(78);
    expect(program.stderr()).toBe(
      'The configuration is wrong:\n' +
        '  - PORT must be a whole number from 0 to 65535.\n' +
        '  - KEYFRAME_DEMO must be 0 or 1.\n' +
        '  - DATABASE_URL must be a URL that starts with postgres:// or postgresql://.\n' +
        '  - JWT_SECRET must have at least 32 characters.\n',
    );
    expect(program.stdout()).toBe('');
  });

  test('a port that is taken: the sentence names PORT, exit 78, and no database is left running', async () => {
    const other = createServer();
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const folder = await freshFolder();
    const { port } = other.address() as AddressInfo;
    const program = startProgram({ KEYFRAME_DATA_DIR: folder, PORT: String(port), KEYFRAME_DEMO: '0' });
    expect(await program.exit).toBe(78);
    expect(sentence(program.stderr())).toBe(
      'The port is taken by another program; set PORT to a free one (0 picks one).\n',
    );
    expect(await databaseProcess(folder)).toBeNull();
    other.close();
  });

  test.each([
    ['198.51.100.1', /^HOST is not an address of this machine; .*\n$/],
    ['no-such-host.invalid', /^HOST is not a name that this machine knows; .*\n$/],
  ])('HOST=%s: a sentence and exit 78', async (HOST, said) => {
    const folder = await freshFolder();
    const program = startProgram({ ...(await database()), KEYFRAME_DATA_DIR: folder, HOST });
    expect(await program.exit).toBe(78);
    expect(sentence(program.stderr())).toMatch(said);
  });

  test('a data folder that cannot be made: a sentence and exit 78', async () => {
    const file = join(await freshFolder(), 'file');
    await writeFile(file, '');
    const program = startProgram({ HOME: file });
    expect(await program.exit).toBe(78);
    expect(program.stderr()).toMatch(
      /^The data folder .*file\/\.local\/share\/keyframe cannot be written \(a part of its path is a file\)\. Set KEYFRAME_DATA_DIR .*\n$/,
    );
  });

  test('a database that does not answer: it says so, tries for half a minute, and exits 69', async () => {
    const since = Date.now();
    const program = startProgram({ DATABASE_URL: 'postgres://somebody:secret@127.0.0.1:1/somewhere', JWT_SECRET, INCUS_SOCKET: '/nowhere' }); // prettier-ignore
    await until(() => program.stderr(), PATIENCE_MS, 'the first complaint');
    expect(JSON.parse(program.stderr().split('\n')[0] ?? '')).toMatchObject({
      level: 40,
      msg: expect.stringMatching(/^The database somewhere at 127\.0\.0\.1:1 cannot be reached: .*ECONNREFUSED.* Trying again\.$/), // prettier-ignore
    });
    expect(await program.exit).toBe(69);
    expect(Date.now() - since).toBeGreaterThan(30_000);
    expect(sentence(program.stderr())).toMatch(/^The database somewhere at 127\.0\.0\.1:1 cannot be reached: .*\n$/);
    expect(program.stderr()).not.toContain('secret');
  });

  test('while it waits for its database it can be stopped', async () => {
    const program = startProgram({ DATABASE_URL: 'postgres://somebody@127.0.0.1:1/somewhere', JWT_SECRET, INCUS_SOCKET: '/nowhere' }); // prettier-ignore
    await until(() => program.stderr(), PATIENCE_MS, 'the first complaint');
    const { code, ms } = await program.end();
    expect(code).toBe(0);
    expect(ms).toBeLessThan(10_000);
  });
});

describe('as processes of several roles', () => {
  test('the api waits for the schema, a user is made at the shell, and the worker does what the api accepts', async () => {
    const folder = await freshFolder();
    const unused = join(folder, 'unused');
    const env = { ...(await database({ empty: true })), JWT_SECRET };
    const api = startProgram({ ...env, KEYFRAME_DATA_DIR: unused }, '--role', 'api');
    const early = startProgram(env, 'user', 'create', '--email', 'root@keyframe.test', '--role', 'ADMIN');
    expect(await early.exit).toBe(78);
    expect(early.stderr()).toContain('run it with --role migrate');
    expect(api.stdout()).toBe('');

    const migrating = startProgram({ ...env, KEYFRAME_DATA_DIR: unused }, '--role', 'migrate');
    expect(await migrating.exit).toBe(0);
    expect(migrating.stdout()).toBe('');
    const url = await api.ready();
    expect(api.stdout()).toBe(`GraphiQL at ${url}/graphiql\nReady at ${url}/graphql\n`);
    await expect(stat(unused)).rejects.toThrow('ENOENT');

    const create = startProgram(env, 'user', 'create', '--email', 'root@keyframe.test', '--role', 'ADMIN');
    expect(await create.exit).toBe(0);
    expect(create.stderr()).toBe('');
    const [, password] =
      /^One-time password for root@keyframe\.test: (\S+)\nIt must be changed at the first sign-in\.\n$/.exec(create.stdout()) ?? []; // prettier-ignore
    const newcomer = await TestClient.signIn(url, 'root@keyframe.test', password ?? '');
    const refused = await newcomer.send('{ users(first: 1) { nodes { email } } }');
    expect(refused.errors?.[0]?.extensions['code']).toBe('FORBIDDEN');
    const changed = await newcomer.query(
      'mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { userErrors { message } } }',
      { input: { currentPassword: password, newPassword: 'a password of my own' } },
    );
    expect(changed.changePassword.userErrors).toEqual([]);
    const admin = await TestClient.signIn(url, 'root@keyframe.test', 'a password of my own');
    const { users } = await admin.query('{ users(first: 10) { nodes { email role status } } }');
    expect(users.nodes).toEqual([{ email: 'root@keyframe.test', role: 'ADMIN', status: 'ACTIVE' }]);
    const twice = startProgram(env, 'user', 'create', '--email', 'root@keyframe.test', '--role', 'USER');
    expect(await twice.exit).toBe(78);
    expect(twice.stderr()).toBe('There is an account with this e-mail address already.\n');

    const worker = startProgram({ ...env, KEYFRAME_DATA_DIR: folder, KEYFRAME_DEMO: '1' }, '--role', 'worker');
    await until(() => stat(join(folder, 'demo-data-is-there')).catch(() => null), PATIENCE_MS, 'the demo data');
    expect(worker.stdout()).toBe('');
    const { ops } = JSON.parse(await readFile(join(folder, 'demo-credentials.json'), 'utf8'));
    const client = await TestClient.signIn(url, ops.email, ops.password);
    const id = await instanceId(client, 'web-1');
    const taken = await ask(client, 'createSnapshot', { instanceId: id, name: 'with-worker' });
    expect(await ended(client, taken.operation.id)).toMatchObject({ status: 'SUCCEEDED' });

    expect((await worker.end()).code).toBe(0);
    const accepted = await ask(client, 'createSnapshot', { instanceId: id, name: 'without-worker' });
    expect(accepted).toMatchObject({ userErrors: [], operation: { status: 'QUEUED' } });
    startProgram({ ...env, KEYFRAME_DATA_DIR: folder }, '--role', 'worker');
    expect(await ended(client, accepted.operation.id)).toMatchObject({ status: 'SUCCEEDED' });
    expect((await api.end()).code).toBe(0);
  });
});
