/**
 * The `local` engine, for trying and testing: instances are folders. The room local*.ts can be taken away: it is not
 * loaded when the configuration names an Incus or LXD (INCUS_…).
 */
import { EventEmitter } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import {
  EngineError,
  type Engine,
  type EngineFacts,
  type Hint,
  type InstanceFacts,
  type SnapshotFacts,
  type SnapshotRef,
} from './engine';
import { assertNewSnapshotName, assertReachable } from './incus-names';
import { entries, removeTree } from './local-files';
import { firstFiles, firstRecord, type NewInstance } from './local-first';
import { InstanceFolder, type InstanceRecord } from './local-folder';
import { keyOf, LocalInstances, type At, type FoundInstance } from './local-instances';
import { Power } from './local-power';
import type { InstanceMemory } from './local-process';
import { Turns } from './local-turns';
import { FolderWatch } from './local-watch';

/** An engine with what a person could do at its own console; the control plane itself never does these. */
export interface LocalEngine extends Engine {
  /** Makes an instance with a few files in it. */
  createInstance(project: string, name: string, options?: NewInstance): Promise<void>;
  /** Starts an instance; where it refuses, its status is ERROR and its console.log says why. */
  start(at: At): Promise<void>;
  stop(at: At): Promise<void>;
  /** Sets a configuration key; an empty value removes it. */
  configure(at: At, key: string, value: string): Promise<void>;
}

/** Opens the folder as an engine, as after a host's start: what was running boots anew. One process may own it. */
export async function openLocalEngine(folder: string): Promise<LocalEngine> {
  const engine = new FolderEngine(join(resolve(folder), 'instances'));
  await engine.open();
  return engine;
}

const NOT_SET_UP = 'Set migration.stateful to true on the instance to allow it.';
const isStateful = ({ config }: InstanceRecord): boolean => config['migration.stateful'] === 'true';

class FolderEngine implements LocalEngine {
  readonly kind = 'local';
  private readonly instancesHere: LocalInstances;
  private readonly changes = new EventEmitter().setMaxListeners(0);
  private readonly power = new Power((at) => this.changes.emit('hint', at));
  private readonly turns = new Turns();
  private readonly closing = new AbortController();

  constructor(path: string) {
    this.instancesHere = new LocalInstances(path);
  }

  async open(): Promise<void> {
    await this.instancesHere.tidy();
    const starts: Promise<boolean>[] = [];
    for await (const found of this.instancesHere.all()) {
      if (found.record.power === 'running') starts.push(this.power.start(found, null));
    }
    await Promise.all(starts);
  }

  describe(signal: AbortSignal): Promise<EngineFacts> {
    const capabilities: EngineFacts['capabilities'] = ['SNAPSHOTS', 'STATEFUL_SNAPSHOTS', 'EVENTS', 'GENERATION_ID'];
    return this.turns.now(signal, async () => {
      await this.instancesHere.assertThere();
      return { kind: this.kind, name: 'local', version: '1', run: null, capabilities };
    });
  }

  async *instances(signal: AbortSignal): AsyncIterable<InstanceFacts> {
    const found = this.instancesHere.all()[Symbol.asyncIterator]();
    for (;;) {
      const facts = await this.turns.now(signal, async () => {
        const next = await found.next();
        const facts = next.done === true ? null : await this.facts(next.value, { sizes: false });
        await this.instancesHere.assertThere();
        return facts;
      });
      if (facts === null) return;
      yield facts;
    }
  }

  findInstance(at: At, signal: AbortSignal): Promise<InstanceFacts | null> {
    return this.turns.now(signal, async () => {
      const found = await this.instancesHere.find(at);
      const facts = found && (await this.facts(found, { sizes: true }));
      // What goes away while it is looked at must not look like an instance whose snapshots are gone.
      return facts && (await this.instancesHere.find(at)) && facts;
    });
  }

  findSnapshot(ref: SnapshotRef, signal: AbortSignal): Promise<SnapshotFacts | null> {
    return this.turns.now(signal, async () => {
      assertReachable(ref.name, 'snapshot');
      const found = await this.instancesHere.find(ref.instance);
      return found?.record.uid === ref.instance.uid ? found.folder.snapshot(ref.name) : null;
    });
  }

  createSnapshot(ref: SnapshotRef, options: { stateful: boolean }, signal: AbortSignal): Promise<void> {
    return this.turns.run(keyOf(ref.instance), signal, async () => {
      assertNewSnapshotName(ref.name);
      const { key, folder, record } = await this.instancesHere.meant(ref.instance);
      if (options.stateful && this.power.status(key) !== 'RUNNING') {
        throw new EngineError('STATE_INVALID', 'Only a running instance has a memory to keep.');
      }
      if (options.stateful && !isStateful(record)) {
        throw new EngineError(
          'STATEFUL_NOT_SUPPORTED',
          `The instance does not allow its memory to be kept. ${NOT_SET_UP}`,
        );
      }
      // A stateless snapshot is of one moment too: nothing is written while the files are copied.
      const process = this.power.process(key);
      try {
        const memory = (await process?.freeze(signal).catch(() => null)) ?? null;
        signal.throwIfAborted();
        if (options.stateful && memory === null) {
          throw new EngineError('STATE_INVALID', 'The process of the instance does not answer.');
        }
        await folder.addSnapshot(ref.name, record, options.stateful ? memory : null, signal);
      } finally {
        process?.thaw();
      }
    });
  }

  restoreSnapshot(ref: SnapshotRef, options: { memory: boolean }, signal: AbortSignal): Promise<void> {
    return this.turns.run(keyOf(ref.instance), signal, async () => {
      const found = await this.instancesHere.meantSnapshot(ref);
      if (options.memory && !found.snapshot.stateful) {
        throw new EngineError('STATE_INVALID', 'The snapshot holds no memory, so none can be restored from it.');
      }
      const memory = options.memory ? await found.folder.memory(ref.name) : null;
      if (options.memory && memory === null) {
        throw new EngineError('REJECTED', 'The memory in the snapshot cannot be read.');
      }
      await this.swap(found, ref.name, memory, signal);
    });
  }

  renameSnapshot(ref: SnapshotRef, newName: string, signal: AbortSignal): Promise<void> {
    return this.turns.run(keyOf(ref.instance), signal, async () => {
      assertNewSnapshotName(newName);
      const { folder } = await this.instancesHere.meantSnapshot(ref);
      await folder.renameSnapshot(ref.name, newName);
    });
  }

  deleteSnapshot(ref: SnapshotRef, signal: AbortSignal): Promise<void> {
    return this.turns.run(keyOf(ref.instance), signal, async () => {
      assertReachable(ref.name, 'snapshot');
      const { folder } = await this.instancesHere.meant(ref.instance);
      await folder.removeSnapshot(ref.name);
    });
  }

  /** What was begun by a process that died is finished or undone at the next opening. */
  outcome(): Promise<boolean> {
    return Promise.resolve(false);
  }

  /** An act shows when it is done, never before. */
  atWork(): Promise<Set<string>> {
    return Promise.resolve(new Set());
  }

  async watch(onHint: (hint: Hint) => void, signal: AbortSignal): Promise<void> {
    const over = AbortSignal.any([signal, this.closing.signal]);
    if (over.aborted) return;
    const folderWatch = new FolderWatch(this.instancesHere.path, onHint);
    this.changes.on('hint', onHint);
    await new Promise((resolve) => over.addEventListener('abort', resolve, { once: true }));
    this.changes.off('hint', onHint);
    folderWatch.close();
  }

  /** Lets what has begun end, then stops every instance's process; what was running boots at the next opening. */
  async close(): Promise<void> {
    this.closing.abort();
    await this.turns.close();
    await this.power.close();
  }

  createInstance(project: string, name: string, options: NewInstance = {}): Promise<void> {
    const at = { project, name };
    return this.turns.run(keyOf(at), this.closing.signal, async () => {
      const folder = this.instancesHere.folderAt(at);
      if ((await entries(folder.path)).length > 0) {
        throw new EngineError('NAME_TAKEN', 'There is an instance of that name already.');
      }
      const record = firstRecord(options);
      await mkdir(dirname(folder.path), { recursive: true });
      await InstanceFolder.create(folder.path, record, firstFiles(name));
      if (record.power === 'running') await this.power.start({ key: keyOf(at), at, folder, record }, null);
    });
  }

  start(at: At): Promise<void> {
    return this.change(at, async (found) => {
      await found.folder.writeRecord({ ...found.record, power: 'running' });
      if (this.power.status(found.key) !== 'RUNNING') await this.power.start(found, null);
    });
  }

  stop(at: At): Promise<void> {
    return this.change(at, async ({ key, folder, record }) => {
      await folder.writeRecord({ ...record, power: 'stopped' });
      await this.power.stop(key);
    });
  }

  configure(at: At, key: string, value: string): Promise<void> {
    return this.change(at, async ({ folder, record }) => {
      const others = Object.entries(record.config).filter(([name]) => name !== key);
      const config = Object.fromEntries(value === '' ? others : [...others, [key, value]]);
      await folder.writeRecord({ ...record, config });
    });
  }

  private change(at: At, act: (found: FoundInstance) => Promise<void>): Promise<void> {
    return this.turns.run(keyOf(at), this.closing.signal, async () => {
      const found = await this.instancesHere.find(at);
      if (found === null) throw new EngineError('NOT_FOUND', 'The engine has no such instance.');
      await act(found);
      this.changes.emit('hint', { ...at });
    });
  }

  /** The new root is built while the instance runs on; the commit is one rename, made while nothing runs. */
  private async swap(
    found: FoundInstance,
    name: string,
    memory: InstanceMemory | null,
    signal: AbortSignal,
  ): Promise<void> {
    const { folder, record } = found;
    const power = memory === null ? record.power : 'running';
    const next = await folder.prepareRestore(name, { ...record, power }, signal);
    const started = await this.power.during(found.key, async () => {
      await this.power.stop(found.key);
      try {
        await next.commit();
      } catch (error) {
        await next.drop().catch(() => undefined);
        if (record.power === 'running') await this.power.start(found, null);
        throw error;
      }
      // The link is for people and is mended at the next opening: the instance starts without it.
      await folder.linkRoot(next.record).catch(() => undefined);
      return power === 'stopped' || this.power.start({ ...found, record: next.record }, memory);
    });
    // A root that cannot be removed now is swept away at the next opening; the restore itself is done.
    await removeTree(folder.root(record)).catch(() => undefined);
    if (!started)
      throw new EngineError('REJECTED', 'The snapshot was restored, but the instance did not start from it.');
  }

  private async facts({ key, at, folder, record }: FoundInstance, options: { sizes: boolean }): Promise<InstanceFacts> {
    const supported = isStateful(record);
    return {
      ...at,
      uid: record.uid,
      location: null,
      type: 'CONTAINER',
      status: this.power.status(key),
      createdAt: record.createdAt,
      description: record.description,
      configuration: { config: record.config, devices: record.devices, profiles: record.profiles },
      statefulSupport: { supported, reasons: supported ? [] : [NOT_SET_UP] },
      generation: record.generation,
      snapshots: await folder.snapshots(options),
    };
  }
}
