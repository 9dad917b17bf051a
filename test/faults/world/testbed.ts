/** The testbed's scripts, and what can be seen of its engine from the host. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const exec = promisify(execFile);
const HELPERS = new Set(['rsync', 'criu', 'btrfs']);

export class Testbed {
  private constructor(
    readonly socket: string,
    /** The daemon's own folder on the host. */
    private readonly folder: string,
    private readonly holder: string,
  ) {}

  /** Brings it up with these instances (`name:kind`, as incus-up takes them). */
  static async up(instances: string[]): Promise<Testbed> {
    const { stdout } = await run('incus-up', [], { INCUS_INSTANCES: instances.join(' ') });
    const value = (name: string): string => new RegExp(`^${name}=(.*)$`, 'm').exec(stdout)?.[1] ?? '';
    const folder = dirname(value('INCUS_PID_FILE'));
    // An interrupted run may have left them, and every later one would take them for faults of CRIU.
    for (const file of ['criu.fail', 'criu.delay']) await rm(join(folder, file), { force: true });
    return new Testbed(value('INCUS_SOCKET'), folder, readFileSync(join(folder, 'holder.pid'), 'utf8').trim());
  }

  async crash(withHelpers: boolean): Promise<void> {
    await run('incus-crash', withHelpers ? ['--with-helpers'] : [], {});
  }

  /** Brings the daemon back; an instance that a fault has stopped is not started by this. */
  async back(stopped: string): Promise<void> {
    await run('incus-up', [], { INCUS_INSTANCES: stopped });
  }

  /** Makes steps of CRIU fail or wait; gives how to end that. */
  async criu(file: 'fail' | 'delay', text: string): Promise<() => Promise<void>> {
    const path = join(this.folder, `criu.${file}`);
    await writeFile(path, text);
    return () => rm(path, { force: true });
  }

  /** A storage pool, as the daemon has it mounted. */
  pool(name: string): string {
    const lib = `/proc/${this.holder}/root/var/lib`;
    const own = readdirSync(lib).find((each) => each.startsWith('incus-main-'));
    if (own === undefined) throw new Error(`there is no engine in ${lib}`);
    return join(lib, own, 'storage-pools', name);
  }

  /** Whether helpers of a daemon, living or dead, are still at work. */
  helpersWork(): boolean {
    const space = (pid: string): string => readlinkSync(`/proc/${pid}/ns/mnt`);
    return readdirSync('/proc').some((pid) => {
      try {
        const name = /^\d+$/.test(pid) ? readFileSync(`/proc/${pid}/comm`, 'utf8').trim() : '';
        return HELPERS.has(name) && space(pid) === space(this.holder);
      } catch {
        return false; // it has ended meanwhile
      }
    });
  }
}

async function run(script: string, args: string[], env: Record<string, string>): Promise<{ stdout: string }> {
  const folder = process.env['TESTBED_DIR'] ?? '../shared/testbed';
  const path = join(resolve(join(__dirname, '../../..'), folder), script);
  return exec(path, args, { env: { ...process.env, ...env }, maxBuffer: 10_000_000 });
}
