/** The fault laboratory: `npm run test:faults -- --help`. */
import 'reflect-metadata';
import { randomInt } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { eventually, nothingIsLeftOver } from './invariants';
import { points } from './points';
import { Random } from './random';
import { Report } from './report';
import { play, type Scenario } from './round';
import { scenarios } from './scenarios';
import type { Knowledge } from './wishes';
import { incusGround } from './world/incus';
import { localGround } from './world/local';
import { buildPreload } from './world/processes';
import { openWorld, type World, type WorldOptions } from './world/world';

interface Options {
  engine: 'local' | 'incus';
  faults: number;
  seed: string;
  scenario?: string;
  worlds?: number;
}

const program = new Command('test:faults')
  .description('Runs the real product, injects faults, and judges what is left.')
  .addOption(new Option('--engine <kind>', 'which engine').choices(['local', 'incus']).default('local'))
  .option('--faults <count>', 'how many faults at least', Number, 300)
  .option('--seed <word>', 'from which all that is drawn follows', String(randomInt(1_000_000)))
  .addOption(new Option('--scenario <name>', 'only this one').choices(scenarios.map(({ name }) => name)))
  .option('--worlds <count>', 'how many run side by side', Number)
  .action(main);

/** Worlds that are open: an interrupted run leaves nothing behind either. */
const open = new Set<World>();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    void Promise.all([...open].map((world) => world.close())).finally(() => process.exit(130));
  });
}

void program.parseAsync();

async function main({ engine, faults, seed, scenario, worlds = engine === 'local' ? 5 : 1 }: Options): Promise<void> {
  const report = new Report();
  process.stdout.write(`engine ${engine}, ${faults} faults, --seed ${seed}\n`);
  const preload = await buildPreload();
  const fitting = scenarios.filter(({ engines, name }) => engines.includes(engine) && name === (scenario ?? name));
  const options = { preload: preload.path, ...GROUNDS[engine] };
  const ran = Array.from({ length: worlds }, (_, n) => inhabit(options, fitting, `${seed}/${n + 1}`, faults, report));
  const broken = (await Promise.allSettled(ran)).filter((result) => result.status === 'rejected');
  await preload.remove();
  for (const { reason } of broken) console.error(reason);
  const armed = fitting.some(({ name }) => name === 'worker') ? Object.values(points) : [];
  report.silent(armed.map(({ name }) => name));
  report.print();
  process.exit(report.lost + report.wrong + broken.length > 0 ? 1 : 0);
}

const GROUNDS: Record<Options['engine'], Omit<WorldOptions, 'preload'>> = {
  local: { ground: localGround, workers: 1 },
  incus: { ground: incusGround, workers: 2 },
};

/** Plays rounds in a world until there were enough faults; a world in which something was lost is left for a new one. */
async function inhabit(options: WorldOptions, fitting: Scenario[], seed: string, faults: number, report: Report) {
  const weights = Object.fromEntries(fitting.map(({ name, weight }) => [name, weight]));
  let world: World | null = null;
  let knowledge: Knowledge = new Map();
  const leave = async () => {
    if (!world) return;
    const { logFile } = world;
    const left = await eventually(() => (world ? nothingIsLeftOver(world) : null), 30_000);
    if (left) report.violation({ seed, scenario: 'the end', schedule: [], faults: [left], logFile });
    if (left) report.wrong += 1;
    await world.close();
    open.delete(world);
    if (!report.blamed.has(logFile)) await rm(logFile, { force: true });
    world = null;
  };
  for (let n = 1; report.faults < faults; n += 1) {
    world ??= await openWorld(options);
    open.add(world);
    const scenario = fitting.find(({ name }) => name === new Random(`${seed}/${n}/which`).weighted(weights));
    if (!scenario) throw new Error('there is no such scenario for this engine');
    const begun = Date.now();
    const goesOn = await play({ world, scenario, seed: `${seed}/${n}`, knowledge, report });
    const seconds = Math.round((Date.now() - begun) / 100) / 10;
    process.stdout.write(`${seed}/${n} ${scenario.name}: ${seconds} s, ${report.faults} faults so far\n`);
    if (goesOn) continue;
    await leave();
    knowledge = new Map();
  }
  await leave();
}
