/** One run: things are asked for, a scenario does its worst meanwhile, and then everything must be true. */
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually, suspectsAreRefused, wrongs } from './invariants';
import { settled, snapshotsOf, type OperationRow } from './outcome';
import { Random } from './random';
import type { Report } from './report';
import { described, draw, prepare, request, type Kind, type Knowledge, type Wish } from './wishes';
import type { World } from './world/world';

/** By when every operation must have ended, counted from the last fault. */
const BOUND_MS = 60_000;
/** Less than the engine's five seconds, for between the claim and the question there is some work. */
const REMEMBERED_MS = 3_500;
/** How often a place whose every operation takes many seconds is there to be drawn. */
const SLOW_CHANCE = 0.3;

export interface Scenario {
  name: string;
  engines: ('local' | 'incus')[];
  /** How often it is drawn. */
  weight: number;
  run: (round: Round) => Promise<void>;
}

interface Strike {
  sort: string;
  at: number;
  /** The only wish it concerns; null for all that were under way. */
  wish: Wish | null;
}

export class Round {
  readonly schedule: string[] = [];
  readonly wishes: Wish[] = [];
  readonly strikes: Strike[] = [];
  private readonly begun = Date.now();
  private readonly more = new Map<Wish, string[]>();

  constructor(
    readonly world: World,
    readonly random: Random,
    private readonly knowledge: Knowledge,
  ) {}

  note(text: string): void {
    this.schedule.push(`${String(Date.now() - this.begun).padStart(6)} ms  ${text}`);
  }

  /** Counts a fault that has really been done. */
  struck(sort: string, detail = '', wish: Wish | null = null): void {
    this.strikes.push({ sort, at: Date.now(), wish });
    this.note(`FAULT ${sort} ${detail}`);
  }

  /** Draws a wish for each of the places, all of them or some, and makes the instances ready for it. */
  async draw(places = this.someOfThem(), only?: Kind[]): Promise<Wish[]> {
    const drawn = places.map((place) => draw(this.random, place, this.knowledge, only));
    this.wishes.push(...drawn);
    await Promise.all(drawn.map((wish) => prepare(this.world, wish)));
    return drawn;
  }

  allOfThem() {
    const isIn = this.random.chance(SLOW_CHANCE);
    return this.world.ground.places.filter(({ bulk }) => isIn || bulk === undefined);
  }

  someOfThem() {
    const places = this.allOfThem();
    return this.random.some(places, this.random.whole(3, places.length));
  }

  /** Asks for all of them at once; resolves when each has its answer. */
  async submit(wishes: Wish[]): Promise<void> {
    await Promise.all(
      wishes.map(async (wish) => {
        await request(this.world, wish);
        this.note(
          `${described(wish)} ${wish.refusal ?? 'accepted'}${wish.asked > 1 ? ` when asked ${wish.asked} times` : ''}`,
        );
      }),
    );
  }

  /** This operation may also end with these codes, because of what is done to it. */
  allow(wish: Wish, ...codes: string[]): void {
    this.more.set(wish, [...(this.more.get(wish) ?? []), ...codes]);
  }

  /**
   * Besides what the scenario allows: a failure that the engine itself has told of, as its events say to the laboratory, too;
   * that a running
   * instance was left stopped by a restore that was cut off; and an unknown outcome where it truly cannot be known. A snapshot that is listed may be half written, and whether processes
   * went on leaves no trace: so these two, when nobody heard the end because a fault struck while the engine was at it.
   */
  allowed(wish: Wish, row: OperationRow): string[] {
    const { ground } = this.world;
    const failed = ground.failures(wish.place) > wish.failuresBefore;
    const cutOff = row.steps
      .filter(({ name }) => name === 'act')
      .some(({ startedAt, finishedAt }) => this.strikes.some((each) => hits(each, wish, startedAt, finishedAt)));
    const unknowable = wish.kind === 'create' || (wish.kind === 'restore' && wish.memory);
    return [
      ...(failed ? ['ENGINE_ERROR', 'STORAGE_FULL'] : []),
      ...(unknowable && cutOff && !this.couldBeAsked(row) ? ['OUTCOME_UNKNOWN'] : []),
      ...(cutOff && wish.kind === 'restore' && wish.place.running ? ['INSTANCE_STATE_INVALID'] : []),
      ...(this.more.get(wish) ?? []),
    ];
  }

  /** Whether whoever took it over after a death came in time to ask the engine, which remembers how work ended for five seconds. */
  private couldBeAsked({ id, input }: OperationRow): boolean {
    const { ground, workers } = this.world;
    const end = ground.endOf(input.handle?.split(' ')[1] ?? '');
    const claims = workers.flatMap(({ claims: all }) => all.filter((each) => each.id === id).map(({ at }) => at));
    const onlyDeaths = this.strikes.every(({ sort }) => sort.startsWith('worker killed'));
    return onlyDeaths && end !== null && Math.max(...claims) < end + REMEMBERED_MS;
  }

  /** Waits until `over` or until every wish has ended, and says whether it was the former. */
  async before(over: () => boolean, withinMs: number): Promise<boolean> {
    for (const deadline = Date.now() + withinMs; Date.now() < deadline;) {
      if (over()) return true;
      const rows = await settled(this.world, this.wishes, 0);
      const ended = [...rows.values()].flat().filter(({ finished_at }) => finished_at !== null);
      if (this.wishes.every(({ operation, refusal }) => operation ?? refusal) && ended.length >= rows.size) {
        await sleep(150); // what follows the end, as the end of the job, is to be struck as well
        return over();
      }
      await sleep(25);
    }
    return over();
  }
}

/** Whether it struck between these times, given that clocks and notes of it are not exact. */
function hits({ at, wish }: Strike, mine: Wish, from: string, to: string | null): boolean {
  const slack = 500;
  const isIn = at >= Date.parse(from) - slack && (to === null || at <= Date.parse(to) + slack);
  return isIn && (wish === null || wish === mine);
}

export interface RoundOptions {
  world: World;
  scenario: Scenario;
  seed: string;
  knowledge: Knowledge;
  report: Report;
}

/** Plays it, judges it, and gives whether the world can be used again. */
export async function play({ world, scenario, seed, knowledge, report }: RoundOptions): Promise<boolean> {
  const round = new Round(world, new Random(seed), knowledge);
  const faults: string[] = [];
  await scenario.run(round).catch((error: unknown) => faults.push(`the laboratory: ${String(error)}`));
  for (const each of [world.api, ...world.workers]) {
    if (each.runs) continue;
    // As by whoever supervises it.
    if (each.exitCode !== null) faults.push(`diesOnlyWhenKilled: ${each.name} ended by itself with ${each.exitCode}`);
    round.note(`${each.name} was found dead, and started again`);
    each.start();
  }
  const outcomes = await settled(world, round.wishes, BOUND_MS);
  round.note('every operation has ended, or its time is over');
  await world.ground.rest();
  round.note('the engine is at rest');
  let lost = 0;
  for (const wish of round.wishes) {
    const [row] = outcomes.get(wish.key) ?? [];
    if (wish.operation) report.accepted += 1;
    else faults.push(`refused: ${described(wish)}: ${wish.refusal ?? ''}`);
    if (row) report.outcome(wish.kind, [row.status, row.error?.code].filter(Boolean).join(' '));
    if (wish.operation && row?.finished_at) continue;
    if (wish.operation) lost += 1;
    if (wish.operation)
      faults.push(`LOST: ${described(wish)}: ${row ? `${row.status}, ${row.attempts} attempts` : 'no row'}`);
  }
  const wrong = await judge(round, outcomes, knowledge);
  round.note('judged');
  if (process.env['FAULTS_VERBOSE']) process.stdout.write(`${[...round.schedule, ...said(outcomes)].join('\n')}\n`);
  for (const { sort, at } of round.strikes) report.fault(sort, underWay(outcomes, at));
  measure(world, outcomes, report);
  report.lost += lost;
  report.wrong += wrong.length + faults.length - lost;
  faults.push(...wrong);
  for (const place of world.ground.places) await world.ground.mend(place);
  if (faults.length === 0) return true;
  report.violation({
    seed,
    scenario: scenario.name,
    schedule: [...round.schedule, ...said(outcomes)],
    faults,
    logFile: world.logFile,
  });
  return lost === 0 && !faults.some((fault) => fault.startsWith('refused') || fault.startsWith('the laboratory'));
}

async function judge(round: Round, outcomes: Map<string, OperationRow[]>, knowledge: Knowledge): Promise<string[]> {
  const { world, wishes } = round;
  const found = await Promise.all(
    wishes.map(async (wish) => {
      const [row] = outcomes.get(wish.key) ?? [];
      if (!row?.finished_at) return [];
      learn(knowledge, wish, row);
      const known = knowledge.get(wish.place.name) ?? [];
      const all = await wrongs(world, wish, row, round.allowed(wish, row), known);
      await remember(world, wish, knowledge);
      const refused = await eventually(() => suspectsAreRefused(world, wish), 5_000);
      return [...all, ...(refused ? [refused] : [])].map((fault) => `${described(wish)}: ${fault}`);
    }),
  );
  return found.flat();
}

/** What the operation says of the snapshots. */
function learn(knowledge: Knowledge, wish: Wish, row: OperationRow): void {
  const known = knowledge.get(wish.place.name) ?? [];
  knowledge.set(wish.place.name, known);
  if (wish.kind === 'create') known.push(...wish.snapshots);
  for (const each of wish.snapshots) {
    if (wish.kind === 'rename' && row.status === 'SUCCEEDED') each.name = wish.newName;
  }
}

/** Which of them are there at the end. */
async function remember(world: World, { place }: Wish, knowledge: Knowledge): Promise<void> {
  const rows = await snapshotsOf(world, place);
  const left = (knowledge.get(place.name) ?? []).filter(({ name }) => rows.some((row) => row.name === name));
  for (const each of left) each.good = rows.some(({ name, status }) => name === each.name && status === 'AVAILABLE');
  knowledge.set(place.name, left);
}

function underWay(outcomes: Map<string, OperationRow[]>, at: number): number {
  const rows = [...outcomes.values()].flat();
  return rows.filter((row) => row.created_at.getTime() <= at && (row.finished_at?.getTime() ?? Infinity) >= at).length;
}

/** From the death of a process to the next claim of what it had, by one that was there or by the one that followed it. */
function measure({ workers }: World, outcomes: Map<string, OperationRow[]>, report: Report): void {
  for (const { id, finished_at } of [...outcomes.values()].flat()) {
    const claims = workers
      .flatMap((by) => by.claims.filter((each) => each.id === id).map(({ at }) => ({ by, at })))
      .sort((a, b) => a.at - b.at);
    for (const dead of workers) {
      const died = dead.endedAt;
      const next = claims.find(({ at }) => at > died);
      const had = claims.filter(({ at }) => at <= died).at(-1)?.by === dead;
      if (!had || !next || (finished_at && finished_at.getTime() <= died)) continue;
      const times = next.by.startedAt < died ? report.takeovers : report.restarts;
      times.push(next.at - died);
    }
  }
}

const said = (outcomes: Map<string, OperationRow[]>): string[] =>
  [...outcomes].flatMap(([key, rows]) =>
    rows.map(({ status, error, attempts, steps }) => {
      const path = steps.map(({ name, status: how }) => `${name} ${how}`).join(', ');
      return `[${key}] ${status} after ${attempts} attempts (${path})${error ? ` ${error.code}: ${error.message}` : ''}`;
    }),
  );
