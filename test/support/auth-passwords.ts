import { randomBytes } from 'node:crypto';
import { hash } from '@node-rs/argon2';
import { Client } from 'pg';
import { overWebSocket } from './access-streams';
import { somewhere } from './addresses';
import { TestClient, type TestApp } from './app';
import { instanceId } from './stories';
import { until } from './until';

type Account = (name: string) => Promise<{ id: string; email: string; password: string }>;

const CHANGE = `mutation ($current: String!, $wanted: String!) { changePassword(input: { currentPassword: $current, newPassword: $wanted }) {
  viewer { status assignedInstances { totalCount } } userErrors { code message field } } }`;

const characters = (count: number) => randomBytes(count).toString('base64url').slice(0, count);
const change = async (client: TestClient, current: string, wanted: string) => (await client.query(CHANGE, { current, wanted })).changePassword; // prettier-ignore
const signsIn = (app: TestApp, email: string, password: string) => TestClient.signIn(app.url, email, password, somewhere()).then(() => true, () => false); // prettier-ignore

/** What makes a password, and what a one-time password is good for. */
export function describePasswords(app: () => TestApp, account: Account): void {
  describe('a new password', () => {
    test.each([
      ['fourteen characters', characters(14)],
      ['fourteen characters of two code units', '🔑🌍'.repeat(7)],
      ['129 characters', characters(129)],
      ['a common one', 'Polniy Pizdec 0211'],
      ['a few common ones in a row', 'Password Dragon 123456'],
      ['their address', 'refused-their-address@keyframe.test'],
      ['their name and a run', 'Refused their name and a run 456789'],
      ['the name of this program and a run', 'Keyframe-12345678'],
      ['the row of keys', 'qwertyuiopasdfghjkl'],
      ['one character over and over', 'x'.repeat(20)],
      ['a short word over and over', 'secretsecretsecret'],
      ['a plain run', 'abcdefghijklmnopqr'],
      ['nothing', ''],
    ])('is refused when it is %s', async (what, wanted) => {
      const { email, password } = await account(`refused-${what.replace(/\W/g, '-')}`);
      const answer = await change(await app().as(email, password), password, wanted);
      expect(answer).toMatchObject({ viewer: null, userErrors: [{ code: 'INVALID_INPUT', field: ['newPassword'] }] });
      expect(answer.userErrors[0].message).toMatch(/^(A password has 15 to 128 characters|This password is among the commonly used)/); // prettier-ignore
      expect(await signsIn(app(), email, password)).toBe(true);
    });

    test.each([
      ['15 characters', characters(15)],
      ['128 characters', characters(128)],
      ['128 characters of two code units', Array.from({ length: 128 }, (_, at) => String.fromCodePoint(0x1f300 + at)).join('')],
      ['four common words', 'correct horse battery staple'],
      ['spaces at its ends', `  ${characters(15)} `],
    ])('is good with %s, and every character of it counts', async (what, wanted) => {
      const { email, password } = await account(`good-${what.replace(/\W/g, '-')}`);
      expect(await change(await app().as(email, password), password, wanted)).toMatchObject({ userErrors: [] });
      expect(await signsIn(app(), email, wanted)).toBe(true);
      const all = [...wanted];
      for (const other of [`${wanted}x`, all.slice(0, -1).join(''), [...all.slice(0, -1), '!'].join(''), `${wanted}${wanted}${wanted}`, wanted.toUpperCase().toLowerCase() + '\0', password]) {
        expect(await signsIn(app(), email, other)).toBe(false);
      }
    }); // prettier-ignore

    test('is the same on every keyboard, also for hashes that are older than that', async () => {
      const { email, password } = await account('keyboards');
      const [composed, decomposed] = ['Zwölf Böxkämpfer'.normalize('NFC'), 'Zwölf Böxkämpfer'.normalize('NFD')];
      expect(await change(await app().as(email, password), password, decomposed)).toMatchObject({ userErrors: [] });
      expect([await signsIn(app(), email, composed), await signsIn(app(), email, decomposed)]).toEqual([true, true]);
      await app().db.query('update users set password_hash = $2 where email = $1', [email, await hash(decomposed)]);
      expect([await signsIn(app(), email, composed), await signsIn(app(), email, decomposed)]).toEqual([false, true]);
    });

    test('needs the current one, differs from it, and ends all other sessions', async () => {
      const { email, password } = await account('changing');
      const [here, there] = [await app().as(email, password), await app().as(email, password)];
      const wanted = characters(20);
      expect(await change(here, `${password}x`, wanted)).toMatchObject({ viewer: null, userErrors: [{ code: 'INVALID_CREDENTIALS', field: ['currentPassword'] }] }); // prettier-ignore
      expect(await change(here, password, password)).toMatchObject({ viewer: null, userErrors: [{ code: 'INVALID_INPUT', field: ['newPassword'] }] }); // prettier-ignore
      expect((await there.send('{ viewer { id } }')).status).toBe(200);
      expect(await change(here, password, wanted)).toMatchObject({ viewer: { status: 'ACTIVE' }, userErrors: [] });
      expect((await there.send('{ viewer { id } }')).status).toBe(401);
      expect((await here.send('{ viewer { id } }')).status).toBe(200);
    });

    test('does not undo a lock that an administrator puts on at the same moment', async () => {
      const { email, password } = await account('locked-meanwhile');
      const client = await app().as(email, password);
      const admin = new Client({ connectionString: app().database.url });
      await admin.connect();
      try {
        await admin.query('begin');
        await admin.query(`update users set status = 'LOCKED' where email = $1`, [email]);
        const changed = client.send(CHANGE, { current: password, wanted: characters(20) });
        await until(async () => {
          const { rowCount } = await admin.query(`select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`); // prettier-ignore
          return rowCount === 1;
        });
        await admin.query('commit');
        expect(await changed).toMatchObject({ errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] });
        const { rows } = await admin.query('select status from users where email = $1', [email]);
        expect(rows).toEqual([{ status: 'LOCKED' }]);
      } finally {
        await admin.end();
      }
    });
  });

  describeOneTime(app);
}

function describeOneTime(app: () => TestApp): void {
  test('a one-time password opens nothing but the way to a password of one’s own', async () => {
    const admin = await app().as('admin');
    const { createUser } = await admin.query('mutation { createUser(input: { email: "new@keyframe.test", role: OPERATIONS }) { user { id status } oneTimePassword } }'); // prettier-ignore
    const { user, oneTimePassword: once } = createUser;
    expect(user.status).toBe('INVITED');
    const web1 = await instanceId(admin, 'web-1');
    await admin.query('mutation ($u: ID!, $i: ID!) { assignInstance(input: { userId: $u, instanceId: $i }) { user { id } } }', { u: user.id, i: web1 }); // prettier-ignore

    const client = await app().as('new@keyframe.test', once);
    const sentence = 'A one-time password must be changed first, with changePassword. Write to help@keyframe.test.';
    for (const [field, query] of [
      ['instances', '{ instances { totalCount } viewer { id } }'],
      ['node', `{ node(id: "${web1}") { id } }`],
      ['createSnapshot', `mutation { createSnapshot(input: { instanceId: "${web1}", name: "early" }) { replayed } }`],
    ] as const) {
      const answer = await client.send(query);
      expect(answer).toMatchObject({ status: 403, errors: [{ path: [field], message: sentence, extensions: { code: 'FORBIDDEN', contact: 'Write to help@keyframe.test' } }] }); // prettier-ignore
      expect(answer).not.toHaveProperty('data');
    }
    const stream = await overWebSocket(client, `subscription { instanceUpdated(id: "${web1}") { id } }`);
    expect(stream.refused).toMatchObject([{ message: sentence }]);
    const seen = await app().anonymous.query('mutation ($p: String!) { signIn(input: { email: "new@keyframe.test", password: $p }) { viewer { displayName assignedInstances { totalCount } } } }', { p: once }); // prettier-ignore
    expect(seen.signIn.viewer).toEqual({ displayName: 'new', assignedInstances: null });
    expect((await client.query('{ viewer { status assignedInstances { totalCount } } }')).viewer).toEqual({ status: 'INVITED', assignedInstances: null }); // prettier-ignore

    expect(await change(client, once, characters(20))).toEqual({ viewer: { status: 'ACTIVE', assignedInstances: { totalCount: 1 } }, userErrors: [] }); // prettier-ignore
    expect((await client.send('{ instances { totalCount } }')).status).toBe(200);
    expect(await signsIn(app(), 'new@keyframe.test', once)).toBe(false);
  });
}
