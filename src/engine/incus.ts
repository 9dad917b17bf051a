import {
  EngineError,
  type Engine,
  type EngineErrorCode,
  type EngineFacts,
  type Hint,
  type InstanceFacts,
  type SnapshotFacts,
  type SnapshotRef,
  type Started,
} from './engine';
import { IncusClient, type Write } from './incus-client';
import { endpointsOf, type IncusOptions } from './incus-connect';
import { unavailable, unknownOutcome } from './incus-errors';
import { hintsOf, watchEvents } from './incus-events';
import {
  engineFacts,
  instanceFacts,
  list,
  serverFacts,
  snapshotFacts,
  text,
  wire,
  type ServerFacts,
} from './incus-facts';
import { assertNewSnapshotName, assertReachable, isReachable, urlOf } from './incus-names';
import { anotherInstance, Places } from './incus-places';

export type { IncusOptions } from './incus-connect';

/** The zero time means "never": without it the instance's own `snapshots.expiry` would delete what we keep. */
const NEVER = '0001-01-01T00:00:00Z';

/** Prepares the driver; the engine need not be there yet, only the certificate files must. */
export async function connectIncus(options: IncusOptions): Promise<Engine> {
  if (options.projects.length === 0) throw new Error('An Incus engine needs at least one project to look at, or *.');
  const client = new IncusClient(await endpointsOf(options));
  return new IncusEngine(client, new Places(client, options.projects));
}

/** The driver for Incus and LXD: our words → calls to the engine's API. */
class IncusEngine implements Engine {
  private known: ServerFacts | null = null;
  private readonly closing = new AbortController();

  constructor(
    private readonly client: IncusClient,
    private readonly places: Places,
  ) {}

  /** Incus until the engine has said that it is LXD. */
  get kind(): 'incus' | 'lxd' {
    return this.known?.kind ?? 'incus';
  }

  async describe(signal: AbortSignal): Promise<EngineFacts> {
    const server = await this.greet(signal);
    const members = server.clustered ? await this.members(signal) : [];
    return engineFacts(server, members);
  }

  async *instances(signal: AbortSignal): AsyncGenerator<InstanceFacts> {
    const server = await this.greet(signal);
    const stubs: string[] = [];
    for (const scope of await this.places.scopes(signal)) {
      for await (const object of this.client.list(`/1.0/instances?recursion=2&${scope}`, signal)) {
        const facts = instanceFacts(object, server);
        if (facts) yield facts;
        else stubs.push(text(wire(object).name));
      }
    }
    // Whoever takes this list for the truth would believe that these and their snapshots are gone.
    if (stubs.length > 0) {
      const some = stubs.slice(0, 5).join(', ');
      throw unavailable(
        `The list is not complete: the cluster members of ${stubs.length} instances do not answer.`,
        some,
      );
    }
  }

  async findInstance(at: { project: string; name: string }, signal: AbortSignal): Promise<InstanceFacts | null> {
    if (!this.places.sees(at.project) || !isReachable(at.name)) return null;
    const server = this.known ?? (await this.greet(signal));
    const object = await this.client.find(urlOf(at), signal);
    if (object === null) return null;
    // The engine gives sizes in this list only. It is asked second: of a missing instance it would be empty, too.
    const snapshots = await this.client.find(urlOf(at, 'snapshots', '', 'recursion=1'), signal);
    if (snapshots === null) return null;
    const facts = instanceFacts(object, server);
    if (!facts) throw unavailable("The cluster member of this instance does not answer, so its state isn't known.");
    return { ...facts, snapshots: list(snapshots).map(snapshotFacts) };
  }

  async findSnapshot(ref: SnapshotRef, signal: AbortSignal): Promise<SnapshotFacts | null> {
    const { instance, name } = ref;
    if (typeof (await this.places.identify(instance, signal)) === 'string') return null;
    if (isReachable(name)) {
      const object = await this.client.find(urlOf(instance, 'snapshots', name), signal);
      return object === null ? null : snapshotFacts(object);
    }
    const all = await this.client.find(urlOf(instance, 'snapshots', '', 'recursion=1'), signal);
    return (
      list(all)
        .map(snapshotFacts)
        .find((snapshot) => snapshot.name === name) ?? null
    );
  }

  async createSnapshot(
    ref: SnapshotRef,
    options: { stateful: boolean },
    signal: AbortSignal,
    started?: Started,
  ): Promise<void> {
    assertNewSnapshotName(ref.name);
    const instance = await this.places.mustStand(ref.instance, signal);
    // What the engine says first of an instance that is neither set up nor running differs from engine to engine.
    if (options.stateful && instance.status !== 'Running' && instance.status !== 'Ready') {
      throw new EngineError('STATE_INVALID', 'The instance is not running, so its memory cannot be captured.');
    }
    await this.places.mustRest(ref.instance, signal);
    const url = urlOf(ref.instance, 'snapshots', ref.name);
    // The engine finds this out itself, but only while it is at work, and then tidies up beside the existing one.
    if ((await this.client.find(url, signal)) !== null) {
      throw nameTaken();
    }
    const body = { name: ref.name, stateful: options.stateful, expires_at: NEVER };
    await this.client.write(
      { act: 'create', method: 'POST', path: urlOf(ref.instance, 'snapshots'), body },
      signal,
      started,
    );
    const made = await this.client.find(url, signal).catch((error: unknown) => {
      throw unknownOutcome('The snapshot could not be looked at after the engine said that it was made.', error);
    });
    if (made === null) throw unknownOutcome('The engine said that the snapshot was made, and does not have it.');
  }

  async restoreSnapshot(
    ref: SnapshotRef,
    options: { memory: boolean },
    signal: AbortSignal,
    started?: Started,
  ): Promise<void> {
    // An empty name would be taken for a replacement of the instance's whole configuration.
    assertReachable(ref.name, 'snapshot');
    await this.places.mustStand(ref.instance, signal);
    await this.places.mustRest(ref.instance, signal);
    // A restore stops the instance first, so what can be known to fail must not get that far.
    const snapshot = await this.client.find(urlOf(ref.instance, 'snapshots', ref.name), signal);
    if (snapshot === null) throw new EngineError('NOT_FOUND', 'The snapshot is no longer on the engine.');
    if (options.memory && !snapshotFacts(snapshot).stateful) {
      throw new EngineError('REJECTED', 'The snapshot holds no memory, so none can be restored from it.');
    }
    const body = { restore: ref.name, stateful: options.memory };
    await this.client.write({ act: 'restore', method: 'PUT', path: urlOf(ref.instance), body }, signal, started);
  }

  async renameSnapshot(ref: SnapshotRef, newName: string, signal: AbortSignal, started?: Started): Promise<void> {
    assertNewSnapshotName(newName);
    assertReachable(ref.name, 'snapshot');
    await this.places.mustStand(ref.instance, signal);
    await this.places.mustRest(ref.instance, signal);
    const path = urlOf(ref.instance, 'snapshots', ref.name);
    const newUrl = urlOf(ref.instance, 'snapshots', newName);
    if ((await this.client.find(newUrl, signal)) !== null) throw nameTaken();
    const renamed = async (): Promise<boolean> =>
      (await this.client.find(path, signal)) === null && (await this.client.find(newUrl, signal)) !== null;
    try {
      await this.client.write({ act: 'rename', method: 'POST', path, body: { name: newName } }, signal, started);
    } catch (error) {
      // The new name was free before, so what bears it now is what we meant.
      if (!isCode(error, 'OUTCOME_UNKNOWN') || !(await renamed().catch(() => false))) throw error;
    }
  }

  async deleteSnapshot(ref: SnapshotRef, signal: AbortSignal, started?: Started): Promise<void> {
    assertReachable(ref.name, 'snapshot');
    const found = await this.places.identify(ref.instance, signal);
    if (found === 'none') return;
    if (found === 'another') throw anotherInstance();
    await this.places.mustRest(ref.instance, signal);
    const path = urlOf(ref.instance, 'snapshots', ref.name);
    const gone = async (): Promise<boolean> => (await this.client.find(path, signal)) === null;
    if (await gone()) return;
    try {
      await this.client.write({ act: 'delete', method: 'DELETE', path }, signal, started);
    } catch (error) {
      // Two deletes at once fail for one of them, and a lost connection says nothing: what counts is that it is gone.
      if (isCode(error, 'UNAVAILABLE') || !(await gone().catch(() => false))) throw error;
    }
  }

  async outcome(handle: string, signal: AbortSignal): Promise<boolean> {
    const [act = '', operation = ''] = handle.split(' ');
    return this.client.outcome(operation, act as Write['act'], signal);
  }

  atWork(signal: AbortSignal): Promise<Set<string>> {
    return this.places.atWork(signal);
  }

  async watch(onHint: (hint: Hint) => void, signal: AbortSignal): Promise<void> {
    const until = AbortSignal.any([signal, this.closing.signal]);
    // Who the engine is decides how its events are read.
    if (!(await this.greet(until).catch((error: unknown) => unlessAborted(until, error)))) return;
    const on = {
      open: () => onHint(null),
      event: (event: unknown) => hintsOf(event, this.kind).forEach((hint) => onHint(hint)),
    };
    const queries = this.places.queries().map((scope) => `type=operation,lifecycle&${scope}`);
    await watchEvents(this.client.ways(), queries, on, until);
  }

  async close(): Promise<void> {
    this.closing.abort();
    await this.client.close();
  }

  /** What the engine is and can do; asked again at each look, for it may have been upgraded in between. */
  private async greet(signal: AbortSignal): Promise<ServerFacts> {
    const server = serverFacts(await this.client.get('/1.0', signal));
    if (!server.trusted) {
      throw unavailable('The engine does not trust our certificate: add it to the trust store of the engine.');
    }
    this.known = server;
    return server;
  }

  private async members(signal: AbortSignal): Promise<string[]> {
    const urls = await this.client.get('/1.0/cluster/members', signal).catch(() => []);
    return list(urls)
      .map((url) => text(url).replace(/^.*\//, ''))
      .sort();
  }
}

function isCode(error: unknown, code: EngineErrorCode): boolean {
  return error instanceof EngineError && error.code === code;
}

function unlessAborted(signal: AbortSignal, error: unknown): null {
  if (signal.aborted) return null;
  throw error;
}

function nameTaken(): EngineError {
  return new EngineError('NAME_TAKEN', 'The instance has a snapshot of that name already.');
}
