/** A real Incus with instances of the laboratory's own, reached by the program through the proxy. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { IncusRaw } from '../../support/incus-raw';
import { at, engineSnapshots, power, removeSnapshots } from '../../support/incus-story';
import { until } from '../../support/until';
import { faultProxy, type FaultProxy } from '../proxy';
import type { Ground, Place } from './ground';
import { Testbed } from './testbed';

interface IncusPlace extends Place {
  kind: string;
  pool: string;
}

const PLACES: IncusPlace[] = [
  { name: 'lab-warm-1', kind: 'stateful', pool: 'default', running: true, stateful: true, files: 30 },
  { name: 'lab-warm-2', kind: 'stateful', pool: 'default', running: true, stateful: true, files: 30 },
  { name: 'lab-run-1', kind: 'started', pool: 'default', running: true, stateful: false, files: 30 },
  { name: 'lab-cold-1', kind: '', pool: 'default', running: false, stateful: false, files: 30 },
  { name: 'lab-slow-1', kind: 'slow', pool: 'slow', running: false, stateful: false, files: 30, bulk: 20_000 },
  { name: 'lab-tiny-1', kind: 'tiny', pool: 'tiny', running: true, stateful: true, files: 30 },
];
/** For what needs an instance that does not run. */
export const COLD = 'lab-cold-1';

/** What only scenarios on Incus can do. */
export interface IncusGround extends Ground {
  engine: 'incus';
  testbed: Testbed;
  proxy: FaultProxy;
}

export async function incusGround(folder: string): Promise<IncusGround> {
  await mkdir(folder, { recursive: true });
  const testbed = await Testbed.up(PLACES.map(({ name, kind }) => (kind ? `${name}:${kind}` : name)));
  const raw = new IncusRaw({ socket: testbed.socket });
  const proxy = await faultProxy(join(folder, 'engine.socket'), testbed.socket);
  for (const { name } of PLACES) await removeSnapshots(raw, at(name), '');
  const ended = followOperations(testbed.socket);
  const generations = await followGenerations(raw);
  const poolOf = ({ name }: Place): string =>
    testbed.pool(PLACES.find((each) => each.name === name)?.pool ?? 'default');
  const status = async ({ name }: Place): Promise<unknown> =>
    (await raw.call('GET', raw.url(at(name)))).metadata.status;
  return {
    engine: 'incus',
    testbed,
    proxy,
    places: PLACES,
    env: { INCUS_SOCKET: proxy.socket },
    root: (place) => Promise.resolve(join(poolOf(place), 'containers', place.name, 'rootfs')),
    snapshotRoot: (place, snapshot) => join(poolOf(place), 'containers-snapshots', place.name, snapshot, 'rootfs'),
    snapshots: async ({ name }) => (await engineSnapshots(raw, at(name))).map((each) => each.name),
    isRunning: async (place) => (await status(place)) === 'Running',
    mend: async (place) => {
      if (((await status(place)) === 'Running') === place.running) return;
      await power(raw, at(place.name), place.running ? 'start' : 'stop');
    },
    // The engine's words miss what ends as its daemon dies, and the ids what changes twice between two looks.
    restores: ({ name }) => Math.max(ended.count(name, RESTORED), generations.count(name)),
    failures: ({ name }) => ended.count(name, FAILED),
    endOf: ended.at,
    rest: async () => {
      const idle = async () => {
        const operations = await raw.call('GET', '/1.0/operations').catch(() => null);
        // Those that ended are listed for some seconds more.
        return operations && !('running' in operations.metadata) && !testbed.helpersWork();
      };
      await until(idle, 60_000, 'the engine to be at rest');
    },
    close: async () => {
      ended.close();
      await generations.close();
      await proxy.close();
      // The instances stay with the testbed, for the next run: one of them takes long to make.
      for (const { name } of PLACES) await removeSnapshots(raw, at(name), '').catch(() => undefined);
      await raw.close();
    },
  };
}

/** An operation of the engine that has ended. */
interface Ended {
  at: number;
  instance: string;
  description: string;
  status: string;
}

const RESTORED = ({ description, status }: Ended) => description === 'Restoring snapshot' && status === 'Success';
const FAILED = ({ status }: Ended) => status === 'Failure';

/** Keeps what the engine says of operations that end; goes on after its restarts. */
function followOperations(socket: string) {
  const all = new Map<string, Ended>();
  let stream: WebSocket | null = null;
  let closed = false;
  const listen = (): void => {
    if (closed) return;
    stream = new WebSocket(`ws+unix:${socket}:/1.0/events?type=operation`);
    stream.on('error', () => undefined);
    stream.on('close', () => setTimeout(listen, 100));
    stream.on('message', (data: Buffer) => {
      const { metadata } = JSON.parse(data.toString()) as { metadata: Record<string, unknown> };
      const { id, description, status, resources } = metadata as { id: string; description: string; status: string; resources: Record<string, string[]> | null }; // prettier-ignore
      const instance = /^\/1\.0\/instances\/([^/?]+)/.exec(Object.values(resources ?? {}).flat()[0] ?? '')?.[1];
      const isNew = !all.has(id) && (status === 'Success' || status === 'Failure');
      if (isNew && instance) all.set(id, { at: Date.now(), instance, description, status });
    });
  };
  listen();
  return {
    at: (id: string) => all.get(id)?.at ?? null,
    count: (name: string, which: (each: Ended) => boolean) =>
      [...all.values()].filter((each) => each.instance === name && which(each)).length,
    close: () => {
      closed = true;
      stream?.terminate();
    },
  };
}

const LOOK_EVERY_MS = 200;

/** Keeps the ids that instances get with each restore of their disks, also of those that ended while nobody listened. */
async function followGenerations(raw: IncusRaw) {
  const seen = new Map<string, Set<string>>();
  const ending = new AbortController();
  const look = async (): Promise<void> => {
    const { metadata } = await raw.call('GET', '/1.0/instances?recursion=1');
    for (const { name, config } of Object.values(metadata) as { name: string; config: Record<string, string> }[]) {
      seen.set(name, (seen.get(name) ?? new Set()).add(config['volatile.uuid.generation'] ?? ''));
    }
  };
  const keepLooking = async (): Promise<void> => {
    while (!ending.signal.aborted) {
      await look().catch(() => undefined); // its daemon is down, and an id stays until it is back
      await sleep(LOOK_EVERY_MS, undefined, { signal: ending.signal }).catch(() => undefined);
    }
  };
  await look();
  const looking = keepLooking();
  return {
    count: (name: string) => seen.get(name)?.size ?? 0,
    close: () => {
      ending.abort();
      return looking;
    },
  };
}
