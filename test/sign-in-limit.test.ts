/** Guessing passwords is stopped, on all processes at once; nobody else is disturbed by it. */
import { randomBytes } from 'node:crypto';
import { BAD_TOKENS_PER_MINUTE, FAILED_TRIES, SignInLimit } from '../src/auth/sign-in-limit';
import { Role, UserStatus } from '../src/entities/enums';
import { AppError, UserErrorCode } from '../src/errors';
import { Audit } from '../src/services/audit';
import { forgetOldCounts } from '../src/services/housekeeping';
import { Users } from '../src/services/users';
import { startTestApp, TestClient, type TestApp } from './support/app';
import { createDatabase, type TestDatabase } from './support/database';

const SIGN_IN = 'mutation ($email: String!, $password: String!) { signIn(input: { email: $email, password: $password }) { accessToken refreshToken userErrors { code } } }'; // prettier-ignore
const REFRESH = 'mutation ($token: String!) { refreshSession(input: { refreshToken: $token }) { refreshToken userErrors { code } } }'; // prettier-ignore
const CHANGE = 'mutation ($a: String!, $b: String!) { changePassword(input: { currentPassword: $a, newPassword: $b }) { userErrors { code } } }'; // prettier-ignore

let database: TestDatabase;
let app: TestApp;
/** Another process on the same database. */
let other: TestApp;
let people = 0;
let places = 0;

beforeAll(async () => {
  database = await createDatabase();
  const env = { JWT_SECRET: randomBytes(32).toString('hex'), TRUST_PROXY: 'loopback' };
  app = await startTestApp({ database, env });
  other = await startTestApp({ database, env, demo: false });
});
afterAll(async () => {
  await app.stop();
  await other.stop();
  await database.drop();
});

interface Account {
  email: string;
  password: string;
}

/** Somebody whom no other test knows. */
async function somebody(): Promise<Account> {
  const account = { email: `person-${(people += 1)}@keyframe.test`, password: randomBytes(12).toString('hex') };
  const author = { actor: null, correlationId: 'test', origin: { address: null, client: null } };
  const wish = { email: account.email, role: Role.USER };
  await new Users(app.db, new Audit(null)).insert(author, wish, account.password, UserStatus.ACTIVE);
  return account;
}

/** An address from which nobody has come. */
const somewhere = () => `198.51.${100 + Math.floor(places / 250)}.${1 + (places++ % 250)}`;

interface Told {
  code: string;
  status: number;
  retryAfterSeconds?: number;
  header: string | null;
  tokens: { accessToken: string; refreshToken: string } | null;
}

/** What a try to sign in from an address is told. */
async function trySignIn({ email, password }: Account, from: string, at: TestApp = app): Promise<Told> {
  const response = await fetch(`${at.url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-forwarded-for': from },
    body: JSON.stringify({ query: SIGN_IN, variables: { email, password } }),
  });
  const { data, errors } = (await response.json()) as any;
  const tokens = data?.signIn.accessToken ? data.signIn : null;
  return {
    code: errors?.[0].extensions.code ?? data.signIn.userErrors[0]?.code ?? 'SIGNED_IN',
    status: response.status,
    retryAfterSeconds: errors?.[0].extensions.retryAfterSeconds,
    header: response.headers.get('retry-after'),
    tokens,
  };
}

const wrong = ({ email }: Pick<Account, 'email'>) => ({ email, password: 'not the password of anybody' });

/** How often each code came. */
function tally(told: Told[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { code } of told) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
}

async function failTenTimes(account: Pick<Account, 'email'>): Promise<void> {
  for (let n = 0; n < FAILED_TRIES.perAccount; n += 1) {
    expect((await trySignIn(wrong(account), somewhere(), n % 2 ? app : other)).code).toBe('INVALID_CREDENTIALS');
  }
}

/** As the service that signs people in notes it. */
async function hasSignedInFrom({ email }: Account, address: string): Promise<void> {
  await app.db.query(
    `insert into sessions (id, user_id, refresh_token_hash, created_at, refreshed_at, expires_at, ended_at, address)
     select gen_random_uuid(), id, '', now(), now(), now(), now(), $2 from users where email = $1`,
    [email, address],
  );
}

test('after ten failed tries at an account nobody who is new there is looked at any more, on any process, known or not', async () => {
  const known = await somebody();
  const unknown = { email: 'nobody-at-all@keyframe.test', password: known.password };
  const told: Told[][] = [];
  for (const account of [known, unknown]) {
    await failTenTimes(account);
    told.push([
      await trySignIn(account, somewhere(), app), // the right password
      await trySignIn(wrong(account), somewhere(), other),
      await trySignIn({ ...account, email: ` ${account.email.toUpperCase()}` }, somewhere(), app),
    ]);
  }
  const refused = { code: 'RATE_LIMITED', status: 429, tokens: null };
  for (const each of told.flat()) {
    expect(each).toMatchObject(refused);
    expect(each.retryAfterSeconds).toBeGreaterThan(590 - 60);
    expect(each.retryAfterSeconds).toBeLessThanOrEqual(600);
    expect(each.header).toBe(String(each.retryAfterSeconds));
  }
});

test('a try is free again ten minutes after one that failed', async () => {
  const account = await somebody();
  await failTenTimes(account);
  const olderBy = (time: string) =>
    app.db.query(
      `update failed_tries set failed_at = failed_at[1:9] || failed_at[10] - $2::interval
       where key = sha256(convert_to('account ' || $1, 'UTF8'))`,
      [account.email, time],
    );
  await olderBy('8 minutes');
  const { retryAfterSeconds = 0 } = await trySignIn(account, somewhere());
  expect(retryAfterSeconds).toBeGreaterThan(0);
  expect(retryAfterSeconds).toBeLessThanOrEqual(120);
  await olderBy('2 minutes');
  expect((await trySignIn(account, somewhere())).code).toBe('SIGNED_IN');
  expect(tally([await trySignIn(wrong(account), somewhere()), await trySignIn(wrong(account), somewhere())])).toEqual({
    INVALID_CREDENTIALS: 1,
    RATE_LIMITED: 1,
  });
});

test('of a hundred wrong tries at once at most ten are looked at, and one more for another process', async () => {
  const [account, network] = [await somebody(), '2001:db8:1:1'];
  const tries = Array.from({ length: 100 }, (_, n) => trySignIn(wrong(account), somewhere(), n % 2 ? app : other));
  const { INVALID_CREDENTIALS: seen = 0, RATE_LIMITED: refused = 0 } = tally(await Promise.all(tries));
  expect(seen + refused).toBe(100);
  expect(seen).toBeGreaterThanOrEqual(10);
  expect(seen).toBeLessThanOrEqual(11);

  const alone = await somebody();
  const atOne = Array.from({ length: 100 }, (_, n) => trySignIn(wrong(alone), `${network}::${n.toString(16)}`));
  expect(tally(await Promise.all(atOne))).toEqual({ INVALID_CREDENTIALS: 10, RATE_LIMITED: 90 });
});

test('after thirty failed tries from an address, at whatever accounts, no more are looked at from there, or from its /64', async () => {
  const account = await somebody();
  const from = (n: number) => `2001:db8:2:2::${n.toString(16)}`;
  const tries = Array.from({ length: 60 }, (_, n) => trySignIn(wrong({ email: `${n}@keyframe.test` }), from(n + 1)));
  expect(tally(await Promise.all(tries))).toEqual({ INVALID_CREDENTIALS: 30, RATE_LIMITED: 30 });
  expect((await trySignIn(account, from(999), other)).code).toBe('RATE_LIMITED');
  expect((await trySignIn(account, '2001:db8:2:3::1', other)).code).toBe('SIGNED_IN');
});

test('fifty right sign-ins at once all succeed, and count against no one', async () => {
  const [account, place] = [await somebody(), somewhere()];
  const all = await Promise.all(Array.from({ length: 50 }, () => trySignIn(account, place)));
  expect(tally(all)).toEqual({ SIGNED_IN: 50 });
  for (let n = 0; n < FAILED_TRIES.perAccount; n += 1) {
    expect((await trySignIn(wrong(account), place)).code).toBe('INVALID_CREDENTIALS');
  }
});

test('strangers do not lock out whoever signs in from a usual place, nor can they guess from there', async () => {
  const [owner, home] = [await somebody(), '203.0.113.5'];
  await hasSignedInFrom(owner, home);
  await hasSignedInFrom(owner, '2001:db8:9:9:1::1');
  await failTenTimes(owner);
  expect((await trySignIn(owner, somewhere())).code).toBe('RATE_LIMITED');
  expect((await trySignIn(owner, home)).code).toBe('SIGNED_IN');
  expect((await trySignIn(owner, '2001:db8:9:9:2::2', other)).code).toBe('SIGNED_IN'); // the same /64

  const guesses = [];
  for (let n = 0; n < 12; n += 1) guesses.push(await trySignIn(wrong(owner), home));
  expect(tally(guesses)).toEqual({ INVALID_CREDENTIALS: 10, RATE_LIMITED: 2 });
});

test('sessions that run are not disturbed by guesses at their account from their address', async () => {
  const [account, place] = [await somebody(), somewhere()];
  const { tokens } = await trySignIn(account, place);
  for (let n = 0; n < 12; n += 1) await trySignIn(wrong(account), place);
  expect((await trySignIn(account, place)).code).toBe('RATE_LIMITED');

  const session = new TestClient(app.url, tokens?.accessToken ?? '', null);
  const headers = { 'x-forwarded-for': place };
  expect((await session.send('{ viewer { id } }', {}, headers)).data.viewer.id).toBeTruthy();
  const { data } = await session.send(REFRESH, { token: tokens?.refreshToken }, headers);
  expect(data.refreshSession.userErrors).toEqual([]);
});

test('a good refresh token is taken however many bad ones came from the same address', async () => {
  const limit = new SignInLimit(app.db);
  const origin = { address: somewhere(), client: null };
  const bad = () => Promise.reject(new AppError(UserErrorCode.INVALID_CREDENTIALS, 'No.'));
  const told = new Set<string>();
  for (let n = 0; n < 2.2 * BAD_TOKENS_PER_MINUTE; n += 1)
    await limit.refresh(origin, bad).catch((error: unknown) => told.add((error as AppError).code));
  expect(told).toEqual(new Set(['INVALID_CREDENTIALS', 'RATE_LIMITED']));
  expect(await limit.refresh(origin, () => Promise.resolve('new tokens'))).toBe('new tokens');
});

test('the current password of a change can be guessed at no more often', async () => {
  const account = await somebody();
  const { tokens } = await trySignIn(account, somewhere());
  const session = new TestClient(app.url, tokens?.accessToken ?? '', null);
  const change = (a: string) => session.send(CHANGE, { a, b: randomBytes(12).toString('hex') });
  const guesses = await Promise.all(Array.from({ length: 30 }, () => change('not the password of anybody')));
  const looked = guesses.filter(({ data }) => data?.changePassword.userErrors[0].code === 'INVALID_CREDENTIALS');
  expect(looked).toHaveLength(10);
  expect(await change(account.password)).toMatchObject({
    status: 429,
    errors: [{ extensions: { code: 'RATE_LIMITED', retryAfterSeconds: expect.any(Number) } }],
  });
  // It is this session that is stopped: whoever knows the password begins another.
  expect((await trySignIn(account, somewhere())).code).toBe('SIGNED_IN');
});

test('what was tried is not kept in clear, and not for long', async () => {
  await trySignIn(wrong({ email: 'mistyped-secret' }), somewhere());
  const [{ text }] = await app.db.query(`select string_agg(encode(key, 'escape'), ' ') as text from failed_tries`);
  expect(text).not.toContain('mistyped-secret');

  const count = async () => Number((await app.db.query('select count(*) from failed_tries'))[0].count);
  await app.db.query(`update failed_tries set last_failed_at = last_failed_at - interval '2 hours'`);
  await trySignIn(wrong({ email: 'another' }), somewhere());
  await forgetOldCounts(app.db);
  expect(await count()).toBe(2); // the account and the address of the last
});
