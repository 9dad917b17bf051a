/** One service as several processes, each with a role of its own. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TestClient } from './support/app';
import { cleanUp, freshDatabase, freshFolder, PATIENCE_MS, signInAsOps, startProgram } from './support/program';
import { ask, ended, instanceId } from './support/stories';
import { until } from './support/until';

jest.setTimeout(180_000);
afterEach(cleanUp);
const JWT_SECRET = 'a secret of more than thirty-two characters';

describe('as processes of several roles', () => {
  test('the api waits for the schema, a user is made at the shell, and the worker does what the api accepts', async () => {
    const folder = await freshFolder();
    const unused = join(folder, 'unused');
    const env = { ...(await freshDatabase({ empty: true })), JWT_SECRET };
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
    const nobody = startProgram(env, 'user', 'create', '--email', 'nobody', '--role', 'USER');
    expect(await nobody.exit).toBe(78);
    expect(nobody.stderr()).toBe('This is not an e-mail address.\n');

    const worker = startProgram({ ...env, KEYFRAME_DATA_DIR: folder, KEYFRAME_DEMO: '1' }, '--role', 'worker');
    await until(() => stat(join(folder, 'demo-data-is-there')).catch(() => null), PATIENCE_MS, 'the demo data');
    expect(worker.stdout()).toBe('');
    const client = await signInAsOps(url, folder);
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
