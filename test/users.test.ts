import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { createUser as createUserAtTheShell } from '../src/cli';
import { readConfig } from '../src/config';
import { Role } from '../src/entities/enums';
import { missingId } from './support/access-world';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { createDatabase } from './support/database';
import { instanceId } from './support/stories';
import { until } from './support/until';
import { describeEffects, type People } from './support/users-effects';

let app: TestApp;
let admin: TestClient;
beforeAll(async () => {
  app = await startTestApp({ env: { OBSERVE_INTERVAL_SECONDS: '3600' } });
  admin = await app.as('admin');
});
afterAll(() => app.stop());

const SET_PASSWORD = `mutation ($userId: ID!) { setUserPassword(input: { userId: $userId }) {
  oneTimePassword user { id status } userErrors { code message field } } }`;
const USER = 'user { id email displayName role status } userErrors { code message field }';

const people: People = {
  async create(input) {
    const query = `mutation ($input: CreateUserInput!) { createUser(input: $input) { oneTimePassword ${USER} } }`;
    return (await admin.query(query, { input })).createUser;
  },
  async update(input, by = admin) {
    return (await by.query(`mutation ($input: UpdateUserInput!) { updateUser(input: $input) { ${USER} } }`, { input })).updateUser; // prettier-ignore
  },
  async remove(userId, by = admin) {
    return (await by.query(`mutation ($input: RemoveUserInput!) { removeUser(input: $input) { ${USER} } }`, { input: { userId } })).removeUser; // prettier-ignore
  },
  async setPassword(userId, by = admin) {
    return (await by.query(SET_PASSWORD, { userId })).setUserPassword;
  },
  async assign(mutation, userId, instance) {
    const type = `${mutation === 'assignInstance' ? 'Assign' : 'Unassign'}InstanceInput`;
    const query = `mutation ($input: ${type}!) { ${mutation}(input: $input) { instance { id assignments { totalCount } } ${USER} } }`;
    return (await admin.query(query, { input: { userId, instanceId: instance } }))[mutation];
  },
  /** Somebody of that role with a password of their own, signed in. */
  async somebody(name, role) {
    const email = `${name}@keyframe.test`;
    const { user, oneTimePassword: current } = await people.create({ email, role });
    const password = randomBytes(12).toString('hex');
    const client = await app.as(email, current);
    await client.query('mutation ($a: String!, $b: String!) { changePassword(input: { currentPassword: $a, newPassword: $b }) { viewer { id } } }', { a: current, b: password }); // prettier-ignore
    return { id: user.id, email, password, client };
  },
};

const count = async (): Promise<number> => (await admin.query('{ users { totalCount } }')).users.totalCount;

describe('createUser', () => {
  test('makes an account that signs in with a one-time password', async () => {
    const { user, oneTimePassword, userErrors } = await people.create({
      email: '  Nina.New@Keyframe.TEST ',
      role: 'USER',
    });
    expect(user).toMatchObject({
      email: 'nina.new@keyframe.test',
      displayName: 'nina.new',
      role: 'USER',
      status: 'INVITED',
    });
    expect(userErrors).toEqual([]);
    const nina = await app.as('nina.new@keyframe.test', oneTimePassword);
    expect((await nina.query('{ viewer { id status } }')).viewer).toEqual({ id: user.id, status: 'INVITED' });
  });

  test.each([
    ['an address in use, in whatever case', { email: 'ALICE@keyframe.test' }, 'email'],
    ['no address', { email: 'nobody' }, 'email'],
    ['an address of two parts too many', { email: 'a@b@c' }, 'email'],
    ['an address with a space', { email: 'a b@keyframe.test' }, 'email'],
    ['an address with a null character', { email: 'a\0b@keyframe.test' }, 'email'],
    ['an address that is too long', { email: `${'a'.repeat(65)}@keyframe.test` }, 'email'],
    ['an empty name', { email: 'named@keyframe.test', displayName: '  ' }, 'displayName'],
    ['a name that is too long', { email: 'named@keyframe.test', displayName: 'n'.repeat(201) }, 'displayName'],
  ])('refuses %s', async (_, input, field) => {
    const before = await count();
    const payload = await people.create({ role: 'USER', ...input });
    expect(payload).toMatchObject({ user: null, oneTimePassword: null, userErrors: [{ code: 'INVALID_INPUT', field: [field] }] });
    expect(await count()).toBe(before);
  }); // prettier-ignore

  test('gives an address again after its account was removed, as another person', async () => {
    const first = await people.create({ email: 'again@keyframe.test', role: 'USER' });
    await people.remove(first.user.id);
    const second = await people.create({ email: 'again@keyframe.test', role: 'USER' });
    expect(second).toMatchObject({ user: { status: 'INVITED' }, userErrors: [] });
    expect(second.user.id).not.toBe(first.user.id);
  });

  test('made twice at once is made once', async () => {
    const wish = { email: 'twice@keyframe.test', role: 'USER' };
    const made = await Promise.all([people.create(wish), people.create(wish), people.create(wish)]);
    expect(made.filter(({ user }) => user !== null)).toHaveLength(1);
    expect(made.flatMap(({ userErrors }) => userErrors)).toMatchObject([{ code: 'INVALID_INPUT' }, { code: 'INVALID_INPUT' }]); // prettier-ignore
  });
});

describe('updateUser and removeUser', () => {
  test('change what is given, and nothing else', async () => {
    const { id, email } = await people.somebody('changed', 'USER');
    const user = { id, email, displayName: 'changed', role: 'USER', status: 'ACTIVE' };
    expect(await people.update({ userId: id })).toEqual({ user, userErrors: [] });
    expect((await people.update({ userId: id, displayName: ' Chris Changed ' })).user).toEqual({ ...user, displayName: 'Chris Changed' }); // prettier-ignore
    expect((await people.update({ userId: id, role: 'OPERATIONS', displayName: null })).user).toEqual({ ...user, displayName: 'Chris Changed', role: 'OPERATIONS' }); // prettier-ignore
    expect(await people.update({ userId: id, displayName: '' })).toMatchObject({ user: null, userErrors: [{ code: 'INVALID_INPUT', field: ['displayName'] }] }); // prettier-ignore
  });

  test('keep to what a status means', async () => {
    const { user } = await people.create({ email: 'status@keyframe.test', role: 'USER' });
    const { id } = await people.somebody('status-too', 'USER');
    for (const [userId, status] of [[user.id, 'ACTIVE'], [id, 'INVITED']]) {
      expect(await people.update({ userId, status })).toMatchObject({ user: null, userErrors: [{ code: 'INVALID_INPUT', field: ['status'] }] });
    } // prettier-ignore
    expect(await people.update({ userId: user.id, status: 'LOCKED' })).toMatchObject({ user: { status: 'LOCKED' } });
  });

  test('a removed account is gone from every list, and cannot be removed again', async () => {
    const { id } = await people.somebody('gone', 'USER');
    expect(await people.remove(id)).toMatchObject({ user: { id, displayName: 'gone' }, userErrors: [] });
    const { users } = await admin.query('{ users(filter: { email: { startsWith: "gone@" } }) { nodes { id } } }');
    expect(users.nodes).toEqual([]);
    const refused = {
      user: null,
      userErrors: [{ code: 'NOT_FOUND', message: 'There is no such user.', field: ['userId'] }],
    };
    expect(await people.remove(id)).toEqual(refused);
    expect(await people.update({ userId: id, role: 'ADMIN' })).toEqual(refused);
  });
});

test.each([
  ['malformed', () => 'malformed'],
  ['empty', () => ''],
  ['of nothing', () => missingId('User')],
  ['of nothing', () => missingId('Instance')],
  ['a bare number', () => '1'],
  ['of another type', async () => instanceId(admin, 'web-1')],
])('an id that is %s answers as if missing, in the same words', async (_, give) => {
  const id = await give();
  const alice = (await (await app.as('alice')).query('{ viewer { id } }')).viewer.id;
  const missing = (field: string, what: string) => ({ user: null, userErrors: [{ code: 'NOT_FOUND', message: `There is no such ${what}.`, field: [field] }] }); // prettier-ignore
  expect(await people.update({ userId: id, role: 'ADMIN' })).toEqual(missing('userId', 'user'));
  expect(await people.remove(id)).toEqual(missing('userId', 'user'));
  for (const mutation of ['assignInstance', 'unassignInstance'] as const) {
    const web1 = await instanceId(admin, 'web-1');
    expect(await people.assign(mutation, id, web1)).toEqual({ ...missing('userId', 'user'), instance: null });
    const other = id === web1 ? alice : id;
    expect(await people.assign(mutation, alice, other)).toEqual({
      ...missing('instanceId', 'instance'),
      instance: null,
    });
  }
});

describe('the last administrator', () => {
  const adminId = async () => (await admin.query('{ viewer { id } }')).viewer.id;

  test('stays: not demoted, locked or removed, also while there are invited operators and locked administrators', async () => {
    const locked = await people.somebody('locked-admin', 'ADMIN');
    await people.update({ userId: locked.id, status: 'LOCKED' });
    const userId = await adminId();
    for (const attempt of [
      people.update({ userId, role: 'OPERATIONS' }),
      people.update({ userId, role: 'USER', displayName: 'Nobody' }),
      people.update({ userId, status: 'LOCKED' }),
      people.remove(userId),
      people.setPassword(userId),
    ]) {
      expect(await attempt).toMatchObject({ user: null, userErrors: [{ code: 'LAST_ADMIN', field: null }] });
    }
    expect((await admin.query('{ viewer { displayName role status } }')).viewer).toEqual({ displayName: 'Ada Admin', role: 'ADMIN', status: 'ACTIVE' }); // prettier-ignore
    await people.remove(locked.id);
  });

  test.each<[string, (userId: string, by: TestClient) => Promise<any>]>([
    ['set-password', (userId, by) => people.setPassword(userId, by)],
    ['demote', (userId, by) => people.update({ userId, role: 'USER' }, by)],
    ['lock', (userId, by) => people.update({ userId, status: 'LOCKED' }, by)],
    ['remove', (userId, by) => people.remove(userId, by)],
  ])('of two who do %s to each other, or to themselves, at once, one stays', async (what, act) => {
    for (const whom of ['each-other', 'themselves']) {
      const one = await people.somebody(`one-${what}-${whom}`, 'ADMIN');
      const two = await people.somebody(`two-${what}-${whom}`, 'ADMIN');
      const [first, second] = whom === 'themselves' ? [one, two] : [two, one];
      const results = await atOnce(() => [act(one.id, first.client), act(two.id, second.client)]);
      const told = results.flatMap((result) => (result.status === 'fulfilled' ? result.value.userErrors : [String(result.reason)])); // prettier-ignore
      // Whoever was first with the other has taken away what the other needs for it.
      expect(told).toEqual([whom === 'themselves' ? expect.objectContaining({ code: 'LAST_ADMIN' }) : expect.stringMatching(/UNAUTHENTICATED|FORBIDDEN/)]); // prettier-ignore
      for (const { id } of [one, two]) await people.remove(id);
    }
  });

  /** Runs both with nobody else to administer, and each past the gate before either has acted. */
  async function atOnce(both: () => Promise<any>[]): Promise<PromiseSettledResult<any>[]> {
    const gate = new Client({ connectionString: app.database.url });
    await gate.connect();
    try {
      await gate.query(`update users set role = 'OPERATIONS' where email = 'admin@keyframe.test'`);
      await gate.query('begin');
      await gate.query(`select from users where role = 'ADMIN' for update`);
      const acts = both();
      await until(async () => {
        const [{ waiting }] = await app.db.query(`select count(*)::int as waiting from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`); // prettier-ignore
        return waiting === 2;
      });
      await gate.query('commit');
      const results = await Promise.allSettled(acts);
      const { rows } = await gate.query(`select count(*)::int as left from users where role = 'ADMIN' and status = 'ACTIVE' and removed_at is null`); // prettier-ignore
      expect(rows).toEqual([{ left: 1 }]);
      return results;
    } finally {
      await gate.query(`update users set role = 'ADMIN' where email = 'admin@keyframe.test'`);
      await gate.end();
    }
  }
});

describe('setUserPassword', () => {
  test('lets in with a one-time password alone, which must be changed first, and ends what was open', async () => {
    const { id, email, password, client } = await people.somebody('forgetful', 'OPERATIONS');
    const { user, oneTimePassword, userErrors } = await people.setPassword(id);
    expect([user.status, userErrors]).toEqual(['INVITED', []]);
    expect((await client.send('{ viewer { id } }')).status).toBe(401);
    await expect(app.as(email, password)).rejects.toThrow('INVALID_CREDENTIALS');
    const again = await app.as(email, oneTimePassword);
    expect((await again.send('{ instances { totalCount } }')).status).toBe(403);
    expect((await again.query('{ viewer { status sessions { totalCount } } }')).viewer).toEqual({ status: 'INVITED', sessions: null }); // prettier-ignore
    await again.query('mutation ($a: String!, $b: String!) { changePassword(input: { currentPassword: $a, newPassword: $b }) { viewer { id } } }', { a: oneTimePassword, b: `${password}x` }); // prettier-ignore
    expect((await again.query('{ viewer { status } instances { totalCount } }')).viewer).toEqual({ status: 'ACTIVE' });
  });

  test('given twice, only the last one is good', async () => {
    const { id, email } = await people.somebody('very-forgetful', 'USER');
    const [first, second] = [await people.setPassword(id), await people.setPassword(id)];
    expect(first.oneTimePassword).not.toBe(second.oneTimePassword);
    await expect(app.as(email, first.oneTimePassword)).rejects.toThrow('INVALID_CREDENTIALS');
    await app.as(email, second.oneTimePassword);
  });

  test('opens no locked account, and whoever it is unlocked for must change it first', async () => {
    const { id, email } = await people.somebody('locked-and-forgetful', 'USER');
    await people.update({ userId: id, status: 'LOCKED' });
    const { user, oneTimePassword } = await people.setPassword(id);
    expect(user.status).toBe('LOCKED');
    await expect(app.as(email, oneTimePassword)).rejects.toThrow('INVALID_CREDENTIALS');
    expect((await people.update({ userId: id, status: 'ACTIVE' })).user.status).toBe('INVITED');
    await app.as(email, oneTimePassword);
  });

  test('is for ADMIN, and for accounts that are there', async () => {
    const ops = await people.somebody('no-resetter', 'OPERATIONS');
    const { errors } = await ops.client.send(SET_PASSWORD, { userId: ops.id });
    expect(errors?.[0]?.extensions).toMatchObject({ code: 'FORBIDDEN', requiredRoles: ['ADMIN'] });
    for (const userId of [missingId('User'), missingId('Instance'), 'malformed']) {
      expect(await people.setPassword(userId)).toEqual({ user: null, oneTimePassword: null, userErrors: [{ code: 'NOT_FOUND', message: 'There is no such user.', field: ['userId'] }] }); // prettier-ignore
    }
  });
});

describe('keyframe user create', () => {
  const config = (url: string | undefined) => readConfig('all', { KEYFRAME_DATA_DIR: app.folder, ...(url && { DATABASE_URL: url }) }); // prettier-ignore
  const wish = { email: 'Shell@keyframe.test', role: Role.ADMIN, name: 'Sheila Shell' };

  test('makes an account with a one-time password, once', async () => {
    const password = await createUserAtTheShell(config(app.database.url), wish);
    const shell = await app.as('shell@keyframe.test', password);
    const { viewer } = await shell.query('{ viewer { id displayName role status } }');
    expect(viewer).toMatchObject({ displayName: 'Sheila Shell', role: 'ADMIN', status: 'INVITED' });
    const entries = await app.db.query(`select action, actor_id, address, client from audit_events where resource_name = 'Sheila Shell' and action <> 'signIn'`); // prettier-ignore
    expect(entries).toEqual([{ action: 'createUser', actor_id: null, address: null, client: 'keyframe cli' }]);
    await expect(createUserAtTheShell(config(app.database.url), wish)).rejects.toMatchObject({ name: 'AppError', code: 'INVALID_INPUT' }); // prettier-ignore
    await people.remove(viewer.id);
  });

  test('says that the service is at work on the embedded database, and that a database has no schema yet', async () => {
    await expect(createUserAtTheShell(config(undefined), wish)).rejects.toThrow(/already in use/);
    const empty = await createDatabase({ empty: true });
    try {
      await expect(createUserAtTheShell(config(empty.url), wish)).rejects.toThrow(/no schema yet/);
    } finally {
      await empty.drop();
    }
  });
});

describeEffects(() => ({ app, admin }), people);
