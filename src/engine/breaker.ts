/**
 * Whether the engine answers, as one process sees it. Failures and silence only raise a doubt, for they may be one member's of
 * a cluster; the engine itself is asked then, and is away when it does not answer that either.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineError } from './engine';

/** When to doubt, and how to ask. */
export const BREAKER = {
  /** So many failures in a row are worth a question. */
  failures: 3,
  /** So is a call that waits while nobody was answered for so long. */
  silentMs: 5_000,
  /** The question asks for next to nothing. */
  probeMs: 3_000,
  probeEveryMs: 1_000,
};

export interface BreakerOptions {
  onAway?: () => void;
  onReturn?: () => void;
  /** Ends the asking. */
  until: AbortSignal;
}

/** Said instead of asking an engine that is known to be away: nothing was started, and its return will be noticed. */
export class EngineAway extends EngineError {
  constructor(
    readonly since: Date,
    reason: string,
  ) {
    super('UNAVAILABLE', `The engine has been away since ${since.toISOString().slice(0, 19)}Z: ${reason}`);
  }
}

/** Open while the engine is away. */
export class Breaker {
  /** Null while the engine answers. */
  away: EngineAway | null = null;
  private failures = 0;
  private heardAt = Date.now();
  private asking = false;
  private readonly waiting = new Set<() => void>();

  constructor(
    private readonly describe: (signal: AbortSignal) => Promise<unknown>,
    private readonly options: BreakerOptions,
    private readonly limits: typeof BREAKER,
  ) {}

  /** Throws while the engine is away. */
  pass(): void {
    if (this.away) throw this.away;
  }

  /** Follows one call; where `cut` is given, it is called when the engine turns out to be away. */
  async follow<T>(call: Promise<T>, callerGaveUp: () => boolean, cut?: () => void): Promise<T> {
    const since = Date.now();
    const silence = setInterval(() => {
      if (Date.now() - this.heardAt >= this.limits.silentMs) this.doubt(since);
    }, this.limits.silentMs);
    if (cut) this.waiting.add(cut);
    try {
      const answer = await call;
      this.heard();
      return answer;
    } catch (error) {
      if (!callerGaveUp()) this.note(error, since);
      if (isUnavailable(error)) this.pass();
      throw error;
    } finally {
      clearInterval(silence);
      if (cut) this.waiting.delete(cut);
    }
  }

  /** Asks the engine itself, unless that is being done. */
  doubt(since = Date.now()): void {
    if (this.asking || this.away || this.options.until.aborted) return;
    this.asking = true;
    void this.probe()
      // Once more: the driver of a cluster asks another member when one has not answered.
      .then((failure) => failure && this.probe())
      .then((failure) => {
        this.asking = false;
        if (failure === null) this.heard();
        else if (!this.options.until.aborted) this.open(new Date(since), failure);
      });
  }

  private heard(): void {
    this.failures = 0;
    this.heardAt = Date.now();
  }

  private note(error: unknown, since: number): void {
    const open = error instanceof EngineError && (error.code === 'UNAVAILABLE' || error.code === 'OUTCOME_UNKNOWN');
    // A refusal is an answer.
    if (!open) this.heard();
    else if ((this.failures += 1) >= this.limits.failures) this.doubt(since);
  }

  private open(since: Date, reason: string): void {
    this.away = new EngineAway(since, reason);
    for (const cut of this.waiting) cut();
    this.options.onAway?.();
    void this.awaitReturn(since);
  }

  private async awaitReturn(since: Date): Promise<void> {
    const { until, onReturn } = this.options;
    while (this.away) {
      await sleep(this.limits.probeEveryMs, undefined, { signal: until, ref: false }).catch(() => undefined);
      if (until.aborted) return;
      const failure = await this.probe();
      this.away = failure === null ? null : new EngineAway(since, failure);
    }
    this.heard();
    onReturn?.();
  }

  /** Why the engine does not answer; null when it does. */
  private async probe(): Promise<string | null> {
    const over = AbortSignal.timeout(this.limits.probeMs);
    const late = new Promise<never>((_, reject) => {
      over.addEventListener('abort', () => reject(new EngineError('UNAVAILABLE', 'It does not answer in time.')));
    });
    try {
      await Promise.race([this.describe(over), late]);
      return null;
    } catch (error) {
      return isUnavailable(error) ? error.message : null;
    }
  }
}

/** Whether an engine did not answer, and nothing was started. */
export function isUnavailable(error: unknown): error is EngineError {
  return error instanceof EngineError && error.code === 'UNAVAILABLE';
}
