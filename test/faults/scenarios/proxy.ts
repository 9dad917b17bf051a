/** What goes wrong on the way to the engine and back: at a random request of each operation, reads, writes and waits alike. */
import { TROUBLES, type Plan, type Trouble } from '../proxy';
import type { Round, Scenario } from '../round';
import type { Wish } from '../wishes';
import type { IncusGround } from '../world/incus';

/** Silence lasts for ever, and so does a program that waits for it: it is rare because it costs time. */
const WEIGHTS: Record<Trouble, number> = {
  ...(Object.fromEntries(TROUBLES.map((each) => [each, 4])) as Record<Trouble, number>),
  hang: 1,
  silence: 0.5,
};

async function run(round: Round): Promise<void> {
  const { world, random } = round;
  const { proxy } = world.ground as IncusGround;
  const wishes = await round.draw(round.allOfThem());
  for (const wish of wishes) proxy.plan(wish.place.name, ...plansFor(round, wish));
  const asked = round.submit(wishes);
  if (random.chance(0.3)) {
    const count = proxy.cutEvents();
    if (count > 0) round.struck('streams of events cut', `(${count})`);
  }
  await asked;
  await round.before(() => false, 20_000);
  proxy.calm();
}

function plansFor(round: Round, wish: Wish): Plan[] {
  const { random } = round;
  return Array.from({ length: random.whole(1, 2) }, () => {
    const trouble = random.weighted<Trouble>(WEIGHTS);
    const ms = trouble === 'hang' ? random.whole(2_000, 8_000) : random.whole(50, 1_500);
    return {
      trouble,
      ms,
      skip: random.whole(0, 9),
      onStrike: (request: string) => {
        round.struck(`request: ${trouble}`, `${request} (for ${wish.key})`, wish);
        // The engine said so itself, as far as anybody can tell.
        if (trouble === 'error 500') round.allow(wish, 'ENGINE_ERROR');
      },
    };
  });
}

export const requestSpoilt: Scenario = { name: 'proxy', engines: ['incus'], weight: 9, run };
