// How long a sign-in that fails takes for an account that is there and for one that is not, in interleaved pairs: whoever
// guesses must not learn from it which addresses have accounts. `node -r @swc-node/register bench/sign-in.ts [PAIRS]`.
import 'reflect-metadata';
import { Pool } from 'pg';
import { hashPassword } from '../src/auth/passwords';
import { median, onPostgres, quantile, timed } from './support';

const PAIRS = Number(process.argv[2] ?? 200);
const WARM_UP = 20;
const RESAMPLES = 2000;
const GOAL = 0.1;

const SIGN_IN = `mutation ($email: String!, $password: String!) {
  signIn(input: { email: $email, password: $password }) { accessToken userErrors { code } } }`;

/** Each try comes for an account and, where proxies are believed, from an address of its own: limits are not what is measured. */
async function fails(url: string, email: string, at: number): Promise<void> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-forwarded-for': `10.0.${at >> 8}.${at & 255}` },
    body: JSON.stringify({ query: SIGN_IN, variables: { email, password: 'a password that is wrong' } }),
  });
  const { data } = (await response.json()) as any;
  if (data?.signIn.userErrors[0]?.code !== 'INVALID_CREDENTIALS') throw new Error(JSON.stringify(data));
}

/** The middle 95 of a hundred medians of the differences, drawn again and again from those that were seen. */
function interval(differences: number[]): [low: number, high: number] {
  const drawn = () => differences[Math.floor(Math.random() * differences.length)] ?? NaN;
  const medians = Array.from({ length: RESAMPLES }, () => median(differences.map(drawn)));
  return [quantile(medians, 0.025), quantile(medians, 0.975)];
}

void onPostgres(async ({ postgres, start }) => {
  await (await start('migrate')).stop();
  const app = await start('api');
  const pool = new Pool({ connectionString: postgres.url, max: 1 });
  await pool.query(
    `insert into users (id, email, display_name, role, status, password_hash, one_time_password, created_at)
     select gen_random_uuid(), 'known-' || n || '@keyframe.test', 'Known', 'USER', 'ACTIVE', $2, false, now()
     from generate_series(1, $1::int) n`,
    [PAIRS + WARM_UP, await hashPassword('the password of them all')],
  );
  const [known, unknown]: [number[], number[]] = [[], []];
  for (let n = 1; n <= PAIRS + WARM_UP; n += 1) {
    const tries = [
      async () => known.push(await timed(() => fails(app.url ?? '', `known-${n}@keyframe.test`, 2 * n))),
      async () => unknown.push(await timed(() => fails(app.url ?? '', `nobody-${n}@keyframe.test`, 2 * n + 1))),
    ];
    for (const attempt of n % 2 === 0 ? tries : tries.reverse()) await attempt();
  }
  for (const times of [known, unknown]) times.splice(0, WARM_UP);
  const whole = median(known);
  const share = interval(known.map((ms, at) => ms - (unknown[at] ?? NaN))).map((ms) => ms / whole);
  const within = share.every((each) => Math.abs(each) <= GOAL);
  console.log(
    `sign-in, ${PAIRS} pairs: known p50 ${whole.toFixed(2)} ms, unknown p50 ${median(unknown).toFixed(2)} ms; 95 % interval of the median difference ${share.map((each) => `${(100 * each).toFixed(1)} %`).join(' to ')} (at most ±10 %): ${within ? 'within' : 'BEYOND'}`,
  );
  await pool.end();
  await app.stop();
});
