import { overSse } from './access-streams';
import type { TestApp, TestClient } from './app';
import { instanceId } from './stories';
import { until } from './until';
import { followed } from './users-follow';

/** What an administrator does with accounts, in few words. */
export interface People {
  create: (input: object) => Promise<any>;
  update: (input: object, by?: TestClient) => Promise<any>;
  remove: (userId: string, by?: TestClient) => Promise<any>;
  setPassword: (userId: string, by?: TestClient) => Promise<any>;
  assign: (mutation: 'assignInstance' | 'unassignInstance', userId: string, instance: string) => Promise<any>;
  somebody: (name: string, role: string) => Promise<Somebody>;
}

interface Somebody {
  id: string;
  email: string;
  password: string;
  client: TestClient;
}

type World = () => { app: TestApp; admin: TestClient };

const updates = (id: string) => `subscription { instanceUpdated(id: "${id}") { name } }`;
const sees = async (client: TestClient, id: string) => client.query(`{ instance(id: "${id}") { name } instances { totalCount } }`); // prettier-ignore
const status = async (client: TestClient) => (await client.send('{ viewer { id } }')).status;

/** A change of a person's rights reaches what they already hold: tokens at their next request, subscriptions at once. */
export function describeEffects(world: World, people: People): void {
  describeNextRequest(people);
  describeAssignments(world, people);
  describeSockets(world, people);
}

function describeNextRequest(people: People): void {
  const create = 'mutation { createSnapshot(input: { instanceId: "malformed", name: "x" }) { userErrors { code } } }';

  test('a change of role counts from the next request on, with the token already handed out', async () => {
    const { id, client } = await people.somebody('role-changes', 'USER');
    expect((await client.send(create)).status).toBe(403);
    await people.update({ userId: id, role: 'OPERATIONS' });
    expect((await client.send(create)).data.createSnapshot.userErrors).toEqual([{ code: 'NOT_FOUND' }]);
    expect((await client.send('{ users { totalCount } }')).status).toBe(403);
    await people.update({ userId: id, role: 'ADMIN' });
    expect((await client.send('{ users { totalCount } }')).status).toBe(200);
    await people.update({ userId: id, role: 'USER' });
    expect((await client.send(create)).status).toBe(403);
    expect((await client.send('{ users { totalCount } }')).status).toBe(403);
  });

  test('a lock ends every session for good; after it, only a new sign-in lets them in', async () => {
    const { id, email, password, client } = await people.somebody('locked-out', 'USER');
    const signIn =
      'mutation ($email: String!, $password: String!) { signIn(input: { email: $email, password: $password }) { accessToken userErrors { code } } }';
    const refresh =
      'mutation ($t: String!) { refreshSession(input: { refreshToken: $t }) { accessToken userErrors { code } } }';
    await people.update({ userId: id, status: 'LOCKED' });
    expect(await status(client)).toBe(401);
    expect((await client.query(refresh, { t: client.refreshToken })).refreshSession).toEqual({ accessToken: null, userErrors: [{ code: 'INVALID_CREDENTIALS' }] }); // prettier-ignore
    expect((await client.query(signIn, { email, password })).signIn).toEqual({ accessToken: null, userErrors: [{ code: 'INVALID_CREDENTIALS' }] }); // prettier-ignore
    await people.update({ userId: id, status: 'ACTIVE' });
    expect(await status(client)).toBe(401);
    expect((await client.query(signIn, { email, password })).signIn).toMatchObject({ accessToken: expect.any(String), userErrors: [] }); // prettier-ignore
  });

  test('a removal ends every session', async () => {
    const { id, client } = await people.somebody('thrown-out', 'OPERATIONS');
    await people.remove(id);
    expect(await status(client)).toBe(401);
  });
}

function describeAssignments(world: World, people: People): void {
  test('an assignment, and taking it away, counts from the next request on, and each twice is once', async () => {
    const { admin } = world();
    const { id, client } = await people.somebody('assigned', 'USER');
    const build1 = await instanceId(admin, 'build-1');
    expect(await sees(client, build1)).toEqual({ instance: null, instances: { totalCount: 0 } });
    for (const [mutation, seen, assignments] of [
      ['assignInstance', { instance: { name: 'build-1' }, instances: { totalCount: 1 } }, 2],
      ['unassignInstance', { instance: null, instances: { totalCount: 0 } }, 1],
    ] as const) {
      for (const _ of ['first', 'second']) {
        const payload = await people.assign(mutation, id, build1);
        expect(payload).toMatchObject({ user: { id }, instance: { id: build1, assignments: { totalCount: assignments } }, userErrors: [] }); // prettier-ignore
        expect(await sees(client, build1)).toEqual(seen);
      }
    }
  });

  test('a removal takes the assignments away', async () => {
    const { admin } = world();
    const { id } = await people.somebody('assigned-and-gone', 'USER');
    const build1 = await instanceId(admin, 'build-1');
    expect((await people.assign('assignInstance', id, build1)).instance.assignments.totalCount).toBe(2);
    await people.remove(id);
    const { instance } = await admin.query(
      `{ instance(id: "${build1}") { assignments { nodes { user { displayName } } } } }`,
    );
    expect(instance.assignments.nodes).toEqual([{ user: { displayName: 'Bob Brandt' } }]);
  });
}

function describeSockets(world: World, people: People): void {
  const at = async (name: string) => instanceId(world().admin, name);

  test.each<[string, (somebody: Somebody) => Promise<unknown>]>([
    ['another role', ({ id }) => people.update({ userId: id, role: 'OPERATIONS' })],
    ['a lock', ({ id }) => people.update({ userId: id, status: 'LOCKED' })],
    ['a removal', ({ id }) => people.remove(id)],
    ['a password reset', ({ id }) => people.setPassword(id)],
    ['signing out', ({ client }) => client.query('mutation { signOut { userErrors { code } } }')],
    ['a refresh token used twice', ({ client }) => refreshTwice(client)],
    ['a new password, given elsewhere', (somebody) => changePasswordElsewhere(world().app, somebody)],
  ])('%s closes their sockets with 4403 and ends what streams', async (what, act) => {
    const somebody = await people.somebody(`cut-by-${what.replace(/\W/g, '-')}`, 'USER');
    const web1 = await at('web-1');
    await people.assign('assignInstance', somebody.id, web1);
    const [stream] = await followed(somebody.client, updates(web1));
    try {
      await act(somebody);
      const heard = stream?.events.length;
      expect(await until(() => stream?.closed)).toBe(4403);
      // Who is somebody else now but may still look may hear once more; nobody whose session is lost hears anything.
      const told = stream?.events.slice(heard).filter(({ data }) => data);
      if (what !== 'another role') expect(told).toEqual([]);
    } finally {
      await stream?.stop();
    }
  });

  test('an unassignment ends the subscription to that instance alone, and says whom to ask', async () => {
    const somebody = await people.somebody('unassigned', 'USER');
    const [web1, db1] = [await at('web-1'), await at('db-1')];
    for (const id of [web1, db1]) await people.assign('assignInstance', somebody.id, id);
    const [gone, kept] = await followed(somebody.client, updates(web1), [updates(db1)]);
    try {
      await people.assign('unassignInstance', somebody.id, web1);
      await until(() => gone?.ended);
      expect(gone).toMatchObject({ ended: 'completed', closed: null });
      expect(gone?.events.at(-1)).toMatchObject({
        errors: [{ message: expect.stringContaining('administrator'), extensions: { code: 'FORBIDDEN', contact: 'Write to help@keyframe.test' } }],
      }); // prettier-ignore
      // The other one lives: it hears of the next change.
      const before = kept?.events.length ?? 0;
      await world().app.db.query(`update instances set location = 'elsewhere' where name = 'db-1'`);
      await until(() => (kept?.events.length ?? 0) > before);
      expect(kept).toMatchObject({ ended: null, closed: null });
      expect(kept?.events.at(-1)).toEqual({ data: { instanceUpdated: { name: 'db-1' } } });
    } finally {
      await gone?.stop();
    }
  });

  test('another name leaves what streams alone', async () => {
    const somebody = await people.somebody('renamed', 'USER');
    const web1 = await at('web-1');
    await people.assign('assignInstance', somebody.id, web1);
    const [stream] = await followed(somebody.client, updates(web1));
    try {
      const before = stream?.events.length ?? 0;
      await people.update({ userId: somebody.id, displayName: 'Renata Renamed' });
      await until(() => (stream?.events.length ?? 0) > before);
      expect(stream).toMatchObject({ ended: null, closed: null });
    } finally {
      await stream?.stop();
    }
  });

  test('a lock ends server-sent events with the reason', async () => {
    const somebody = await people.somebody('cut-events', 'OPERATIONS');
    const lock = () => people.update({ userId: somebody.id, status: 'LOCKED' });
    const { events, completed } = await overSse(somebody.client, updates(await at('web-1')), 100, lock);
    expect(events[0]).toEqual({ data: { instanceUpdated: { name: 'web-1' } } });
    expect(completed).toBe(true);
    expect(events.at(-1)?.errors).toMatchObject([{ extensions: { code: 'UNAUTHENTICATED' } }]);
  });
}

async function refreshTwice(client: TestClient): Promise<void> {
  for (const token of [client.refreshToken, client.refreshToken]) {
    await client.query('mutation ($t: String!) { refreshSession(input: { refreshToken: $t }) { userErrors { code } } }', { t: token }); // prettier-ignore
  }
}

async function changePasswordElsewhere(app: TestApp, { email, password }: Somebody): Promise<void> {
  const elsewhere = await app.as(email, password);
  await elsewhere.query('mutation ($a: String!, $b: String!) { changePassword(input: { currentPassword: $a, newPassword: $b }) { viewer { id } } }', { a: password, b: `another ${password}` }); // prettier-ignore
}
