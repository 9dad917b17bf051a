/**
 * Part of the `local` engine, which can be taken away (see local.ts): the process that lives in an instance while it
 * runs. It is started with `node -e` from its own source, so it is the same in a build, under a register hook and in
 * a test, and loads nothing else: about 6 MB and one small write a second.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { open } from 'node:fs/promises';
import { deadline } from './deadline';

/** All that the process has in memory. */
export interface InstanceMemory {
  /** Random for each fresh start. */
  boot: string;
  /** Seconds since then. */
  mem: number;
  /** Seconds in all; also kept on the disk, in the status file. */
  disk: number;
}

type Order = { act: 'start'; root: string; title: string; memory: InstanceMemory | null } | { act: 'freeze' | 'thaw' };
/** Each order is numbered and answered, so that a late answer is not taken for the next one's. */
type Numbered = Order & { id: number };
interface Answer {
  id: number;
  memory: InstanceMemory;
}

const START_LIMIT_MS = 15_000;
const ANSWER_LIMIT_MS = 5_000;

/** The program itself. Its text is all that reaches the process: it must not use anything outside its own body. */
function program(): void {
  const fs = process.getBuiltinModule('node:fs');
  const memory = { boot: '', mem: 0, disk: 0 };
  let root = '';
  let frozen = false;

  const tick = (): void => {
    if (frozen) return;
    memory.mem += 1;
    memory.disk += 1;
    try {
      if (!fs.existsSync(`${root}/srv`)) fs.mkdirSync(`${root}/srv`);
      // By rename, so that nobody reads half a line and a hard stop leaves none behind.
      fs.writeFileSync(`${root}/srv/.status`, `boot=${memory.boot} mem=${memory.mem} disk=${memory.disk}\n`);
      fs.renameSync(`${root}/srv/.status`, `${root}/srv/status`);
    } catch (error) {
      // A full disk passes; a root that is gone does not come back.
      if (!fs.existsSync(root)) throw error;
    }
  };

  const boot = (): void => {
    try {
      JSON.parse(fs.readFileSync(`${root}/etc/app.json`, 'utf8'));
    } catch {
      console.error('refused to start: /etc/app.json is missing or is not valid JSON');
      process.exit(78);
    }
    memory.boot = process.getBuiltinModule('node:crypto').randomBytes(4).toString('hex');
    try {
      memory.disk = Number(/disk=(\d+)/.exec(fs.readFileSync(`${root}/srv/status`, 'utf8'))?.[1] ?? 0);
    } catch {
      memory.disk = 0;
    }
  };

  process.on('message', (order: Numbered) => {
    if (order.act === 'start') {
      root = order.root;
      process.title = order.title;
      if (order.memory === null) boot();
      else Object.assign(memory, order.memory);
      tick();
      setInterval(tick, 1000);
    } else {
      frozen = order.act === 'freeze';
    }
    process.send?.({ id: order.id, memory } satisfies Answer);
  });
  // The channel closes when our owner ends, however it ends; Ctrl-C is meant for the owner alone.
  process.on('disconnect', () => process.exit(0));
  process.on('SIGINT', () => undefined);
}

/** One instance's process, from its start to its end. */
export class InstanceProcess {
  /** Settles when the process is gone, by our doing or not. */
  readonly ended: Promise<void>;
  private orders = 0;

  private constructor(private readonly child: ChildProcess) {
    this.ended = new Promise((resolve) => {
      child.once('exit', () => resolve());
      // A process that never ran has no exit.
      child.on('error', () => child.pid === undefined && resolve());
    });
  }

  /** Starts it fresh, or where `memory` left off; null when it ended instead of starting (its console says why). */
  static async start(
    at: { root: string; title: string; console: string },
    memory: InstanceMemory | null,
  ): Promise<InstanceProcess | null> {
    const output = await open(at.console, 'w');
    try {
      const flags = ['--max-old-space-size=16', '--v8-pool-size=1', '-e', `(${program.toString()})()`];
      const stdio = ['ignore', output.fd, output.fd, 'ipc'] as const;
      // An empty environment: what our own process was given is no business of an instance.
      const child = spawn(process.execPath, flags, { env: {}, cwd: '/', stdio: [...stdio] });
      const started = new InstanceProcess(child);
      const order: Order = { act: 'start', root: at.root, title: at.title, memory };
      try {
        await started.ask(order, AbortSignal.timeout(START_LIMIT_MS));
        return started;
      } catch {
        await started.stop();
        return null;
      }
    } finally {
      await output.close();
    }
  }

  /** Holds it still and gives its memory out; rejects when it does not answer. It goes on with `thaw`. */
  async freeze(signal: AbortSignal): Promise<InstanceMemory> {
    const inTime = deadline(signal, ANSWER_LIMIT_MS);
    try {
      return await this.ask({ act: 'freeze' }, inTime.signal);
    } finally {
      inTime.clear();
    }
  }

  thaw(): void {
    void this.ask({ act: 'thaw' }, AbortSignal.timeout(ANSWER_LIMIT_MS)).catch(() => undefined);
  }

  /** Ends it hard, as a power switch does, and waits until it is gone. */
  async stop(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  private async ask(order: Order, limit: AbortSignal): Promise<InstanceMemory> {
    this.orders += 1;
    const numbered: Numbered = { ...order, id: this.orders };
    const { child } = this;
    let hear: (answer: Answer) => void = () => undefined;
    const answered = new Promise<InstanceMemory>((resolve) => {
      hear = (answer) => answer.id === numbered.id && resolve(answer.memory);
      child.on('message', hear);
    });
    try {
      // A failure to send needs no telling: the process is gone then, and that is heard below.
      if (child.connected) child.send(numbered, () => undefined);
      return await Promise.race([answered, this.ended.then(() => fail('it ended')), aborted(limit)]);
    } finally {
      child.off('message', hear);
    }
  }
}

function fail(why: string): never {
  throw new Error(`The process of the instance gave no answer: ${why}.`);
}

async function aborted(signal: AbortSignal): Promise<never> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  return fail('its time is over');
}
