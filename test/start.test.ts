/** Starting, as whoever runs the program sees it: its output, its files, its exit codes. */
import { once } from 'node:events';
import { stat, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { TestClient } from './support/app';
import { besidesLog, cleanUp, databaseProcess, demoAccounts, endNow, freshDatabase, freshFolder, PATIENCE_MS, signInAsOps, snapshotNames, startProgram, statusOf } from './support/program'; // prettier-ignore
import { ask, ended, instanceId } from './support/stories';
import { until } from './support/until';

jest.setTimeout(180_000);
afterEach(cleanUp);
const JWT_SECRET = 'a secret of more than thirty-two characters';

const mode = async (...path: string[]): Promise<number> => (await stat(join(...path))).mode & 0o777;

describe('with nothing configured', () => {
  test('it says who may sign in and where, keeps that in a private file, and nothing is lost from one start to the next', async () => {
    const folder = await freshFolder();
    const first = startProgram({ KEYFRAME_DATA_DIR: folder });
    const url = await first.ready();
    const credentials = await demoAccounts(folder);
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

    const ops = await signInAsOps(url, folder);
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
    expect((await killed.end('SIGKILL')).code).toBeNull();

    const second = startProgram({ KEYFRAME_DATA_DIR: folder });
    const client = await signInAsOps(await second.ready(), folder);
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

test('the embedded database gets its first administrator at the shell too, while the service is not running', async () => {
  const env = { KEYFRAME_DATA_DIR: await freshFolder(), KEYFRAME_DEMO: '0' };
  const arguments_ = ['user', 'create', '--email', 'root@keyframe.test', '--role', 'ADMIN'];
  const create = startProgram(env, ...arguments_);
  expect(await create.exit).toBe(0);
  const [, password = ''] = /^One-time password for root@keyframe\.test: (\S+)$/m.exec(create.stdout()) ?? [];
  const program = startProgram(env);
  await TestClient.signIn(await program.ready(), 'root@keyframe.test', password);
  const during = startProgram(env, ...arguments_);
  expect(await during.exit).toBe(78);
  expect(during.stderr()).toContain(`already in use by process ${program.pid}. Stop that process`);
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
    expect(besidesLog(program)).toBe('The port is taken by another program; set PORT to a free one (0 picks one).\n');
    expect(await databaseProcess(folder)).toBeNull();
    other.close();
  });

  test.each([
    ['198.51.100.1', /^HOST is not an address of this machine; .*\n$/],
    ['no-such-host.invalid', /^HOST is not a name that this machine knows; .*\n$/],
  ])('HOST=%s: a sentence and exit 78', async (HOST, said) => {
    const folder = await freshFolder();
    const program = startProgram({ ...(await freshDatabase()), KEYFRAME_DATA_DIR: folder, HOST });
    expect(await program.exit).toBe(78);
    expect(besidesLog(program)).toMatch(said);
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
    expect(besidesLog(program)).toMatch(/^The database somewhere at 127\.0\.0\.1:1 cannot be reached: .*\n$/);
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
