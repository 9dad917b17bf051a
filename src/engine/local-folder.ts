/**
 * Part of the `local` engine, which can be taken away (see local.ts): one instance on the disk. People may look at all
 * of it and edit it, so nothing that is read here is believed to be whole, and nothing is remembered between looks.
 *
 *     instance.json       who it is, its configuration, and which root is its own
 *     root-<generation>/  its files; `rootfs` is a link to them, for people
 *     snapshots/<name>/   rootfs/, instance.json, snapshot.json, and memory.json of a stateful one
 *     console.log         what its process said when it last started
 */
import { randomUUID } from 'node:crypto';
import { lstat, mkdir, rename, stat, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { EngineError, type SnapshotFacts } from './engine';
import {
  copyTree,
  entries,
  hasCode,
  orNull,
  prepareFile,
  printJson,
  readJson,
  removeTree,
  syncFolder,
  temporaryName,
  writeFlushed,
} from './local-files';
import type { InstanceMemory } from './local-process';

const texts = z.record(z.string(), z.string());

/** What a snapshot keeps of an instance besides its files, and a restore brings back. */
const settingsSchema = z.object({
  description: z.string().default(''),
  config: texts.default({}),
  devices: z.record(z.string(), texts).default({}),
  profiles: z.array(z.string()).default([]),
});

const recordSchema = settingsSchema.extend({
  uid: z.string().min(1),
  createdAt: z.iso.datetime({ offset: true }).transform((text) => new Date(text)),
  /** Names the root folder, so it must not be able to name any other. */
  generation: z.uuid(),
  /** Whether it is meant to run; whether it does is for its process to say. */
  power: z.enum(['running', 'stopped']),
});

const snapshotSchema = z.object({
  createdAt: z.iso.datetime({ offset: true }).transform((text) => new Date(text)),
  sizeBytes: z.number().int().nonnegative().nullable(),
});

const memorySchema = z.object({
  boot: z.string().regex(/^\w{1,64}$/),
  mem: z.number().int().nonnegative(),
  disk: z.number().int().nonnegative(),
});

export type InstanceSettings = z.infer<typeof settingsSchema>;
export type InstanceRecord = z.infer<typeof recordSchema>;

const OLD_ROOT = /^root-[0-9a-f-]{36}$/;

const KEPT = { rootfs: 'rootfs', settings: 'instance.json', facts: 'snapshot.json', memory: 'memory.json' };

/** A root that was built beside the old one; `commit` makes it the instance's own by one rename. */
export interface PreparedRestore {
  record: InstanceRecord;
  commit(): Promise<void>;
  drop(): Promise<void>;
}

export class InstanceFolder {
  readonly console: string;
  private readonly file: string;
  private readonly snapshotsPath: string;

  constructor(readonly path: string) {
    this.console = join(path, 'console.log');
    this.file = join(path, 'instance.json');
    this.snapshotsPath = join(path, 'snapshots');
  }

  /** Makes the folder of a new instance as a whole: it is there with all its files, or not at all. */
  static async create(path: string, record: InstanceRecord, files: Record<string, string>): Promise<void> {
    const fresh = new InstanceFolder(join(path, '..', temporaryName()));
    try {
      await mkdir(join(fresh.path, 'snapshots'), { recursive: true });
      for (const [name, text] of Object.entries(files)) {
        const file = join(fresh.root(record), name);
        await mkdir(join(file, '..'), { recursive: true });
        await writeFlushed(file, text);
      }
      await writeFlushed(fresh.file, printJson(record));
      await fresh.linkRoot(record);
      await rename(fresh.path, path);
    } catch (error) {
      await removeTree(fresh.path);
      throw error;
    }
  }

  root(record: InstanceRecord): string {
    return join(this.path, `root-${record.generation}`);
  }

  /** Null when there is no instance here, or none that can be read: then nothing here is touched. */
  async record(): Promise<InstanceRecord | null> {
    return recordSchema.safeParse(await readJson(this.file)).data ?? null;
  }

  async writeRecord(record: InstanceRecord): Promise<void> {
    await (await prepareFile(this.file, printJson(record))).commit();
  }

  /** Finishes or removes what a process that was killed left behind. */
  async tidy(record: InstanceRecord): Promise<void> {
    await mkdir(this.snapshotsPath, { recursive: true });
    await this.linkRoot(record);
    // Where a hand-edited record names a root that is not there, the others may be all that is left.
    const whole = (await orNull(stat(this.root(record)))) !== null;
    for (const { name } of await entries(this.path)) {
      const old = whole && OLD_ROOT.test(name) && name !== `root-${record.generation}`;
      if (old || name.startsWith('.new-')) await removeTree(join(this.path, name));
    }
  }

  /** Oldest first. Folders that people made are snapshots too, with what can be told of them. */
  async snapshots(options: { sizes: boolean }): Promise<SnapshotFacts[]> {
    const found: SnapshotFacts[] = [];
    const folders = (await entries(this.snapshotsPath)).filter((entry) => entry.isDirectory());
    for (let start = 0; start < folders.length; start += 16) {
      const some = folders.slice(start, start + 16).map(({ name }) => this.snapshot(name));
      found.push(...(await Promise.all(some)).filter((facts) => facts !== null));
    }
    if (!options.sizes) for (const facts of found) delete facts.sizeBytes;
    return found.sort((one, other) => one.createdAt.getTime() - other.createdAt.getTime());
  }

  async snapshot(name: string): Promise<SnapshotFacts | null> {
    const path = join(this.snapshotsPath, name);
    const folder = await orNull(lstat(path));
    if (folder?.isDirectory() !== true) return null;
    const noted = snapshotSchema.safeParse(await readJson(join(path, KEPT.facts))).data;
    return {
      name,
      createdAt: noted?.createdAt ?? new Date(Math.trunc(folder.mtimeMs)),
      stateful: (await orNull(lstat(join(path, KEPT.memory)))) !== null,
      sizeBytes: noted?.sizeBytes ?? null,
    };
  }

  /** Copies the instance beside its snapshots and moves the copy among them when it is whole. */
  async addSnapshot(
    name: string,
    record: InstanceRecord,
    memory: InstanceMemory | null,
    signal: AbortSignal,
  ): Promise<void> {
    const createdAt = new Date();
    const fresh = join(this.path, temporaryName());
    try {
      await mkdir(fresh);
      const sizeBytes = await copyTree(this.root(record), join(fresh, KEPT.rootfs), signal);
      await writeFlushed(join(fresh, KEPT.settings), printJson(settingsSchema.parse(record)));
      await writeFlushed(join(fresh, KEPT.facts), printJson({ createdAt, sizeBytes }));
      if (memory !== null) await writeFlushed(join(fresh, KEPT.memory), printJson(memory));
      await syncFolder(fresh);
      signal.throwIfAborted();
      await this.moveTo(fresh, name);
    } catch (error) {
      await removeTree(fresh);
      throw error;
    }
  }

  async renameSnapshot(name: string, newName: string): Promise<void> {
    await this.moveTo(join(this.snapshotsPath, name), newName);
  }

  /** It is gone at once, and its files a little later. */
  async removeSnapshot(name: string): Promise<void> {
    const old = join(this.path, temporaryName());
    if ((await orNull(rename(join(this.snapshotsPath, name), old).then(() => true))) === null) return;
    await syncFolder(this.snapshotsPath);
    await removeTree(old);
  }

  async memory(name: string): Promise<InstanceMemory | null> {
    return memorySchema.safeParse(await readJson(join(this.snapshotsPath, name, KEPT.memory))).data ?? null;
  }

  /** Builds what the instance will be, beside what it is; nothing of the instance has changed until `commit`. */
  async prepareRestore(name: string, record: InstanceRecord, signal: AbortSignal): Promise<PreparedRestore> {
    const from = join(this.snapshotsPath, name);
    const next = { ...record, ...(await this.keptSettings(from)), generation: randomUUID() };
    const root = this.root(next);
    try {
      await copyTree(join(from, KEPT.rootfs), root, signal);
      const file = await prepareFile(this.file, printJson(next));
      const drop = async (): Promise<void> => {
        await file.drop();
        await removeTree(root);
      };
      return { record: next, commit: () => file.commit(), drop };
    } catch (error) {
      await removeTree(root);
      if (hasCode(error, 'ENOENT')) throw new EngineError('REJECTED', 'The snapshot has no files to restore.');
      throw error;
    }
  }

  /** A snapshot that a person made may have no configuration: then a restore leaves the instance's own. */
  private async keptSettings(snapshotPath: string): Promise<InstanceSettings | null> {
    const path = join(snapshotPath, KEPT.settings);
    if ((await orNull(stat(path))) === null) return null;
    const kept = settingsSchema.safeParse(await readJson(path));
    if (kept.success) return kept.data;
    throw new EngineError('REJECTED', 'The configuration in the snapshot cannot be read.', kept.error.message);
  }

  private async moveTo(path: string, name: string): Promise<void> {
    const to = join(this.snapshotsPath, name);
    const taken = new EngineError('NAME_TAKEN', 'The instance has a snapshot of that name already.');
    // Rename alone would put an empty folder of that name aside without a word.
    if ((await orNull(lstat(to))) !== null) throw taken;
    try {
      await rename(path, to);
    } catch (error) {
      throw hasCode(error, 'ENOTEMPTY', 'EEXIST') ? taken : error;
    }
    await syncFolder(this.snapshotsPath);
  }

  /** Points `rootfs` at the instance's own root. What a person put in the link's place is kept beside it. */
  async linkRoot(record: InstanceRecord): Promise<void> {
    const link = join(this.path, 'rootfs');
    const fresh = join(this.path, temporaryName());
    const there = await orNull(lstat(link));
    if (there !== null && !there.isSymbolicLink()) await rename(link, `${link}-aside-${Date.now()}`);
    await symlink(`root-${record.generation}`, fresh);
    await rename(fresh, link);
  }
}
