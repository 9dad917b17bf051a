/** The database killed, stopped or frozen, or connections to it cut, under running operations. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Round, Scenario } from '../round';

const SIGNALS = { SIGKILL: 'killed', SIGINT: 'stopped', SIGQUIT: 'stopped at once' } as const;

/** Whoever starts it again is the keeper of the embedded database. */
async function down(round: Round): Promise<void> {
  const { world, random } = round;
  const wishes = await round.draw();
  const asked = round.submit(wishes);
  await sleep(random.whole(0, 700));
  const pid = await world.databasePid();
  const signal = random.pick(Object.keys(SIGNALS) as (keyof typeof SIGNALS)[]);
  if (pid !== null) {
    process.kill(pid, signal);
    round.struck(`Postgres ${SIGNALS[signal]}`);
  }
  await asked;
}

async function frozen(round: Round): Promise<void> {
  const { world, random } = round;
  const wishes = await round.draw();
  const asked = round.submit(wishes);
  await sleep(random.whole(0, 500));
  const pid = await world.databasePid();
  if (pid !== null) {
    const victims = await backends(round);
    for (const each of victims) signalIfThere(each, 'SIGSTOP');
    round.struck('connections to Postgres frozen', `(${victims.length})`);
    await sleep(random.whole(500, 3_000));
    for (const each of victims) signalIfThere(each, 'SIGCONT');
  }
  await asked;
}

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It had ended by itself.
  }
}

/** Connections of the product, not those of the laboratory. */
async function backends({ world }: Round): Promise<number[]> {
  const { rows } = await world.db.query<{ pid: number }>(
    `select pid from pg_stat_activity where datname = current_database() and backend_type = 'client backend'
       and application_name <> 'laboratory' and pid <> pg_backend_pid()`,
  );
  return rows.map(({ pid }) => pid);
}

async function cut(round: Round): Promise<void> {
  const { world, random } = round;
  const wishes = await round.draw();
  const asked = round.submit(wishes);
  for (let times = random.whole(2, 5); times > 0; times -= 1) {
    await sleep(random.whole(0, 250));
    const all = await backends(round);
    const some = random.chance(0.25) ? all : random.some(all, random.whole(1, 4));
    await world.db.query('select pg_terminate_backend(pid) from unnest($1::int[]) pid', [some]);
    if (some.length > 0) round.struck(some === all ? 'all connections to Postgres cut' : 'some connections to Postgres cut', `(${some.length})`); // prettier-ignore
  }
  await asked;
}

const engines: Scenario['engines'] = ['local', 'incus'];
export const postgresDown: Scenario = { name: 'postgres', engines, weight: 2, run: down };
export const postgresFrozen: Scenario = { name: 'frozen', engines, weight: 1, run: frozen };
export const postgresCut: Scenario = { name: 'cut', engines, weight: 3, run: cut };
