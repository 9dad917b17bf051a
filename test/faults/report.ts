/** What a whole run came to. */
import { quantile } from '../../bench/support';

export interface Violation {
  seed: string;
  scenario: string;
  schedule: string[];
  faults: string[];
  logFile: string;
}

export class Report {
  faults = 0;
  accepted = 0;
  lost = 0;
  wrong = 0;
  /** How many faults of each sort, and how many operations were under way at that moment. */
  readonly sorts = new Map<string, number>();
  readonly outcomes = new Map<string, number>();
  /** Logs of worlds in which something was wrong. */
  readonly blamed = new Set<string>();
  /** Milliseconds from the death of a worker until its operation was claimed by another one. */
  readonly takeovers: number[] = [];
  /** The same, by the process that was started in its place. */
  readonly restarts: number[] = [];
  hit = 0;

  fault(sort: string, hit: number): void {
    this.faults += 1;
    this.hit += hit;
    this.sorts.set(sort, (this.sorts.get(sort) ?? 0) + 1);
  }

  outcome(kind: string, how: string): void {
    const key = `${kind} ${how}`;
    this.outcomes.set(key, (this.outcomes.get(key) ?? 0) + 1);
  }

  violation({ seed, scenario, schedule, faults, logFile }: Violation): void {
    this.blamed.add(logFile);
    const lines = [
      `VIOLATION in ${scenario}, to be had again with --seed ${seed.split('/')[0] ?? ''} (run ${seed}; log ${logFile})`,
      ...schedule.map((line) => `    ${line}`),
      ...faults.map((fault) => `  ! ${fault}`),
    ];
    process.stdout.write(`${lines.join('\n')}\n`);
  }

  /** Points at which nobody ever died: chance, or their statements have changed. */
  silent(names: string[]): void {
    const never = names.filter((name) => ![...this.sorts.keys()].some((sort) => sort.endsWith(` ${name}`)));
    if (never.length > 0) process.stdout.write(`points that never came: ${never.join(', ')}\n`);
  }

  print(): void {
    const table = (title: string, counts: Map<string, number>) => {
      process.stdout.write(`${title}\n`);
      for (const [key, count] of [...counts].sort(([a], [b]) => (a < b ? -1 : 1))) {
        process.stdout.write(`  ${String(count).padStart(5)}  ${key}\n`);
      }
    };
    table('faults', this.sorts);
    table('outcomes', this.outcomes);
    for (const [who, times] of [
      ['another worker', this.takeovers],
      ['the next process', this.restarts],
    ] as const) {
      const [p50, p95, max] = [0.5, 0.95, 1].map((q) => Math.round(quantile(times, q)));
      if (times.length > 0)
        process.stdout.write(
          `from the death of a worker to the claim by ${who}: ${times.length} operations, p50 ${p50} ms, p95 ${p95} ms, max ${max} ms\n`,
        );
    }
    process.stdout.write(`operations under way when a fault struck, summed: ${this.hit}\n`);
    process.stdout.write(
      `${this.faults} faults injected, ${this.accepted} operations accepted, ${this.lost} lost, ${this.wrong} wrong\n`,
    );
  }
}
