/** Part of the `local` engine, which can be taken away (see local.ts): hints that something in the folder changed. */
import { unwatchFile, watch, watchFile } from 'node:fs';
import { join } from 'node:path';
import type { Hint } from './engine';
import { entries } from './local-files';

/** One act makes several changes: they are told of together. */
const TOGETHER_MS = 50;
/** How often a folder is looked at where the system has no watches left to give. */
const LOOK_MS = 1_000;

/** Calls `onChange` with the name that changed in a folder (null when that is not known); returns how to stop. */
function watchOne(path: string, onChange: (name: string | null) => void): () => void {
  const poll = (): (() => void) => {
    const look = (): void => onChange(null);
    watchFile(path, { interval: LOOK_MS }, look);
    return () => unwatchFile(path, look);
  };
  let stop: () => void;
  try {
    const watcher = watch(path, (_, name) => onChange(name));
    stop = () => watcher.close();
    watcher.on('error', () => {
      watcher.close();
      stop = poll();
    });
  } catch {
    stop = poll();
  }
  return () => stop();
}

/**
 * Watches the folders that say which instances and snapshots there are: instances/, its projects, each instance, and
 * its snapshots. Not what is inside them: an instance's files change every second and mean nothing to us.
 */
export class FolderWatch {
  private readonly stops = new Map<string, () => void>();
  private readonly pending = new Map<string, Hint>();
  private timer: NodeJS.Timeout | null = null;
  private walking: Promise<void> = Promise.resolve();
  private begun = false;
  private closed = false;

  constructor(
    private readonly instances: string,
    private readonly onHint: (hint: Hint) => void,
  ) {
    // What changed before the first watch was set is not known: one look at everything covers it.
    this.walk();
    void this.walking.then(() => {
      this.begun = true;
      this.tell(null);
    });
  }

  close(): void {
    this.closed = true;
    if (this.timer !== null) clearTimeout(this.timer);
    for (const stop of this.stops.values()) stop();
    this.stops.clear();
  }

  /** Watches what has come and forgets what is gone. A failing look leaves the rest to the next change. */
  private walk(): void {
    this.walking = this.walking.then(() => this.walkOnce()).catch(() => undefined);
  }

  private async walkOnce(): Promise<void> {
    const seen = new Set<string>();
    const visit = async (path: string, hint: Hint, depth: number): Promise<void> => {
      if (this.closed) return;
      seen.add(path);
      // Watched before it is read, or what comes in between would be missed.
      if (!this.stops.has(path)) this.add(path, hint, depth);
      if (depth === 3) return;
      for (const entry of await entries(path)) {
        if (!entry.isDirectory() || entry.name.startsWith('.')) continue;
        if (depth === 2 && entry.name !== 'snapshots') continue;
        const inner = join(path, entry.name);
        await visit(inner, depth === 1 ? this.instanceAt(path, entry.name) : hint, depth + 1);
      }
    };
    await visit(this.instances, null, 0);
    for (const [path, stop] of this.stops) {
      if (seen.has(path)) continue;
      stop();
      this.stops.delete(path);
    }
  }

  private instanceAt(projectPath: string, name: string): Hint {
    return { project: projectPath.slice(this.instances.length + 1), name };
  }

  private add(path: string, hint: Hint, depth: number): void {
    const stop = watchOne(path, (name) => {
      // Of an instance only its record and its list of snapshots matter; its root and what is being built do not.
      if (depth === 2 && name !== null && name !== 'instance.json' && name !== 'snapshots') return;
      if (depth < 3) this.walk();
      this.tell(hint);
    });
    this.stops.set(path, stop);
    // A newcomer may have been filled between its making and now.
    if (this.begun) this.tell(hint);
  }

  private tell(hint: Hint): void {
    if (this.closed) return;
    this.pending.set(hint === null ? '' : `${hint.project}/${hint.name}`, hint);
    this.timer ??= setTimeout(() => {
      const hints = [...this.pending.values()];
      this.pending.clear();
      this.timer = null;
      for (const each of hints) this.onHint(each);
    }, TOGETHER_MS);
  }
}
