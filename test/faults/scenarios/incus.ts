/** The engine itself fails: its daemon is killed, CRIU refuses or dawdles, its pool is full. */
import { spawnSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Round, Scenario } from '../round';
import { COLD, type IncusGround } from '../world/incus';

const groundOf = (round: Round): IncusGround => round.world.ground as IncusGround;

async function crash(round: Round): Promise<void> {
  const { random } = round;
  const { testbed } = groundOf(round);
  const withHelpers = random.chance(0.5);
  const delay = random.chance(0.5) ? await testbed.criu('delay', '1') : null;
  // Most of all restores, for one whose disk was done must not be done again.
  const wishes = await round.draw(round.someOfThem(), random.chance(0.5) ? ['restore'] : undefined);
  const asked = round.submit(wishes);
  try {
    await sleep(random.whole(50, delay ? 2_000 : 1_000));
    await testbed.crash(withHelpers);
    round.struck(`Incus killed${withHelpers ? ' with its helpers' : ''}`);
    await sleep(random.whole(0, 1_500));
    await testbed.back(COLD);
    round.note('Incus is back');
    await asked;
  } finally {
    await delay?.();
  }
}

async function criu(round: Round): Promise<void> {
  const { random, world } = round;
  const { testbed } = groundOf(round);
  const places = world.ground.places.filter(({ stateful }) => stateful);
  const wishes = await round.draw(places, ['create', 'restore']);
  for (const wish of wishes) {
    const [snapshot] = wish.snapshots;
    wish.memory = wish.kind === 'create' || snapshot?.stateful === true;
    if (snapshot && wish.kind === 'create') snapshot.stateful = true;
  }
  const step = random.pick(['dump', 'restore', 'slow'] as const);
  const mend = step === 'slow' ? await testbed.criu('delay', '3') : await testbed.criu('fail', step);
  try {
    await round.submit(wishes);
    if (wishes.some(({ memory, kind }) => memory && (step === 'slow' || (step === 'dump') === (kind === 'create')))) {
      round.struck(step === 'slow' ? 'CRIU slow' : `CRIU fails to ${step}`);
    }
    await round.before(() => false, 30_000);
  } finally {
    await mend();
  }
}

/** Everything on the pool meets the same want of room. */
async function full(round: Round): Promise<void> {
  const { testbed } = groundOf(round);
  const places = round.world.ground.places.filter(({ name }) => name === 'lab-tiny-1');
  const wishes = await round.draw(places, ['create', 'restore', 'rename', 'delete']);
  // There must be something to restore, to rename and to delete at other times.
  if (wishes.some(({ kind }) => kind === 'create') && round.random.chance(0.6)) return round.submit(wishes);
  const file = join(testbed.pool('tiny'), 'filler');
  try {
    spawnSync('dd', ['if=/dev/zero', `of=${file}`, 'bs=1M', 'conv=fsync'], { stdio: 'ignore' });
    await round.submit(wishes);
    round.struck('pool full');
    await round.before(() => false, 30_000);
  } finally {
    await rm(file, { force: true });
  }
}

const engines: Scenario['engines'] = ['incus'];
export const incusKilled: Scenario = { name: 'crash', engines, weight: 3, run: crash };
export const criuTrouble: Scenario = { name: 'criu', engines, weight: 3, run: criu };
export const poolFull: Scenario = { name: 'full', engines, weight: 1, run: full };
