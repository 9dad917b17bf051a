import { execFileSync } from 'node:child_process';
import { cp, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { InstanceFacts, SnapshotRef } from '../../src/engine/engine';
import { openLocalEngine, type LocalEngine } from '../../src/engine/local';
import type { At, EngineUnderTest, InstanceStatus } from './engine-contract';

export const web: At = { project: 'default', name: 'web-1' };
export const db: At = { project: 'default', name: 'db-1' };
export const cache: At = { project: 'default', name: 'cache-1' };

/** A folder with the three instances of the contract in it, and its engine; `path` leads to an instance's files. */
export interface LocalUnderTest extends EngineUnderTest {
  engine: LocalEngine;
  folder: string;
  path(at: At, ...rest: string[]): string;
}

/** Opens a `local` engine on a folder of its own; `close` removes the folder. */
export async function localUnderTest(): Promise<LocalUnderTest> {
  const folder = await mkdtemp(join(tmpdir(), 'keyframe-local-'));
  const engine = await openLocalEngine(folder);
  await engine.createInstance(web.project, web.name, { running: true, stateful: true });
  await engine.createInstance(db.project, db.name, { running: true });
  await engine.createInstance(cache.project, cache.name);
  const path = (at: At, ...rest: string[]): string => join(folder, 'instances', at.project, at.name, ...rest);
  return {
    engine,
    folder,
    path,
    running: web,
    stopped: cache,
    plain: db,
    status: async (at) => parseStatus(await readFile(path(at, 'rootfs/srv/status'), 'utf8')),
    write: (at, file, text) => writeFile(path(at, 'rootfs', file), text),
    read: (at, file) => readFile(path(at, 'rootfs', file), 'utf8').catch(() => null),
    configure: (at, key, value) => engine.configure(at, key, value),
    makeSnapshotDirectly: async (at, name) => {
      await cp(path(at, 'rootfs/'), path(at, 'copy/rootfs'), { recursive: true });
      await rename(path(at, 'copy'), path(at, 'snapshots', name));
    },
    close: async () => {
      await engine.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** What an instance's process writes once a second. */
export function parseStatus(text: string): InstanceStatus {
  const [, boot, mem, disk] = /^boot=(\w+) mem=(\d+) disk=(\d+)$/m.exec(text) ?? [];
  if (boot === undefined) throw new Error(`not a status: ${text}`);
  return { boot, mem: Number(mem), disk: Number(disk) };
}

/** A total deadline for a call. */
export const signal = (): AbortSignal => AbortSignal.timeout(20_000);

/** The facts of an instance that is there. */
export async function find(engine: LocalEngine, at: At): Promise<InstanceFacts> {
  const facts = await engine.findInstance(at, signal());
  if (facts === null) throw new Error(`there is no ${at.name}`);
  return facts;
}

/** Makes a snapshot of an instance. */
export async function snapshot(engine: LocalEngine, at: At, name: string, stateful = false): Promise<SnapshotRef> {
  const ref = { instance: { ...at, uid: (await find(engine, at)).uid }, name };
  await engine.createSnapshot(ref, { stateful }, signal());
  return ref;
}

/** The instances' processes that a process has started and that still run. */
export function childrenOf(pid: number): number[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' }).split('\n');
  const rows = lines.map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line)).filter((row) => row !== null);
  return rows
    .filter((row) => Number(row[2]) === pid && row[3]?.startsWith('local ') === true)
    .map((row) => Number(row[1]));
}

/** Whether there is a process of that id. */
export const alive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};
