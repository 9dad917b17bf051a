// What a read costs here against another checkout of this program, both built: CPU of node and Postgres per request, in rounds
// that take turns: `node -r @swc-node/register bench/read-cost.ts OTHER_DIRECTORY [ROUNDS=6] [SECONDS=5]`. Linux only.
import 'reflect-metadata';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { Client, Pool } from 'pg';
import { v7 as uuidv7 } from 'uuid';
import { hashPassword } from '../src/auth/passwords';
import { toGlobalId } from '../src/resolvers/global-id';
import { graphqlRequest, Load } from './http-load';
import { insertInstances, median, onPostgres, post, startProcess, type Process } from './support';

const OTHER = resolve(process.argv[2] ?? '');
const ROUNDS = Number(process.argv[3] ?? 6);
const SECONDS = Number(process.argv[4] ?? 5);
const CALLERS = 8;
const TICKS_PER_SECOND = 100;

const QUERIES = {
  tab: `query ($id: ID!) { instance(id: $id) { name status snapshots(first: 25) { nodes { name createdAt stateful } } } }`,
  list: `{ instances(first: 25) { totalCount nodes { id name status latestSnapshot { name createdAt } } } }`,
};
type Query = keyof typeof QUERIES;

interface Side {
  name: string;
  process: Process;
  token: string;
  instance: string;
}

/** Ticks of CPU that processes have used so far. */
function cpuOf(matches: (pid: number, parent: number) => boolean): number {
  let ticks = 0;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      // After the name, which may hold anything: state, parent, …, user time, system time.
      const fields = readFileSync(`/proc/${entry}/stat`, 'utf8')
        .replace(/^.*\) /s, '')
        .split(' ');
      if (matches(Number(entry), Number(fields[1]))) ticks += Number(fields[11]) + Number(fields[12]);
    } catch {
      // It has ended meanwhile.
    }
  }
  return ticks;
}

/** Milliseconds of CPU per request: node's, and Postgres'. */
async function round({ process: { pid, url }, token, instance }: Side, query: Query, postmaster: number) {
  const at = new URL(url);
  const request = graphqlRequest(at, token, QUERIES[query], query === 'tab' ? { id: instance } : {});
  const measure = () => ({
    node: cpuOf((each) => each === pid),
    postgres: cpuOf((_, parent) => parent === postmaster),
  });
  const before = measure();
  let served = 0;
  const end = performance.now() + SECONDS * 1000;
  await new Promise<void>((done, fail) => {
    let open = CALLERS;
    const load = new Load(at, CALLERS, (status) => {
      if (status !== 200) fail(new Error(`answered ${status}`));
      served += 1;
      if (performance.now() < end) load.send(request);
      else if (--open === 0) {
        load.close();
        done();
      }
    });
    for (let i = 0; i < CALLERS; i += 1) load.send(request);
  });
  const after = measure();
  const each = (ticks: number) => (ticks * 1000) / TICKS_PER_SECOND / served;
  return { node: each(after.node - before.node), postgres: each(after.postgres - before.postgres) };
}

/** A database with a USER who sees ten of fifty instances, and the program of that folder on it. */
async function side(name: string, directory: string, owner: Client, env: Record<string, string>): Promise<Side> {
  const on = (url = '') => Object.assign(new URL(url), { pathname: `/${name}` }).href;
  await owner.query(`create database ${name}`);
  const own = {
    ...env,
    DATABASE_URL: on(env.DATABASE_URL),
    DATABASE_MIGRATION_URL: on(env.DATABASE_MIGRATION_URL),
    // Switched off where it is known: what is measured is a request, not its refusal.
    RATE_LIMIT_PER_MINUTE: '0',
  };
  await (await startProcess(own, 'migrate', directory)).end();
  const pool = new Pool({ connectionString: own.DATABASE_MIGRATION_URL, max: 1 });
  const instances = await insertInstances(pool, 50, 100);
  const [user, password] = [uuidv7(), randomBytes(12).toString('hex')];
  await pool.query(
    `insert into users (id, email, display_name, role, status, password_hash, one_time_password, created_at)
     values ($1, 'reader@keyframe.test', 'Reader', 'USER', 'ACTIVE', $2, false, now())`,
    [user, await hashPassword(password)],
  );
  await pool.query(
    `insert into instance_assignments (id, user_id, instance_id, created_at)
     select gen_random_uuid(), $1, id, now() from unnest($2::uuid[]) id`,
    [user, instances.slice(0, 10)],
  );
  await pool.query('analyze');
  await pool.end();
  const process = await startProcess(own, 'api', directory);
  const signIn = `mutation ($p: String!) { signIn(input: { email: "reader@keyframe.test", password: $p }) { accessToken } }`;
  const { data } = await post(process.url, null, signIn, { p: password });
  return { name, process, token: data.signIn.accessToken, instance: toGlobalId('Instance', instances[0] ?? '') };
}

void onPostgres(async ({ postgres, env }) => {
  const owner = new Client({ connectionString: postgres.migrationUrl });
  await owner.connect();
  const [{ pid }] = (await owner.query<{ pid: number }>('select pg_backend_pid() as pid')).rows as [{ pid: number }];
  const parent = /^\d+ \(.*\) \S (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))?.[1];
  const sides = [
    await side('other', OTHER, owner, env),
    await side('here', resolve(__dirname, '..'), owner, env),
  ] as const;
  try {
    for (const query of Object.keys(QUERIES) as Query[]) {
      for (const each of sides) await round(each, query, Number(parent)); // warm
      const ratios: number[] = [];
      for (let n = 1; n <= ROUNDS; n += 1) {
        // Each goes first as often as the other.
        const [first, second] = n % 2 ? sides : [sides[1], sides[0]];
        const results = new Map([
          [first.name, await round(first, query, Number(parent))],
          [second.name, await round(second, query, Number(parent))],
        ]);
        const [other, here] = [results.get('other'), results.get('here')];
        if (!other || !here) throw new Error('a side is missing');
        ratios.push((here.node + here.postgres) / (other.node + other.postgres));
        const words = (cost: typeof here) => `${cost.node.toFixed(3)} + ${cost.postgres.toFixed(3)} ms`;
        console.log(`${query} ${n}: other ${words(other)}, here ${words(here)}, ratio ${ratios.at(-1)?.toFixed(3)}`);
      }
      const range = `${Math.min(...ratios).toFixed(3)} to ${Math.max(...ratios).toFixed(3)}`;
      console.log(`${query}: CPU per request here / there, median ${median(ratios).toFixed(3)} (${range})`);
    }
  } finally {
    await Promise.all(sides.map(({ process }) => process.end('SIGINT')));
    await owner.end();
  }
});
