/** The built program as child processes with the preload in them: started, armed, killed and started again. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { transformFile } from '@swc/core';
import { until } from '../../support/until';
import { CLAIM, type Kill, type Told } from '../points';

const ROOT = join(__dirname, '..', '..', '..');

/** Compiles the preload once; gives its path and how to take it away. */
export async function buildPreload(): Promise<{ path: string; remove: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'keyframe-faults-'));
  const path = join(folder, 'preload.js');
  const { code } = await transformFile(join(ROOT, 'test/faults/preload.ts'), { cwd: ROOT, sourceMaps: false });
  await writeFile(path, code);
  return { path, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** One place for a process of the program; whoever dies in it can be followed by another. */
export class Program {
  private child: ChildProcess | null = null;
  private exited: Promise<unknown> = Promise.resolve();
  private output = '';
  /** When which operation was claimed by the processes here. */
  readonly claims: { id: string; at: number }[] = [];
  startedAt = 0;
  /** With what the last process here ended by itself; null when it was killed. */
  exitCode: number | null = null;
  /** When the last process here ended. */
  endedAt = 0;

  constructor(
    readonly name: string,
    private readonly preload: string,
    private readonly role: string,
    private readonly env: Record<string, string>,
    private readonly logFile: string,
  ) {}

  get runs(): boolean {
    return this.child !== null;
  }

  start(): void {
    if (this.child) throw new Error(`${this.name} runs already`);
    this.output = '';
    const child = spawn(process.execPath, ['-r', this.preload, 'dist/main.js', '--role', this.role], {
      cwd: ROOT,
      env: { PATH: process.env['PATH'], HOME: '/nonexistent', FAULTS_CLAIM: CLAIM, ...this.env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.child = child;
    this.startedAt = Date.now();
    child.on('message', ({ claimed }: Told) => void this.claims.push({ id: claimed, at: Date.now() }));
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => appendFileSync(this.logFile, text));
    this.exited = once(child, 'exit').then(([code]) => {
      this.exitCode = code as number | null;
      this.endedAt = Date.now();
      this.child = null;
    });
  }

  /** Its address, once it listens. */
  async ready(): Promise<string> {
    return until(
      () => {
        const [, url] = /^Ready at (\S+)\/graphql$/m.exec(this.output) ?? [];
        if (!url && !this.child) throw new Error(`${this.name} ended instead of starting; see ${this.logFile}`);
        return url;
      },
      60_000,
      `${this.name} to be ready`,
    );
  }

  arm(kill: Kill | null): void {
    // One that is dying cannot be told any more, and that is not the laboratory's end.
    if (this.child?.connected) this.child.send(kill as object, () => undefined);
  }

  /** Resolves when it has died, with true, or when the time is over. */
  async died(withinMs: number): Promise<boolean> {
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), withinMs);
    const over = once(patience.signal, 'abort').then(() => false);
    const died = await Promise.race([this.exited.then(() => true), over]);
    clearTimeout(timer);
    return died;
  }

  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.child?.kill(signal);
    await this.exited;
  }
}
