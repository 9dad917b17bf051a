/** What stands between a worker process and its engine: each call ends in time, and none is made while the engine is away. */
import { Breaker, BREAKER, isUnavailable, type BreakerOptions, type EngineAway } from './breaker';
import { deadline } from './deadline';
import {
  EngineError,
  type Engine,
  type EngineFacts,
  type Hint,
  type InstanceFacts,
  type SnapshotRef,
  type Started,
} from './engine';

const DEADLINES = {
  /** A look takes an engine milliseconds; the rest is room for one that is loaded, or was restarted a moment ago. */
  lookMs: 30_000,
  /** Listing ten thousand instances takes an engine tens of seconds, and whoever records them takes time in between. */
  listMs: 120_000,
  /** Where its storage cannot do better, an engine copies whole disks. */
  actMs: 30 * 60_000,
  /** What a driver gets to say how an act stands whose time is over. */
  graceMs: 10_000,
};

export interface GuardOptions extends BreakerOptions {
  limits?: Partial<typeof DEADLINES & typeof BREAKER>;
}

/** An engine, and whether it is away: null while it answers. */
export interface GuardedEngine extends Engine {
  readonly away: EngineAway | null;
}

/** Puts deadlines and a breaker around an engine. Events are let through as they are; `close` closes the engine. */
export function guarded(engine: Engine, { limits, ...options }: GuardOptions): GuardedEngine {
  const all = { ...DEADLINES, ...BREAKER, ...limits };
  return new Guard(engine, new Breaker((signal) => engine.describe(signal), options, all), all);
}

type Ask<T> = (signal: AbortSignal) => Promise<T>;

class Guard implements GuardedEngine {
  constructor(
    private readonly engine: Engine,
    private readonly breaker: Breaker,
    private readonly deadlines: typeof DEADLINES,
  ) {}

  get away() {
    return this.breaker.away;
  }

  get kind() {
    return this.engine.kind;
  }

  async describe(signal: AbortSignal): Promise<EngineFacts> {
    return this.look(signal, (ending) => this.engine.describe(ending)).catch((error: unknown) => {
      // Nobody but the engine as a whole answers this.
      if (isUnavailable(error) && !signal.aborted) this.breaker.doubt();
      throw error;
    });
  }

  async *instances(signal: AbortSignal): AsyncGenerator<InstanceFacts> {
    const whole = deadline(signal, this.deadlines.listMs);
    const list = new AbortController();
    const items = this.engine.instances(list.signal)[Symbol.asyncIterator]();
    const next = (ending: AbortSignal) => {
      ending.addEventListener('abort', () => list.abort());
      return items.next();
    };
    try {
      for (;;) {
        const item = await this.look(whole.signal, next, this.deadlines.listMs);
        if (item.done) return;
        yield item.value;
      }
    } finally {
      whole.clear();
      list.abort();
      // Not waited for: a list that hangs ends only after the answer it hangs at.
      void items.return?.().catch(() => undefined);
    }
  }

  findInstance(at: { project: string; name: string }, signal: AbortSignal) {
    return this.look(signal, (ending) => this.engine.findInstance(at, ending));
  }

  findSnapshot(ref: SnapshotRef, signal: AbortSignal) {
    return this.look(signal, (ending) => this.engine.findSnapshot(ref, ending));
  }

  createSnapshot(ref: SnapshotRef, options: { stateful: boolean }, signal: AbortSignal, started?: Started) {
    return this.act(signal, (ending) => this.engine.createSnapshot(ref, options, ending, started));
  }

  restoreSnapshot(ref: SnapshotRef, options: { memory: boolean }, signal: AbortSignal, started?: Started) {
    return this.act(signal, (ending) => this.engine.restoreSnapshot(ref, options, ending, started));
  }

  renameSnapshot(ref: SnapshotRef, newName: string, signal: AbortSignal, started?: Started) {
    return this.act(signal, (ending) => this.engine.renameSnapshot(ref, newName, ending, started));
  }

  deleteSnapshot(ref: SnapshotRef, signal: AbortSignal, started?: Started) {
    return this.act(signal, (ending) => this.engine.deleteSnapshot(ref, ending, started));
  }

  outcome(handle: string, signal: AbortSignal) {
    return this.act(signal, (ending) => this.engine.outcome(handle, ending));
  }

  atWork(signal: AbortSignal) {
    return this.look(signal, (ending) => this.engine.atWork(ending));
  }

  async watch(onHint: (hint: Hint) => void, signal: AbortSignal): Promise<void> {
    try {
      await this.engine.watch(onHint, signal);
    } catch (error) {
      // A stream is lost the moment its engine is: nothing tells sooner, least of all when there is nothing to do.
      if (!signal.aborted) this.breaker.doubt();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.engine.close();
  }

  private async look<T>(signal: AbortSignal, ask: Ask<T>, ms = this.deadlines.lookMs): Promise<T> {
    this.breaker.pass();
    const ending = new AbortController();
    const call = inTime(signal, ending, ask, ms, 0, late);
    return this.breaker.follow(
      call,
      () => signal.aborted,
      () => ending.abort(),
    );
  }

  /** The breaker never cuts it off: how it ends is for the driver to say. */
  private async act<T>(signal: AbortSignal, begin: Ask<T>): Promise<T> {
    this.breaker.pass();
    const { actMs, graceMs } = this.deadlines;
    const call = inTime(signal, new AbortController(), begin, actMs, graceMs, unsettled);
    return this.breaker.follow(call, () => signal.aborted);
  }
}

/** Tells the driver to end it when `ms` have passed or the caller has given up; stops waiting for the driver after a grace. */
async function inTime<T>(
  signal: AbortSignal,
  ending: AbortController,
  begin: Ask<T>,
  ms: number,
  graceMs: number,
  otherwise: () => EngineError,
): Promise<T> {
  const end = () => ending.abort();
  const timers = [setTimeout(end, ms)];
  const givenUp = new Promise<never>((_, reject) => {
    ending.signal.addEventListener('abort', () => {
      timers.push(setTimeout(() => reject(otherwise()), graceMs));
    });
  });
  signal.addEventListener('abort', end);
  if (signal.aborted) end();
  try {
    return await Promise.race([begin(ending.signal), givenUp]);
  } finally {
    signal.removeEventListener('abort', end);
    for (const timer of timers) clearTimeout(timer);
  }
}

const late = () => new EngineError('UNAVAILABLE', 'The engine did not answer in time.');
const unsettled = () =>
  new EngineError('OUTCOME_UNKNOWN', 'The engine was given the work, but its outcome is not known.');
