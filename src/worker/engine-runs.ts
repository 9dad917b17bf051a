/**
 * Which instances have been seen at rest since the engine's daemon went down. Before that, what is found there may be what it went
 * down over, half made.
 */
export class EngineRuns {
  /** The daemon's run as last seen, and the one in which everything was looked at once … */
  private run: string | null = null;
  private judged: string | null = null;
  /** … but for these instances, by uid: work on them was under way. */
  private readonly left = new Set<string>();

  /** Somebody else may have observed meanwhile. */
  forget(): void {
    this.judged = null;
    this.left.clear();
  }

  /** Whether the daemon has been started anew, so that everything is to be judged. `rowSays` is for those who were absent. */
  begin(run: string | null, rowSays: boolean): boolean {
    this.run = run;
    return run !== this.judged && (this.judged !== null || rowSays);
  }

  isAnother(run: string | null): boolean {
    return run !== this.run;
  }

  /** Whether this instance is still to be judged. */
  isLeft(uid: string): boolean {
    return this.left.has(uid);
  }

  /** These were judged, but for those that were not at rest. */
  saw(uids: string[], notAtRest: string[]): void {
    for (const uid of uids) this.left.delete(uid);
    for (const uid of notAtRest) this.left.add(uid);
  }

  /** Everything was looked at, and only these are there. Gives the run when nothing of it is left to be judged. */
  end(there: ReadonlySet<string>): { judged: string | null } | null {
    for (const uid of this.left) if (!there.has(uid)) this.left.delete(uid);
    this.judged = this.run;
    return this.left.size === 0 ? { judged: this.run } : null;
  }
}
