/** Part of the `local` engine, which can be taken away (see local.ts): which instances the folder holds, and who is meant. */
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { EngineError, type InstanceRef, type SnapshotFacts, type SnapshotRef } from './engine';
import { assertReachable } from './incus-names';
import { entries, orNull, removeTree } from './local-files';
import { InstanceFolder, type InstanceRecord } from './local-folder';

/** Where an instance stands. */
export interface At {
  project: string;
  name: string;
}

export interface FoundInstance {
  key: string;
  at: At;
  folder: InstanceFolder;
  record: InstanceRecord;
}

export const keyOf = ({ project, name }: At): string => `${project}/${name}`;

export class LocalInstances {
  constructor(readonly path: string) {}

  /** Makes the folder where there is none, and finishes or removes what a killed process left in it. */
  async tidy(): Promise<void> {
    await mkdir(this.path, { recursive: true });
    for (const project of await entries(this.path)) {
      for (const { name } of await entries(join(this.path, project.name))) {
        if (name.startsWith('.new-')) await removeTree(join(this.path, project.name, name));
      }
    }
    for await (const { folder, record } of this.all()) await folder.tidy(record);
  }

  /** Every instance, also of a name that no act could reach: what is there is shown. */
  async *all(): AsyncIterable<FoundInstance> {
    await this.assertThere();
    for (const project of await entries(this.path)) {
      if (project.name.startsWith('.')) continue;
      for (const { name } of await entries(join(this.path, project.name))) {
        const found = name.startsWith('.') ? null : await this.read({ project: project.name, name });
        if (found !== null) yield found;
      }
    }
  }

  async find(at: At): Promise<FoundInstance | null> {
    this.folderAt(at);
    await this.assertThere();
    return this.read(at);
  }

  /** The instance of that name, if it is the one that is meant and no later one in its place. */
  async meant(ref: InstanceRef): Promise<FoundInstance> {
    const found = await this.find(ref);
    if (found?.record.uid === ref.uid) return found;
    throw new EngineError('NOT_FOUND', 'The engine has no such instance.');
  }

  async meantSnapshot(ref: SnapshotRef): Promise<FoundInstance & { snapshot: SnapshotFacts }> {
    assertReachable(ref.name, 'snapshot');
    const found = await this.meant(ref.instance);
    const snapshot = await found.folder.snapshot(ref.name);
    if (snapshot !== null) return { ...found, snapshot };
    throw new EngineError('NOT_FOUND', 'The instance has no such snapshot.');
  }

  /** The last wall against names that would lead out of the folder, or at what is hidden in it. */
  folderAt({ project, name }: At): InstanceFolder {
    assertReachable(project, 'project');
    assertReachable(name, 'instance');
    if (project.startsWith('.') || name.startsWith('.'))
      throw new EngineError('NOT_FOUND', 'The engine has no such instance.');
    return new InstanceFolder(join(this.path, project, name));
  }

  /** A folder that is gone (a disk not mounted) must not look like one whose instances were all deleted. */
  async assertThere(): Promise<void> {
    if ((await orNull(stat(this.path))) === null)
      throw new EngineError('UNAVAILABLE', 'The folder of the engine is gone.');
  }

  private async read({ project, name }: At): Promise<FoundInstance | null> {
    const folder = new InstanceFolder(join(this.path, project, name));
    const record = await folder.record();
    return record === null ? null : { key: keyOf({ project, name }), at: { project, name }, folder, record };
  }
}
