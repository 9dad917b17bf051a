/** An engine that the whole program observes, and what somebody does on it directly, past the program. */
import { cp, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { startTestApp, type TestApp, type TestAppOptions } from './app';
import { at, copyInstance, incusWays, power, removeInstances } from './incus-story';

/** Acts are on instances and snapshots by their names; all instances are stopped ones of the project `default`. */
export interface Observed {
  app: TestApp;
  makeInstance: (name: string) => Promise<void>;
  renameInstance: (name: string, newName: string) => Promise<void>;
  deleteInstance: (name: string) => Promise<void>;
  power: (name: string, action: 'start' | 'stop') => Promise<void>;
  makeSnapshot: (instance: string, name: string) => Promise<void>;
  renameSnapshot: (instance: string, name: string, newName: string) => Promise<void>;
  deleteSnapshot: (instance: string, name: string) => Promise<void>;
  snapshots: (instance: string) => Promise<string[]>;
  /** Leaves neither process nor instance behind. */
  close: () => Promise<void>;
}

export interface ObservedEngine {
  title: string;
  /** A name that people can give on the engine itself and that its API cannot address. */
  impossibleName: string;
  open: (options?: TestAppOptions) => Promise<Observed>;
}

/** The local engine and, where the environment names one, a real Incus. */
export const observedEngines: ObservedEngine[] = [
  { title: 'the local engine', impossibleName: 'what?', open: openLocal },
  ...incusWays.slice(0, 1).map((way) => ({
    title: `Incus over ${way.title}`,
    impossibleName: 'half%2Fdone',
    open: (options: TestAppOptions = {}) => openIncus(way, options),
  })),
];

async function openLocal(options: TestAppOptions = {}): Promise<Observed> {
  const app = await startTestApp(options);
  const path = (instance: string, ...rest: string[]) => join(app.folder, 'engine/instances/default', instance, ...rest);
  return {
    app,
    makeInstance: (name) => app.local.createInstance('default', name),
    renameInstance: (name, newName) => rename(path(name), path(newName)),
    deleteInstance: (name) => rm(path(name), { recursive: true }),
    power: (name, action) => app.local[action](at(name)),
    makeSnapshot: async (instance, name) => {
      const fresh = path(instance, `being-made-${Date.now()}`);
      await mkdir(fresh);
      await cp(path(instance, 'rootfs/'), join(fresh, 'rootfs'), { recursive: true });
      const facts = { createdAt: new Date(), sizeBytes: null };
      await writeFile(join(fresh, 'snapshot.json'), JSON.stringify(facts));
      await rename(fresh, path(instance, 'snapshots', name));
    },
    renameSnapshot: (instance, name, newName) =>
      rename(path(instance, 'snapshots', name), path(instance, 'snapshots', newName)),
    deleteSnapshot: async (instance, name) => {
      // Out of sight first: without its record a snapshot would look like another one of that name.
      const aside = path(instance, `being-removed-${Date.now()}`);
      await rename(path(instance, 'snapshots', name), aside);
      await rm(aside, { recursive: true });
    },
    snapshots: async (instance) => {
      const facts = await app.engine.findInstance(at(instance), AbortSignal.timeout(5_000));
      return (facts?.snapshots ?? []).map(({ name }) => name).sort();
    },
    close: () => app.stop(),
  };
}

async function openIncus(way: (typeof incusWays)[number], options: TestAppOptions): Promise<Observed> {
  const raw = way.open();
  const app = await startTestApp({ ...options, env: { ...way.env, ...options.env } });
  const made = new Set<string>();
  return {
    app,
    makeInstance: async (name) => {
      made.add(name);
      await copyInstance(raw, 'cache-1', name);
    },
    renameInstance: async (name, newName) => {
      made.add(newName);
      await raw.call('POST', raw.url(at(name)), { name: newName });
    },
    deleteInstance: async (name) => {
      await raw.call('DELETE', raw.url(at(name)));
    },
    power: (name, action) => power(raw, at(name), action),
    makeSnapshot: (instance, name) => raw.makeSnapshot(at(instance), name),
    renameSnapshot: async (instance, name, newName) => {
      await raw.call('POST', raw.url(at(instance), `/snapshots/${name}`), { name: newName });
    },
    deleteSnapshot: async (instance, name) => {
      await raw.call('DELETE', raw.url(at(instance), `/snapshots/${name}`));
    },
    snapshots: async (instance) => {
      const { metadata } = await raw.call('GET', raw.url(at(instance), '/snapshots', 'recursion=1'));
      return (metadata as unknown as { name: string }[]).map(({ name }) => name).sort();
    },
    close: async () => {
      for (const name of made) await power(raw, at(name), 'stop').catch(() => undefined);
      await removeInstances(raw, ...made);
      await app.stop();
      await raw.close();
    },
  };
}
