/** The API killed around the commit of an acceptance: what was answered exists, what was not is asked for again, and is once. */
import { acceptances, type Kill } from '../points';
import type { Round, Scenario } from '../round';

async function run(round: Round): Promise<void> {
  const { world, random } = round;
  const kill: Kill = {
    point: random.pick(Object.values(acceptances)),
    skip: random.whole(0, 2),
    when: random.pick(['before', 'after'] as const),
    delayMs: random.chance(0.3) ? random.whole(0, 20) : 0,
  };
  const wishes = await round.draw(round.allOfThem());
  world.api.arm(kill);
  const asked = round.submit(wishes);
  if (await round.before(() => !world.api.runs, 10_000)) {
    round.struck(`API killed ${kill.when} ${kill.point.name}`, `(${kill.skip} before it, ${kill.delayMs} ms after it)`);
    world.api.start();
  } else world.api.arm(null);
  await world.api.ready();
  await asked;
}

export const apiKilled: Scenario = { name: 'api', engines: ['local', 'incus'], weight: 2, run };
