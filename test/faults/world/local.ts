/** The local engine: a folder, which lives in the worker's process. */
import { watch } from 'node:fs';
import { readdir, readFile, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { openLocalEngine } from '../../../src/engine/local';
import type { Ground, Place } from './ground';

const PLACES: Place[] = [
  { name: 'lab-warm-1', running: true, stateful: true, files: 30 },
  { name: 'lab-warm-2', running: true, stateful: true, files: 30 },
  { name: 'lab-run-1', running: true, stateful: false, files: 30 },
  { name: 'lab-cold-1', running: false, stateful: false, files: 30 },
  { name: 'lab-big-1', running: false, stateful: false, files: 600 },
];

export async function localGround(folder: string): Promise<Ground> {
  const instances = join(folder, 'engine/instances/default');
  const engine = await openLocalEngine(join(folder, 'engine'));
  for (const { name, running, stateful } of PLACES) {
    await engine.createInstance('default', name, { running, stateful });
  }
  await engine.close();
  const at = (place: Place): string => join(instances, place.name);
  const generations = new Map<string, Set<string>>();
  const watchers = PLACES.map((place) => {
    const seen = new Set<string>();
    generations.set(place.name, seen);
    // Each completed restore gives the record another generation.
    const look = (): void => {
      void readFile(join(at(place), 'instance.json'), 'utf8').then(
        (text) => seen.add((JSON.parse(text) as { generation: string }).generation),
        () => undefined,
      );
    };
    look();
    return watch(at(place), look);
  });
  return {
    engine: 'local',
    places: PLACES,
    env: { KEYFRAME_DATA_DIR: folder },
    root: (place) => realpath(join(at(place), 'rootfs')),
    snapshotRoot: (place, snapshot) => join(at(place), 'snapshots', snapshot, 'rootfs'),
    snapshots: (place) => readdir(join(at(place), 'snapshots')),
    // Its process lives with the worker's: a new one starts it again.
    isRunning: (place) => Promise.resolve(place.running),
    mend: () => Promise.resolve(),
    restores: (place) => generations.get(place.name)?.size ?? 0,
    failures: () => 0,
    endOf: () => null,
    rest: () => Promise.resolve(),
    close: () => {
      for (const watcher of watchers) watcher.close();
      return Promise.resolve();
    },
  };
}
