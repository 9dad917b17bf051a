/** Part of the `local` engine, which can be taken away (see local.ts): which instances run, and their processes. */
import type { InstanceFactsStatus } from './engine';
import type { At, FoundInstance } from './local-instances';
import { InstanceProcess, type InstanceMemory } from './local-process';

/** The processes of all instances; what it does not know of is stopped. */
export class Power {
  private readonly processes = new Map<string, InstanceProcess>();
  private readonly failed = new Set<string>();
  private readonly restarting = new Set<string>();

  /** `onAccident` hears of each process that ended without our doing. */
  constructor(private readonly onAccident: (at: At) => void) {}

  status(key: string): InstanceFactsStatus {
    if (this.restarting.has(key)) return 'RESTARTING';
    if (this.processes.has(key)) return 'RUNNING';
    return this.failed.has(key) ? 'ERROR' : 'STOPPED';
  }

  process(key: string): InstanceProcess | null {
    return this.processes.get(key) ?? null;
  }

  /** Starts an instance fresh or from memory; false when it refused, and it is in ERROR from then on. */
  async start({ key, at, folder, record }: FoundInstance, memory: InstanceMemory | null): Promise<boolean> {
    this.failed.delete(key);
    const where = { root: folder.root(record), title: `local ${key}`, console: folder.console };
    const process = await InstanceProcess.start(where, memory).catch(() => null);
    if (process === null) {
      this.failed.add(key);
      return false;
    }
    this.processes.set(key, process);
    void process.ended.then(() => {
      if (this.processes.get(key) !== process) return;
      this.processes.delete(key);
      this.failed.add(key);
      this.onAccident(at);
    });
    return true;
  }

  /** Ends an instance's process, if there is one, and waits until it is gone. */
  async stop(key: string): Promise<void> {
    const process = this.processes.get(key);
    this.processes.delete(key);
    this.failed.delete(key);
    await process?.stop();
  }

  /** Shows an instance as restarting while something is done to it. */
  async during<T>(key: string, act: () => Promise<T>): Promise<T> {
    this.restarting.add(key);
    try {
      return await act();
    } finally {
      this.restarting.delete(key);
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.processes.keys()].map((key) => this.stop(key)));
  }
}
