/** Who did what is written down: every change with its entry, every refusal, and every look into the log itself. */
import { Client } from 'pg';
import { overSse, overWebSocket } from './support/access-streams';
import { makeToken, newPerson, updateUser } from './support/api-tokens';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { buildInstance, buildOperation, buildSnapshot, hold, missingId, uuidOf } from './support/rows';
import { ask, cancel, done, ended, instanceId } from './support/stories';
import { until } from './support/until';

let app: TestApp;
let admin: TestClient;
let ops: TestClient;
let alice: TestClient;
beforeAll(async () => {
  app = await startTestApp({ env: { OBSERVE_INTERVAL_SECONDS: '1' } });
  [admin, ops, alice] = await Promise.all([app.as('admin'), app.as('ops'), app.as('alice')]);
});
afterAll(() => app.stop());

const ENTRY = `id createdAt actor { id displayName } actorRole credential { kind id } address client action outcome code
  resourceType resourceId resourceName changes { field before after } correlationId position`;

async function entries(client: TestClient, filter: object, page = 'first: 50'): Promise<any[]> {
  const query = `query ($filter: AuditEventFilter) { auditEvents(${page}, filter: $filter) { nodes { ${ENTRY} } } }`;
  return (await client.query(query, { filter })).auditEvents.nodes;
}

const about = (id: string, client = admin) => entries(client, { resourceId: { eq: id } });
const shown = (found: any[]) => found.map(({ action, outcome, code, changes }) => ({ action, outcome, code, changes }));
const count = async () => Number((await app.db.query('select count(*) from audit_events'))[0].count);
const nobody = { field: 'description', before: null, after: 'Kept by nobody.' };

describe('a change', () => {
  test('of a snapshot is told with who, where from, by which credential, and what became of it', async () => {
    const web = await instanceId(ops, 'web-1');
    const input = { instanceId: web, name: 'audited', description: 'Kept by nobody.' };
    const made = await done(ops, 'createSnapshot', input);
    const [begun] = await about(made.snapshot?.id ?? '');
    const { viewer } = await ops.query('{ viewer { id displayName } }');
    expect(begun).toMatchObject({
      actor: viewer,
      actorRole: 'OPERATIONS',
      credential: { kind: 'SESSION', id: expect.any(String) },
      address: expect.stringMatching(/127\.0\.0\.1$/),
      client: 'node',
      action: 'createSnapshot',
      outcome: 'SUCCEEDED',
      code: null,
      resourceType: 'Snapshot',
      resourceId: made.snapshot?.id,
      resourceName: 'audited',
    });
    expect(begun.changes).toEqual(
      expect.arrayContaining([nobody, { field: 'name', before: null, after: 'audited' }, { field: 'stateful', before: null, after: 'false' }]),
    ); // prettier-ignore
    // The end is found by the same correlation id.
    const [end] = (await entries(admin, { correlationId: { eq: begun.correlationId } })).filter(({ action }) => action === 'operation.end'); // prettier-ignore
    expect(end).toMatchObject({ actor: viewer, actorRole: null, credential: null, address: null, outcome: 'SUCCEEDED', resourceId: made.id, resourceName: 'audited' }); // prettier-ignore
    expect(end.changes).toEqual([
      { field: 'kind', before: null, after: 'SNAPSHOT_CREATE' },
      { field: 'status', before: 'RUNNING', after: 'SUCCEEDED' },
    ]);
  });

  test('of every kind has its entry, which stays with the name when what it tells of is gone', async () => {
    const instance = await instanceId(ops, 'web-1');
    const snapshotId = (await done(ops, 'createSnapshot', { instanceId: instance, name: 'one' })).snapshot?.id ?? '';
    await done(ops, 'renameSnapshot', { snapshotId, name: 'two' });
    await ops.query(`mutation { updateSnapshot(input: { snapshotId: "${snapshotId}", description: "Text", expiresAt: null }) { userErrors { code } } }`); // prettier-ignore
    await done(ops, 'restoreSnapshot', { snapshotId });
    await done(ops, 'deleteSnapshot', { snapshotId });
    const found = await about(snapshotId);
    expect(shown(found.reverse()).slice(1)).toEqual([
      { action: 'renameSnapshot', outcome: 'SUCCEEDED', code: null, changes: [{ field: 'name', before: 'one', after: 'two' }] },
      { action: 'updateSnapshot', outcome: 'SUCCEEDED', code: null, changes: [{ field: 'description', before: null, after: 'Text' }] },
      { action: 'restoreSnapshot', outcome: 'SUCCEEDED', code: null, changes: [{ field: 'restoreMemory', before: null, after: 'false' }] },
      { action: 'deleteSnapshot', outcome: 'SUCCEEDED', code: null, changes: [] },
    ]); // prettier-ignore
    expect(found.at(-1).resourceName).toBe('two');
  });

  test('by deleteSnapshots has an entry for each snapshot, and for each that is refused', async () => {
    const instance = await instanceId(ops, 'build-1');
    const names = ['several-1', 'several-2'];
    const ids: string[] = [];
    for (const name of names) ids.push((await done(ops, 'createSnapshot', { instanceId: instance, name })).snapshot?.id ?? ''); // prettier-ignore
    const missing = missingId('Snapshot');
    const { deleteSnapshots } = await ops.query(
      'mutation ($ids: [ID!]!) { deleteSnapshots(input: { snapshotIds: $ids }) { operations { id } } }',
      { ids: [...ids, missing] },
    );
    await ended(ops, deleteSnapshots.operations[0].id);
    const told = await entries(admin, { action: { eq: 'deleteSnapshots' } });
    expect(told.map(({ resourceId, resourceName, outcome, code }) => [resourceId, resourceName, outcome, code]).sort()).toEqual(
      [[ids[0], 'several-1', 'SUCCEEDED', null], [ids[1], 'several-2', 'SUCCEEDED', null], [missing, null, 'REFUSED', 'NOT_FOUND']].sort(),
    ); // prettier-ignore
  });

  test('of an operation: withdrawn, asked for again', async () => {
    const instance = await buildInstance(app);
    const operation = await buildOperation(app, instance, { snapshot_name: 'later' });
    expect((await cancel(ops, operation)).userErrors).toEqual([]);
    const again = await ask(ops, 'retryOperation', { operationId: operation });
    expect(again.userErrors).toEqual([]);
    expect(shown(await about(operation))).toEqual([
      { action: 'retryOperation', outcome: 'SUCCEEDED', code: null, changes: expect.any(Array) },
      { action: 'cancelOperation', outcome: 'SUCCEEDED', code: null, changes: [{ field: 'status', before: 'QUEUED', after: 'CANCELLED' }] },
    ]); // prettier-ignore
  });

  test('that the system makes by itself has no actor, nor has an operation that nobody asked for', async () => {
    const instance = await instanceId(ops, 'build-1');
    const snapshotId = (await done(ops, 'createSnapshot', { instanceId: instance, name: 'short-lived' })).snapshot?.id ?? ''; // prettier-ignore
    await app.db.query('update snapshots set expires_at = now() where id = $1', [uuidOf(snapshotId)]);
    const [entry] = await until(() => entries(admin, { action: { eq: 'snapshot.expire' } }).then((found) => found.length > 0 && found)); // prettier-ignore
    expect(entry).toMatchObject({ actor: null, actorRole: null, address: null, resourceName: 'short-lived', outcome: 'SUCCEEDED' }); // prettier-ignore
    const ends = () => entries(admin, { correlationId: { eq: entry.correlationId }, action: { eq: 'operation.end' } });
    const [end] = await until(() => ends().then((found) => found.length > 0 && found));
    expect(end).toMatchObject({ actor: null, outcome: 'SUCCEEDED' });
  });

  test('that fails after it was accepted is told with its code', async () => {
    const instance = await buildInstance(app);
    const { operation } = await ask(ops, 'createSnapshot', { instanceId: instance, name: 'nowhere' });
    await ended(ops, operation.id);
    expect(shown(await about(operation.id))).toMatchObject([{ action: 'operation.end', outcome: 'FAILED', code: 'NOT_FOUND' }]); // prettier-ignore
  });

  test('that is only repeated under its key is not told again', async () => {
    const input = { instanceId: await instanceId(ops, 'web-1'), name: 'repeated', idempotencyKey: 'a key of mine' };
    const { snapshot } = await done(ops, 'createSnapshot', input);
    expect((await ask(ops, 'createSnapshot', input)).replayed).toBe(true);
    const found = await about(snapshot?.id ?? '');
    expect(found).toHaveLength(1);
    expect(JSON.stringify(found)).not.toContain('a key of mine');
  });
});

describe('a refusal', () => {
  test.each<[string, () => Promise<string>, string, string | null]>([
    ['of a wish for what is not there', () => Promise.resolve(missingId('Snapshot')), 'NOT_FOUND', null],
    ['of a snapshot that is not whole', () => buildInstance(app).then((of) => buildSnapshot(app, of, { name: 'half', status: 'ERROR' })), 'SNAPSHOT_NOT_READY', 'half'],
  ])('%s is told with its code, and the name when there is one', async (_, of, code, name) => {
    const snapshotId = await of();
    const { userErrors } = await ask(ops, 'restoreSnapshot', { snapshotId });
    expect(userErrors).toMatchObject([{ code }]);
    const found = await about(snapshotId);
    expect(found).toMatchObject([{ action: 'restoreSnapshot', outcome: 'REFUSED', code, resourceName: name, actorRole: 'OPERATIONS', correlationId: userErrors[0].correlationId }]); // prettier-ignore
  }); // prettier-ignore

  test('because the instance is busy is told, and nothing else is', async () => {
    const instance = await buildInstance(app, { name: 'busy-one' });
    const held = await hold(app, instance);
    const before = await count();
    await ask(ops, 'createSnapshot', { instanceId: instance, name: 'refused' });
    expect(await count()).toBe(before + 1);
    expect(await about(instance)).toMatchObject([{ action: 'createSnapshot', outcome: 'REFUSED', code: 'INSTANCE_BUSY', resourceName: 'busy-one' }]); // prettier-ignore
    await held.release();
  });

  const CREATE = 'createSnapshot(input: { instanceId: "x", name: "refused" }) { replayed }';
  test.each<[string, (query: string) => Promise<unknown>]>([
    ['HTTP', (query) => alice.send(query)],
    ['WebSocket', (query) => overWebSocket(alice, query)],
    ['server-sent events', (query) => overSse(alice, query)],
  ])('by role is one entry for the request, over %s, whatever it calls its fields', async (_, send) => {
    const before = await count();
    await send(`mutation { deleteUser: ${CREATE} ...F } fragment F on Mutation { b: ${CREATE} cancelOperation(input: { operationId: "x" }) { userErrors { code } } }`); // prettier-ignore
    const [entry] = await entries(alice, { code: { eq: 'FORBIDDEN' } }, 'first: 1');
    expect(await count()).toBe(before + 2); // with the look into the log
    expect(entry).toMatchObject({ action: 'createSnapshot cancelOperation', outcome: 'REFUSED', actorRole: 'USER', resourceId: null }); // prettier-ignore
  });

  test('of a field below says which root it hung from', async () => {
    await alice.send('{ all: instances { nodes { assignments { totalCount } } } }');
    expect((await entries(alice, { code: { eq: 'FORBIDDEN' } }, 'first: 1'))[0]?.action).toBe('instances');
  });

  test('of a stranger leaves nothing, so that nobody can fill the table', async () => {
    const before = await count();
    expect((await app.anonymous.send(`mutation { ${CREATE} }`)).status).toBe(401);
    await overWebSocket(app.anonymous, `mutation { ${CREATE} }`);
    expect(await count()).toBe(before);
  });
});

describe('who reads the log', () => {
  test.each([
    ['{ a: auditEvents { totalCount } b: auditEvents { totalCount } }', 'auditEvents'],
    ['{ auditVerification { intact } }', 'auditVerification'],
  ])('is in it, once for each query: %s', async (query, action) => {
    const before = await count();
    await admin.query(query);
    expect(await count()).toBe(before + 1);
    const [{ last }] = await app.db.query('select action as last from audit_events order by created_at desc, id desc limit 1'); // prettier-ignore
    expect(last).toBe(action);
  });

  test('by an id is in it as well, when there is such an entry', async () => {
    const [entry] = await entries(admin, {});
    const before = await count();
    const read = `query ($ids: [ID!]!) { nodes(ids: $ids) { id ... on AuditEvent { action } } }`;
    const { nodes } = await admin.query(read, { ids: [entry.id, entry.id] });
    expect(nodes[0]).toEqual({ id: entry.id, action: entry.action });
    expect(await count()).toBe(before + 1);
    await admin.query(read, { ids: [missingId('AuditEvent')] });
    expect(await count()).toBe(before + 1);
  });

  test('sees their own; OPERATIONS also what was done to snapshots, instances and operations; ADMIN all', async () => {
    const { viewer } = await alice.query('{ viewer { id } }');
    await alice.send('{ users { totalCount } }');
    const web = await instanceId(ops, 'web-1');
    const { snapshot } = await done(ops, 'createSnapshot', { instanceId: web, name: 'not-for-alice' });
    const all = await app.db.query('select count(*)::int as all, count(*) filter (where actor_id = $1)::int as hers from audit_events', [uuidOf(viewer.id)]); // prettier-ignore
    const { auditEvents } = await alice.query('{ auditEvents(first: 100) { totalCount nodes { actor { id } } } }');
    expect(auditEvents.totalCount).toBe(Number(all[0].hers) + 1);
    expect(new Set(auditEvents.nodes.map(({ actor }: any) => actor.id))).toEqual(new Set([viewer.id]));
    const [entry] = await about(snapshot?.id ?? '', ops);
    expect(await about(snapshot?.id ?? '', alice)).toEqual([]);
    expect(await alice.query(`{ node(id: "${entry.id}") { id } }`)).toEqual({ node: null });
    expect(await entries(ops, { actorId: { eq: viewer.id } })).toEqual([]);
    expect(await entries(admin, { actorId: { eq: viewer.id } })).not.toEqual([]);
  });

  test('is told from where and as what others did something only as ADMIN', async () => {
    const { snapshot } = await done(admin, 'createSnapshot', { instanceId: await instanceId(ops, 'web-1'), name: 'by-admin' }); // prettier-ignore
    const { viewer } = await admin.query('{ viewer { id displayName } }');
    const mine = { action: { eq: 'createSnapshot' }, resourceId: { eq: snapshot?.id } };
    const withheld = { actorRole: null, credential: null, address: null, client: null };
    const told = { actorRole: 'ADMIN', credential: { kind: 'SESSION' }, client: 'node' };
    expect(await entries(ops, mine)).toMatchObject([{ actor: viewer, ...withheld }]);
    expect(await entries(admin, mine)).toMatchObject([{ actor: viewer, ...told }]);
  });

  test('by an API token sees what was done by that token; as a USER, what they did as USER', async () => {
    const { id, client } = await newPerson(app, admin, 'OPERATIONS');
    await ask(client, 'restoreSnapshot', { snapshotId: missingId('Snapshot') });
    const asUser = await makeToken(client, { role: 'USER' });
    const asOperations = await makeToken(client, { role: 'OPERATIONS' });
    const actions = async (by: TestClient) => (await entries(by, {})).map(({ action }) => action);
    expect(await actions(asUser.client)).toEqual(['auditEvents']);
    const seen = await actions(asOperations.client);
    expect(seen).toContain('restoreSnapshot');
    expect(seen).not.toContain('createApiToken');
    await updateUser(admin, id, { role: 'USER' });
    expect(await actions(asOperations.client)).toEqual(['auditEvents']);
    // With the session it is what they did in the role of a USER, by whatever credential.
    const own = await actions(client);
    expect(own).toContain('auditEvents');
    expect(own).not.toContain('restoreSnapshot');
    expect(own).not.toContain('createApiToken');
  });

  test('finds by what, outcome, code, who, to what, request and time, and by all of it together', async () => {
    const snapshotId = missingId('Snapshot');
    const [{ correlationId }] = (await ask(ops, 'restoreSnapshot', { snapshotId })).userErrors;
    // Once it has its place in the chain, it is the same however often it is read.
    const entry = await until(() => about(snapshotId).then(([found]) => found?.position !== null && found), 15_000, 'the sealer'); // prettier-ignore
    const { createdAt, actor } = entry;
    const fits = [
      { action: { eq: 'restoreSnapshot' } }, { action: { startsWith: 'restore' } }, { outcome: { in: ['REFUSED'] } }, { code: { eq: 'NOT_FOUND' } },
      { actorId: { in: [actor.id] } }, { resourceType: { eq: 'Snapshot' } }, { correlationId: { eq: correlationId } }, { createdAt: { gte: createdAt } },
      { or: [{ resourceId: { eq: 'malformed' } }, { actorId: { eq: actor.id } }] }, { not: { resourceId: { eq: missingId('Snapshot') } } },
    ]; // prettier-ignore
    const resourceId = { eq: snapshotId };
    for (const filter of [...fits, { and: fits }]) {
      expect([filter, await entries(admin, { resourceId, ...filter })]).toEqual([filter, [entry]]);
      expect(await entries(admin, { resourceId, not: filter })).toEqual([]);
    }
  });

  test('pages forth and back through all of it, in either order', async () => {
    const walk = async (direction: string, step: (cursor: string | null) => string, cursorOf: string, flag: string) => {
      const ids: string[] = [];
      for (let cursor: string | null = null; ;) {
        const query: string = `{ auditEvents(${step(cursor)}, filter: { outcome: { eq: REFUSED } }, orderBy: { field: CREATED_AT, direction: ${direction} }) { nodes { id } pageInfo { ${flag} ${cursorOf} } } }`; // prettier-ignore
        const { nodes, pageInfo } = (await admin.query(query)).auditEvents;
        ids.push(...nodes.map(({ id }: { id: string }) => id));
        cursor = pageInfo[cursorOf];
        if (!pageInfo[flag]) return ids;
      }
    };
    const forth = await walk('DESC', (at) => `first: 3${at ? `, after: "${at}"` : ''}`, 'endCursor', 'hasNextPage');
    const old = await walk('ASC', (at) => `first: 4${at ? `, after: "${at}"` : ''}`, 'endCursor', 'hasNextPage');
    expect(forth.length).toBeGreaterThan(6);
    expect(new Set(forth).size).toBe(forth.length);
    expect(old).toEqual([...forth].reverse());
  });
});

test('everything that was written is sealed within seconds, verified, and found again by its place', async () => {
  await until(async () => (await app.db.query('select from audit_events where position is null')).length === 0, 15_000, 'the sealer'); // prettier-ignore
  const { auditVerification } = await admin.query(
    '{ auditVerification { intact firstBad { fault id position } checkedCount unsignedCount unsealedCount newestCheckpoint { position hash createdAt } } }',
  );
  expect(auditVerification).toMatchObject({ intact: true, firstBad: null, unsignedCount: 0, newestCheckpoint: { hash: expect.stringMatching(/^[0-9a-f]{64}$/) } }); // prettier-ignore
  expect(auditVerification.checkedCount).toBe(await count());
});

test('one verification at a time: who asks meanwhile is told what that one finds', async () => {
  const owner = new Client({ connectionString: app.database.migrationUrl });
  await owner.connect();
  try {
    await owner.query('begin; lock table audit_checkpoints in access exclusive mode');
    const before = await count();
    const asked = [1, 2, 3].map(() => admin.query('{ auditVerification { intact } }'));
    const waiting = `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%from audit_checkpoints)::float8 as checkpoint%'`; // prettier-ignore
    await until(async () => (await count()) >= before + 3 && (await app.db.query(waiting)).length > 0);
    expect(await app.db.query(waiting)).toHaveLength(1);
    await owner.query('rollback');
    for (const answer of asked) expect(await answer).toEqual({ auditVerification: { intact: true } });
  } finally {
    await owner.end();
  }
});

test('an entry that cannot be written undoes what it was to tell of', async () => {
  const instance = await buildInstance(app);
  const owner = new Client({ connectionString: app.database.migrationUrl });
  await owner.connect();
  await owner.query(`alter table audit_events add constraint no_more check (action <> 'createSnapshot') not valid`);
  const refused = await ops.send('mutation ($id: ID!) { createSnapshot(input: { instanceId: $id, name: "untold" }) { replayed } }', { id: instance }); // prettier-ignore
  await owner.query('alter table audit_events drop constraint no_more');
  await owner.end();
  expect(refused.errors).toMatchObject([{ extensions: { code: 'INTERNAL_SERVER_ERROR' } }]);
  const { snapshots } = await ops.query('{ snapshots(filter: { name: { eq: "untold" } }) { totalCount } }');
  expect(snapshots.totalCount).toBe(0);
});
