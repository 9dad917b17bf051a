/** A worker killed at an exact point of its work; what it had must go on elsewhere, or in the next process. */
import { setTimeout as sleep } from 'node:timers/promises';
import { points, type Kill } from '../points';
import type { Random } from '../random';
import type { Round, Scenario } from '../round';
import type { Program } from '../world/processes';

const FIRES_WITHIN_MS = 12_000;

function drawKill(random: Random, longestCallMs: number): Kill {
  const name = random.weighted<keyof typeof points>({
    job: 1, claim: 2, check: 2, act: 3, engine: 6, item: 2, verify: 3, finish: 3, finished: 3, completion: 2,
  }); // prettier-ignore
  const isCall = name === 'engine';
  return {
    point: points[name],
    skip: random.whole(0, 2),
    when: isCall || name === 'job' ? 'after' : random.pick(['before', 'after'] as const),
    delayMs: isCall ? random.whole(0, longestCallMs) : 0,
  };
}

const described = ({ point, when }: Kill): string => `worker killed ${when} ${point.name}`;

const detailOf = ({ name }: Program, { skip, delayMs }: Kill): string =>
  `(${name}, ${skip} before it, ${delayMs} ms after it)`;

/** Arms it, and says whether it has died of that. */
async function strike(round: Round, worker: Program, kill: Kill): Promise<boolean> {
  worker.arm(kill);
  if (await round.before(() => !worker.runs, FIRES_WITHIN_MS)) {
    round.struck(described(kill), detailOf(worker, kill));
    return true;
  }
  worker.arm(null);
  return false;
}

async function run(round: Round): Promise<void> {
  const { world, random } = round;
  const longest = world.ground.engine === 'local' ? 200 : 1_500;
  // All of them, or one alone: then the others take over what it had.
  const armed = random.chance(0.4) ? world.workers : [random.pick(world.workers)];
  const kill = drawKill(random, longest);
  const wishes = await round.draw();
  for (const each of armed) each.arm(kill);
  const asked = round.submit(wishes);
  await round.before(() => world.workers.some(({ runs }) => !runs), FIRES_WITHIN_MS);
  for (const each of world.workers) each.arm(null);
  // Two of them may have come to the point at the same moment.
  await sleep(20);
  const dead = world.workers.filter(({ runs }) => !runs);
  for (const each of dead) round.struck(described(kill), detailOf(each, kill));
  for (const each of dead) await again(round, each, longest);
  await asked;
}

/** The next process may be killed in the same way, while it takes up what was left. */
async function again(round: Round, dead: Program, longest: number): Promise<void> {
  for (let times = 0; times < 2; times += 1) {
    const kill = drawKill(round.random, longest);
    const dies = round.random.chance(0.6);
    dead.start();
    round.note(`${dead.name} started again`);
    if (!dies || !(await strike(round, dead, { ...kill, skip: 0 }))) return;
  }
  dead.start();
}

export const workerKilled: Scenario = { name: 'worker', engines: ['local', 'incus'], weight: 8, run };
