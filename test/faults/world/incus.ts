/** A real Incus with instances of the laboratory's own, reached by the program through the proxy. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
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
  const restores = countRestores(testbed.socket);
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
    restores: ({ name }) => restores.of(name),
    rest: async () => {
      const idle = async () => {
        const operations = await raw.call('GET', '/1.0/operations').catch(() => null);
        // Those that ended are listed for some seconds more.
        return operations && !('running' in operations.metadata) && !testbed.helpersWork();
      };
      await until(idle, 60_000, 'the engine to be at rest');
    },
    close: async () => {
      restores.close();
      await proxy.close();
      // The instances stay with the testbed, for the next run: one of them takes long to make.
      for (const { name } of PLACES) await removeSnapshots(raw, at(name), '').catch(() => undefined);
      await raw.close();
    },
  };
}

/** Counts by the engine's own words which instances it has restored how often; goes on after its restarts. */
function countRestores(socket: string): { of: (name: string) => number; close: () => void } {
  const done = new Map<string, string>();
  let stream: WebSocket | null = null;
  let closed = false;
  const listen = (): void => {
    if (closed) return;
    stream = new WebSocket(`ws+unix:${socket}:/1.0/events?type=operation`);
    stream.on('error', () => undefined);
    stream.on('close', () => setTimeout(listen, 100));
    stream.on('message', (data: Buffer) => {
      const { metadata } = JSON.parse(data.toString()) as { metadata: Record<string, unknown> };
      const { id, description, status, resources } = metadata as { id: string; description: string; status: string; resources: { instances?: string[] } | null }; // prettier-ignore
      const [instance] = resources?.instances ?? [];
      if (description === 'Restoring snapshot' && status === 'Success' && instance) done.set(id, instance);
    });
  };
  listen();
  return {
    of: (name) => [...done.values()].filter((each) => each.endsWith(`/${name}`)).length,
    close: () => {
      closed = true;
      stream?.terminate();
    },
  };
}
