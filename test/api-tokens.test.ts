/** Tokens for programs: what they are made of, who may make them, and that they can do no more than their owner wanted. */
import { crc32 } from 'node:zlib';
import { mintApiToken, parseApiToken } from '../src/auth/api-tokens';
import { statementsOf, told } from './support/access-world';
import { askForToken, makeToken, newPerson, revokeToken, TOKEN, updateUser } from './support/api-tokens';
import { startTestApp, TestClient, type TestApp } from './support/app';
import { missingId, uuidOf } from './support/rows';
import { instanceId } from './support/stories';
import { until } from './support/until';

let app: TestApp;
let admin: TestClient;
let ops: TestClient;
let alice: TestClient;
beforeAll(async () => {
  app = await startTestApp({ env: { OBSERVE_INTERVAL_SECONDS: '3600' } });
  [admin, ops, alice] = await Promise.all([app.as('admin'), app.as('ops'), app.as('alice')]);
});
afterAll(() => app.stop());

const as = (token: string) => new TestClient(app.url, token, null);
const idOfViewer = async (client: TestClient): Promise<string> => (await client.query('{ viewer { id } }')).viewer.id;
const status = async (client: TestClient) => (await client.send('{ viewer { id } }')).status;
const auditOf = (id: string) =>
  app.db.query('select * from audit_events where resource_id = $1 order by created_at', [uuidOf(id)]);

describe('a token', () => {
  test('is shown once, is found by scanners, and is nowhere kept', async () => {
    const { token, apiToken } = await askForToken(alice, { name: '  nightly report ' });
    expect(token).toMatch(/^keyframe_[0-9a-f]{32}_[0-9a-f]{48}$/);
    expect(apiToken).toMatchObject({
      name: 'nightly report', role: 'USER', instanceIds: null, expiresAt: null, lastUsedAt: null, revokedAt: null,
      user: { id: await idOfViewer(alice) },
    }); // prettier-ignore
    expect(token.startsWith(`${apiToken.prefix}_`)).toBe(true);
    const secret = token.slice(-48, -8);
    for (const { name } of await app.db.query(`select tablename as name from pg_tables where schemaname = 'public'`)) {
      const [{ found }] = await app.db.query(`select count(*)::int as found from ${name} t where t::text ilike '%' || $1 || '%'`, [secret]); // prettier-ignore
      expect([name, found]).toEqual([name, 0]);
    }
    expect(await auditOf(apiToken.id)).toMatchObject([{ action: 'createApiToken', outcome: 'SUCCEEDED', credential_kind: 'SESSION', resource_type: 'ApiToken', resource_name: 'nightly report' }]); // prettier-ignore
  });

  test('acts as its owner', async () => {
    const { client } = await makeToken(alice);
    expect(await idOfViewer(client)).toBe(await idOfViewer(alice));
    const names = '{ instances { totalCount nodes { name } } }';
    expect(await client.query(names)).toEqual(await alice.query(names));
  });

  test('that was mistyped anywhere costs no look-up, and says no more than any other', async () => {
    const { token } = await makeToken(alice);
    const asked = jest.spyOn(app.db, 'query');
    try {
      for (let at = 0; at < token.length; at += 1) {
        const edited = token.slice(0, at) + (token[at] === '0' ? '1' : '0') + token.slice(at + 1);
        expect([edited, parseApiToken(edited)]).toEqual([edited, null]);
      }
      for (const bad of [token.slice(0, -1), `${token}0`, token.toUpperCase(), `${token}\u00a0`, token.replace('keyframe', 'Keyframe')]) expect(parseApiToken(bad)).toBe(null); // prettier-ignore
      asked.mockClear();
      const answer = await as(token.replace(/.$/, (last) => (last === '0' ? '1' : '0'))).send('{ viewer { id } }');
      expect(answer).toMatchObject({ status: 401, errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] });
      // The process does its own work meanwhile.
      expect(asked.mock.calls.filter(([sql]) => /api_tokens|sessions|users/.test(sql))).toEqual([]);
    } finally {
      asked.mockRestore();
    }
  });

  test('that was guessed is refused in the same words and by the same statements, whether its id is known or not', async () => {
    const { token } = await makeToken(alice);
    const signed = (body: string) => body + crc32(body).toString(16).padStart(8, '0');
    const wrongSecret = signed(`${token.slice(0, 42)}${'0'.repeat(40)}`);
    const unknown = mintApiToken(uuidOf(missingId('ApiToken'))).token;
    const refused = (guess: string) => statementsOf(app, async () => told(await as(guess).send('{ viewer { id } }')));
    const known = await refused(wrongSecret);
    expect(known.result).toMatchObject({ status: 401, errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] });
    expect(known.statements).toHaveLength(1);
    expect(await refused(unknown)).toEqual(known);
    expect(parseApiToken(wrongSecret)).not.toBe(null);
    expect((await as(wrongSecret).send('{ apiInfo { version } }')).status).toBe(200);
  });
});

describe('createApiToken refuses', () => {
  const soon = () => new Date(Date.now() + 86_400_000).toISOString();
  test.each<[string, object, string, string]>([
    ['an empty name', { name: '  ' }, 'INVALID_INPUT', 'name'],
    ['a name that is too long', { name: 'n'.repeat(101) }, 'INVALID_INPUT', 'name'],
    ['a name with a null character', { name: 'a\0b' }, 'INVALID_INPUT', 'name'],
    ['a name with a line break', { name: 'a\nb' }, 'INVALID_INPUT', 'name'],
    ['a name that turns the writing round', { name: 'a\u202eb' }, 'INVALID_INPUT', 'name'],
    ['a role above one’s own', { role: 'ADMIN' }, 'INVALID_INPUT', 'role'],
    ['a time that has passed', { expiresAt: '2020-01-01T00:00:00Z' }, 'INVALID_INPUT', 'expiresAt'],
    ['a time more than 366 days ahead', { expiresAt: new Date(Date.now() + 367 * 86_400_000).toISOString() }, 'INVALID_INPUT', 'expiresAt'],
    ['a list of no instance', { instanceIds: [] }, 'INVALID_INPUT', 'instanceIds'],
    ['more than 100 instances', { instanceIds: Array.from({ length: 101 }, () => missingId('Instance')) }, 'INVALID_INPUT', 'instanceIds'],
    ['an instance that is not there', { instanceIds: [missingId('Instance')] }, 'NOT_FOUND', 'instanceIds'],
    ['an id of something else', { instanceIds: [missingId('Snapshot')] }, 'NOT_FOUND', 'instanceIds'],
    ['what is no id', { instanceIds: ['nonsense'] }, 'NOT_FOUND', 'instanceIds'],
  ])('%s', async (_, input, code, field) => {
    const { token, apiToken, userErrors } = await askForToken(ops, { expiresAt: soon(), ...input });
    expect([token, apiToken]).toEqual([null, null]);
    expect(userErrors).toMatchObject([{ code, field: [field] }]);
  }); // prettier-ignore

  test('a USER’s token of a higher role, and one for an instance hidden from them in the words for a missing one', async () => {
    for (const role of ['OPERATIONS', 'ADMIN']) {
      expect((await askForToken(alice, { role })).userErrors).toMatchObject([{ code: 'INVALID_INPUT', field: ['role'] }]); // prettier-ignore
    }
    const [mine, hidden] = [await instanceId(alice, 'web-1'), await instanceId(ops, 'build-1')];
    const answers = await Promise.all([[mine, hidden], [mine, missingId('Instance')]].map((instanceIds) => askForToken(alice, { instanceIds }))); // prettier-ignore
    expect(answers[0].userErrors).toMatchObject([{ code: 'NOT_FOUND' }]);
    expect(answers[0]).toEqual(answers[1]);
  });

  test('an administrator’s token for some instances only', async () => {
    const instanceIds = [await instanceId(ops, 'web-1')];
    const { userErrors } = await askForToken(admin, { role: 'ADMIN', instanceIds });
    expect(userErrors).toMatchObject([{ code: 'INVALID_INPUT', field: ['role'] }]);
    await expect(app.db.query(`update api_tokens set role = 'ADMIN', instance_ids = '{}'`)).rejects.toThrow('api_token_of_some_instances'); // prettier-ignore
  });

  test('one more than fifty, also by two requests at once; one that was revoked makes room', async () => {
    const { id, client } = await newPerson(app, admin, 'USER');
    await app.db.query(
      `insert into api_tokens (id, user_id, name, role, secret_hash, created_at)
       select gen_random_uuid(), $1, 'one of many', 'USER', '\\x00', now() from generate_series(1, 49)`,
      [uuidOf(id)],
    );
    const two = await Promise.all([askForToken(client, {}), askForToken(client, {})]);
    expect(two.flatMap(({ userErrors }) => userErrors)).toMatchObject([{ code: 'QUOTA_EXCEEDED' }]);
    await revokeToken(client, two.find(({ token }) => token).apiToken.id);
    expect((await askForToken(client, {})).userErrors).toEqual([]);
  });
});

describe('who sees and revokes tokens', () => {
  const listOf = (userId: string) => `query { node(id: "${userId}") { ... on User { apiTokens { totalCount nodes { ${TOKEN} } } } } }`; // prettier-ignore

  test('people their own, administrators everyone’s, and others none, not even by id', async () => {
    const person = await newPerson(app, admin, 'USER');
    const made = await makeToken(person.client, { expiresAt: new Date(Date.now() + 60_000).toISOString() });
    const { viewer } = await person.client.query(`{ viewer { apiTokens { totalCount nodes { ${TOKEN} } } } }`);
    expect(viewer.apiTokens).toMatchObject({ totalCount: 1, nodes: [{ id: made.id, name: 'a program' }] });
    expect((await admin.query(listOf(person.id))).node.apiTokens).toEqual(viewer.apiTokens);
    const node = `{ node(id: "${made.id}") { ... on ApiToken { ${TOKEN} } } }`;
    expect((await admin.query(node)).node).toEqual(viewer.apiTokens.nodes[0]);
    expect((await person.client.query(node)).node).toEqual(viewer.apiTokens.nodes[0]);
    for (const other of [ops, alice, made.client]) expect(await other.query(node)).toEqual({ node: null });
    for (const other of [ops, alice]) {
      const { userErrors } = await revokeToken(other, made.id);
      expect(userErrors).toEqual((await revokeToken(other, missingId('ApiToken'))).userErrors);
    }
    expect(await status(made.client)).toBe(200);
  });

  test('a person who was made out by what they did shows no tokens to others', async () => {
    const made = `{ snapshots(first: 1, filter: { origin: { eq: MANUAL } }) { nodes { createdBy { id apiTokens { totalCount } } } } }`;
    const create = 'mutation ($id: ID!) { createSnapshot(input: { instanceId: $id, name: "of-the-admin" }) { userErrors { code } } }'; // prettier-ignore
    await admin.query(create, { id: await instanceId(admin, 'cache-1') });
    const { snapshots } = await ops.query(made);
    expect(snapshots.nodes).toMatchObject([{ createdBy: { apiTokens: null } }]);
  });

  test('revoking twice, also at once, is revoking once: one entry in the audit log', async () => {
    const made = await makeToken(alice);
    const answers = await Promise.all([revokeToken(alice, made.id), revokeToken(admin, made.id), revokeToken(alice, made.id)]); // prettier-ignore
    const later = await revokeToken(alice, made.id);
    for (const { apiToken, userErrors } of [...answers, later]) {
      expect(userErrors).toEqual([]);
      expect(apiToken.revokedAt).toBe(later.apiToken.revokedAt);
    }
    expect(later.apiToken.revokedAt).not.toBe(null);
    expect((await auditOf(made.id)).map(({ action }: { action: string }) => action)).toEqual(['createApiToken', 'revokeApiToken']); // prettier-ignore
    expect(await status(made.client)).toBe(401);
  });
});

describe('what an API token cannot do, whatever its role', () => {
  const REFUSED = [
    'mutation { createApiToken(input: { name: "another", role: USER }) { token } }',
    'mutation { revokeApiToken(input: { apiTokenId: "x" }) { userErrors { code } } }',
    'mutation { changePassword(input: { currentPassword: "x", newPassword: "y" }) { userErrors { code } } }',
    'mutation { signOut { userErrors { code } } }',
    '{ viewer { apiTokens { totalCount } } }',
    '{ viewer { ...F } } fragment F on User { tokens: apiTokens { nodes { name } } }',
  ];

  test.each(['alice', 'ops', 'admin'])('nothing that is about credentials: %s', async (account) => {
    const person = await app.as(account);
    const role = { alice: 'USER', ops: 'OPERATIONS', admin: 'ADMIN' }[account];
    const { client } = await makeToken(person, { role });
    for (const document of REFUSED) {
      const answer = await client.send(document);
      expect(answer).toMatchObject({
        status: 403,
        errors: [{ message: expect.stringMatching(/API token .* Write to help@keyframe.test/), extensions: { code: 'FORBIDDEN', requiredRoles: ['USER', 'OPERATIONS', 'ADMIN'], contact: 'Write to help@keyframe.test' } }],
      }); // prettier-ignore
      expect(answer).not.toHaveProperty('data');
    }
    expect(await status(person)).toBe(200);
  });

  test('end the account of a person, with the role of ADMIN', async () => {
    const { client } = await makeToken(admin, { role: 'ADMIN' });
    const { id } = await newPerson(app, admin, 'USER');
    const remove = `mutation { removeUser(input: { userId: "${id}" }) { userErrors { code } } }`;
    expect((await client.send(remove)).status).toBe(403);
    expect((await admin.query(`{ node(id: "${id}") { id } }`)).node).toEqual({ id });
  });
});

describe('the role is the lower of the token’s and its owner’s', () => {
  const create = 'mutation { createSnapshot(input: { instanceId: "malformed", name: "x" }) { userErrors { code } } }';
  const users = '{ users { totalCount } }';

  test('a token of a lower role does what that role may, and what it did is told of its owner', async () => {
    const asUser = await makeToken(admin, { role: 'USER' });
    const asOperator = await makeToken(admin, { role: 'OPERATIONS' });
    const asAdmin = await makeToken(admin, { role: 'ADMIN' });
    const statuses = async (client: TestClient) => [(await client.send(create)).status, (await client.send(users)).status];
    expect(await statuses(asUser.client)).toEqual([403, 403]);
    expect(await statuses(asOperator.client)).toEqual([200, 403]);
    expect(await statuses(asAdmin.client)).toEqual([200, 200]);
    // Nothing is assigned to the administrator, so as a USER they see nothing.
    expect((await asUser.client.query('{ instances { totalCount } }')).instances.totalCount).toBe(0);
    expect((await asUser.client.query('{ viewer { role } }')).viewer).toEqual({ role: 'ADMIN' });
    const allowed = `{ instances(first: 1) { nodes { viewerPermissions { createSnapshot { reason } } } } }`;
    const asAlice = await makeToken(alice);
    expect((await asAlice.client.query(allowed)).instances.nodes[0].viewerPermissions.createSnapshot.reason).toBe('FORBIDDEN'); // prettier-ignore
  }); // prettier-ignore

  test('an owner who is demoted demotes their tokens, from the next request on', async () => {
    const { id, client } = await newPerson(app, admin, 'ADMIN');
    const made = await makeToken(client, { role: 'ADMIN' });
    expect((await made.client.send(users)).status).toBe(200);
    await updateUser(admin, id, { role: 'OPERATIONS' });
    expect([(await made.client.send(users)).status, (await made.client.send(create)).status]).toEqual([403, 200]);
    await updateUser(admin, id, { role: 'USER' });
    expect((await made.client.send(create)).status).toBe(403);
    await updateUser(admin, id, { role: 'ADMIN' });
    expect((await made.client.send(users)).status).toBe(200);
  });
});

describe('a token ends, from the next request on,', () => {
  test('when it expires, and when it was not used for a year', async () => {
    const made = await makeToken(alice, { expiresAt: new Date(Date.now() + 60_000).toISOString() });
    expect(await status(made.client)).toBe(200);
    await app.db.query(`update api_tokens set expires_at = now() where id = $1`, [uuidOf(made.id)]);
    expect(await status(made.client)).toBe(401);
    const forgotten = await makeToken(alice);
    await app.db.query(`update api_tokens set created_at = now() - interval '366 days' where id = $1`, [uuidOf(forgotten.id)]); // prettier-ignore
    expect(await status(forgotten.client)).toBe(401);
  });

  test('when its owner is locked, has a one-time password to change, or is removed', async () => {
    const { id, client } = await newPerson(app, admin, 'USER');
    const made = await makeToken(client);
    await updateUser(admin, id, { status: 'LOCKED' });
    expect(await status(made.client)).toBe(401);
    await updateUser(admin, id, { status: 'ACTIVE' });
    expect(await status(made.client)).toBe(200);
    await app.db.query(`update users set status = 'INVITED', one_time_password = true where id = $1`, [uuidOf(id)]);
    expect(await status(made.client)).toBe(401);
    await app.db.query(`update users set status = 'ACTIVE', one_time_password = false where id = $1`, [uuidOf(id)]);
    await admin.query('mutation ($id: ID!) { removeUser(input: { userId: $id }) { user { id } } }', { id });
    expect(await status(made.client)).toBe(401);
    expect(await admin.query(`{ node(id: "${id}") { id } }`)).toEqual({ node: null });
  });

  test('but not when the person who made it signs out', async () => {
    const session = await app.as('alice');
    const made = await makeToken(session);
    await session.query('mutation { signOut { userErrors { code } } }');
    expect([await status(session), await status(made.client)]).toEqual([401, 200]);
  });
});

describe('its last use', () => {
  const lastUsed = async (id: string) => (await alice.query(`{ node(id: "${id}") { ... on ApiToken { lastUsedAt } } }`)).node.lastUsedAt; // prettier-ignore

  test('is written soon, and once a minute however many use it at once', async () => {
    const made = await makeToken(alice);
    await Promise.all(Array.from({ length: 20 }, () => made.client.query('{ viewer { id } }')));
    const first = await until(() => lastUsed(made.id));
    await Promise.all(Array.from({ length: 20 }, () => made.client.query('{ viewer { id } }')));
    expect(await lastUsed(made.id)).toBe(first);
    await app.db.query(`update api_tokens set last_used_at = now() - interval '61 seconds' where id = $1`, [uuidOf(made.id)]); // prettier-ignore
    await made.client.query('{ viewer { id } }');
    await until(async () => (await lastUsed(made.id)) >= first);
  });

  test('keeps no request waiting, not even while its row is locked', async () => {
    const made = await makeToken(alice);
    const runner = app.db.createQueryRunner();
    try {
      await runner.startTransaction();
      await runner.query('select from api_tokens where id = $1 for update', [uuidOf(made.id)]);
      for (let count = 0; count < 5; count += 1) expect(await status(made.client)).toBe(200);
    } finally {
      await runner.rollbackTransaction();
      await runner.release();
    }
    expect(await lastUsed(made.id)).toBe(null);
    await made.client.query('{ viewer { id } }');
    await until(() => lastUsed(made.id));
  });

  test('is not noted for a wrong secret', async () => {
    const made = await makeToken(alice);
    const body = `${made.token.slice(0, 42)}${'0'.repeat(40)}`;
    expect(await status(as(body + crc32(body).toString(16).padStart(8, '0')))).toBe(401);
    const other = await makeToken(alice);
    await other.client.query('{ viewer { id } }');
    await until(() => lastUsed(other.id));
    expect(await lastUsed(made.id)).toBe(null);
  });
});
