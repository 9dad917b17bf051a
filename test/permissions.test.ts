import { startTestApp, type TestApp, type TestClient } from './support/app';
import { buildInstance, buildSnapshot, hold, uuidOf } from './support/rows';

let app: TestApp;
const people: Record<string, TestClient> = {};

beforeAll(async () => {
  app = await startTestApp();
  for (const account of ['alice', 'ops', 'admin']) people[account] = await app.as(account);
});
afterAll(() => app.stop());

const client = (account: string): TestClient => people[account] ?? app.anonymous;

/** An instance in this state, which alice may see, with one snapshot in that state. */
async function scene({
  instance = {},
  snapshot = {},
  busy = false,
}: Scene): Promise<{ instance: string; snapshot: string }> {
  const id = await buildInstance(app, instance);
  await app.db.query(
    `insert into instance_assignments (id, user_id, instance_id, created_at)
     select gen_random_uuid(), id, $1, now() from users where email like 'alice@%'`,
    [uuidOf(id)],
  );
  if (busy) await hold(app, id);
  return { instance: id, snapshot: await buildSnapshot(app, id, snapshot) };
}

interface Scene {
  instance?: object;
  snapshot?: object;
  busy?: boolean;
}

const SCENES: Record<string, Scene> = {
  'running, memory can be captured': { instance: { status: 'RUNNING' } },
  'running, memory cannot be captured': { instance: { status: 'RUNNING', stateful_obstacles: '{"Not set up."}' } },
  stopped: {},
  'in ERROR': { instance: { status: 'ERROR' } },
  starting: { instance: { status: 'RESTARTING' } },
  'gone from the engine': { instance: { status: 'DELETED' } },
  busy: { busy: true },
  'with a stateful snapshot': { snapshot: { stateful: true } },
  'with a suspect snapshot': { snapshot: { status: 'ERROR' } },
  'with a snapshot that went missing': { snapshot: { status: 'MISSING' } },
  'with a snapshot in the making': { snapshot: { status: 'PENDING' }, busy: true },
  'with a name no engine can be asked about': { snapshot: { name: 'a%2fb' } },
};

const ACTS = {
  createSnapshot: ['instance', 'createSnapshot', { name: 'new' }],
  createStatefulSnapshot: ['instance', 'createSnapshot', { name: 'new', stateful: true }],
  restore: ['snapshot', 'restoreSnapshot', {}],
  delete: ['snapshot', 'deleteSnapshot', {}],
  rename: ['snapshot', 'renameSnapshot', { name: 'other' }],
  update: ['snapshot', 'updateSnapshot', { description: 'x' }],
} as const;

const PERMISSION = '{ allowed reason message }';
const SHOWN = `query ($instance: ID!, $snapshot: ID!) {
  instance(id: $instance) { viewerPermissions { createSnapshot ${PERMISSION} createStatefulSnapshot ${PERMISSION} } }
  snapshot(id: $snapshot) { viewerPermissions { restore ${PERMISSION} delete ${PERMISSION} rename ${PERMISSION} update ${PERMISSION} } } }`;

const cases = Object.keys(SCENES).flatMap((name) =>
  ['alice', 'ops', 'admin'].map((account) => [name, account] as const),
);

test.each(cases)('an instance %s: what %s is shown as allowed is accepted, and the rest is refused as shown', async (name, account) => {
  for (const [permission, [on, mutation, input]] of Object.entries(ACTS)) {
    const ids = await scene(SCENES[name] ?? {});
    const { instance, snapshot } = await client(account).query(SHOWN, ids);
    const shown = { ...instance.viewerPermissions, ...snapshot.viewerPermissions }[permission];
    const type = `${mutation[0]?.toUpperCase()}${mutation.slice(1)}Input`;
    const { data, errors } = await client(account).send(
      `mutation ($input: ${type}!) { ${mutation}(input: $input) { userErrors { code } } }`,
      { input: { [`${on}Id`]: ids[on], ...input } },
    );
    const refusal = errors?.[0]?.extensions.code ?? data[mutation].userErrors[0]?.code ?? null;
    expect([permission, shown.allowed, shown.reason]).toEqual([permission, refusal === null, refusal]);
    expect(shown.message === null).toBe(shown.allowed);
    if (account === 'alice') expect([refusal, shown.message]).toEqual(['FORBIDDEN', errors?.[0]?.message]);
  }
}); // prettier-ignore

test('whether anything of an instance can be restored or deleted follows its state and the role', async () => {
  const query = `query ($id: ID!) { instance(id: $id) { viewerPermissions { restoreSnapshot { allowed reason } deleteSnapshot { allowed reason } } } }`;
  const shown = async (account: string, scene_: Scene) => {
    const { instance } = await client(account).query(query, { id: (await scene(scene_)).instance });
    const { restoreSnapshot, deleteSnapshot } = instance.viewerPermissions;
    return [restoreSnapshot.reason, deleteSnapshot.reason];
  };
  expect(await shown('ops', {})).toEqual([null, null]);
  expect(await shown('ops', { instance: { status: 'ERROR' } })).toEqual([null, null]);
  expect(await shown('ops', { instance: { status: 'DELETED' } })).toEqual(['INSTANCE_STATE_INVALID', null]);
  expect(await shown('admin', { busy: true })).toEqual(['INSTANCE_BUSY', 'INSTANCE_BUSY']);
  expect(await shown('alice', {})).toEqual(['FORBIDDEN', 'FORBIDDEN']);
});

test('a refusal by role says whom to ask', async () => {
  const { instance } = await client('alice').query('query { instance(name: "web-1") { viewerPermissions { createSnapshot { message } } } }'); // prettier-ignore
  expect(instance.viewerPermissions.createSnapshot.message).toContain('Write to help@keyframe.test');
});
