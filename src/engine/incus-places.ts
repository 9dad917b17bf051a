import { ANYWHERE, EngineError, type InstanceRef } from './engine';
import type { IncusClient } from './incus-client';
import { placesAtWork } from './incus-events';
import { instanceUid, list, text, wire, type Wire } from './incus-facts';
import { assertReachable, scopeOf, urlOf } from './incus-names';

const ALL_PROJECTS = 'all-projects=true';

/** The projects that we are to look at, what stands in them, and whether the engine is at work there. */
export class Places {
  constructor(
    private readonly client: IncusClient,
    private readonly projects: string[] | '*',
  ) {}

  /** Queries that together list everything, also where it is not known what there is. */
  queries(): string[] {
    return this.projects === '*' ? [ALL_PROJECTS] : this.projects.map(scopeOf);
  }

  /** One query per list of instances. A project that is not there lists as empty, which must not be believed. */
  async scopes(signal: AbortSignal): Promise<string[]> {
    for (const project of this.projects === '*' ? [] : this.projects) {
      if ((await this.client.find(`/1.0/projects/${encodeURIComponent(project)}`, signal)) === null) {
        throw new EngineError('NOT_FOUND', `The project ${JSON.stringify(project)} is not on the engine.`);
      }
    }
    return this.queries();
  }

  private async names(signal: AbortSignal): Promise<string[]> {
    if (this.projects !== '*') return this.projects;
    return list(await this.client.get('/1.0/projects?recursion=1', signal)).map((project) => text(wire(project).name));
  }

  private async atWorkIn(project: string, signal: AbortSignal): Promise<string[]> {
    const byStatus = wire(await this.client.find(`/1.0/operations?recursion=1&${scopeOf(project)}`, signal));
    return placesAtWork(Object.values(byStatus).flatMap(list), project);
  }

  sees(project: string): boolean {
    return this.projects === '*' || this.projects.includes(project);
  }

  /** Names are given anew on an engine, so what stands there may be another instance than the one meant. */
  async identify(ref: InstanceRef, signal: AbortSignal): Promise<Wire | 'another' | 'none'> {
    assertReachable(ref.name, 'instance');
    const object = this.sees(ref.project) ? await this.client.find(urlOf(ref), signal) : null;
    if (object === null) return 'none';
    return instanceUid(wire(object)) === ref.uid ? wire(object) : 'another';
  }

  async mustStand(ref: InstanceRef, signal: AbortSignal): Promise<Wire> {
    const found = await this.identify(ref, signal);
    if (found === 'another') throw anotherInstance();
    if (found === 'none') throw new EngineError('NOT_FOUND', 'The instance is no longer on the engine.');
    return found;
  }

  /**
   * The engine does not keep two writers of one instance apart: both may succeed and destroy each other's data. What is
   * at work may be somebody else's, or what a process of ours began that is dead by now.
   */
  async mustRest(ref: InstanceRef, signal: AbortSignal): Promise<void> {
    const places = await this.atWorkIn(ref.project, signal);
    if (!places.includes(`${ref.project}/${ref.name}`) && !places.includes(ANYWHERE)) return;
    throw new EngineError('BUSY', 'The engine is busy with another operation on this instance.');
  }

  /** The instances, as `project/name`, on whose snapshots the engine is at work. */
  async atWork(signal: AbortSignal): Promise<Set<string>> {
    const places: string[] = [];
    for (const project of await this.names(signal)) places.push(...(await this.atWorkIn(project, signal)));
    return new Set(places);
  }
}

/** Names are given anew on an engine. */
export function anotherInstance(): EngineError {
  return new EngineError('NOT_FOUND', 'The instance is no longer on the engine: another one bears its name now.');
}
