import { randomBytes } from 'node:crypto';
import {
  EngineError,
  type Engine,
  type EngineErrorCode,
  type InstanceFacts,
  type SnapshotFacts,
  type SnapshotRef,
} from '../../src/engine/engine';
import { until } from './until';

/** Where an instance stands. */
export interface At {
  project: string;
  name: string;
}

/** What `/srv/status` of an instance says: written once a second by the process inside it. */
export interface InstanceStatus {
  boot: string;
  mem: number;
  disk: number;
}

/** One engine with three known instances, and the ways past our interface that a test needs to tell what was done. */
export interface EngineUnderTest {
  engine: Engine;
  /** Running, and its memory can be kept in a snapshot. */
  running: At;
  stopped: At;
  /** Running, but not set up for stateful snapshots. */
  plain: At;
  /** Parses `/srv/status` of the instance; may throw while the instance is starting. */
  status(at: At): Promise<InstanceStatus>;
  write(at: At, path: string, text: string): Promise<void>;
  read(at: At, path: string): Promise<string | null>;
  /** Changes a configuration key on the engine directly; an empty value removes it. */
  configure(at: At, key: string, value: string): Promise<void>;
  /** Makes a stateless snapshot behind our back. */
  makeSnapshotDirectly(at: At, name: string): Promise<void>;
  close(): Promise<void>;
}

/** What the contract changes on an instance, and takes back. */
export const NOTE = '/srv/contract-note';
export const KEY = 'user.contract';

/** Every snapshot of one run carries this, so that runs on one engine do not meet and each clears up its own. */
export const RUN = `ct-${Date.now().toString(36)}${randomBytes(2).toString('hex')}`;

/** A total deadline, as every call of ours carries one. */
export const deadline = (ms = 60_000): AbortSignal => AbortSignal.timeout(ms);

/** The code of the EngineError that a call ends with; anything else fails the test with what came instead. */
export async function codeOf(call: Promise<unknown>): Promise<EngineErrorCode> {
  const outcome = await call.then(
    () => 'no error',
    (error: unknown) => error,
  );
  if (outcome instanceof EngineError) return outcome.code;
  throw new Error(`expected an EngineError, got: ${String(outcome)}`);
}

/** Our interface with the looking up of ids and the clearing up that each test would otherwise repeat. */
export class Bench {
  readonly engine: Engine;
  private count = 0;

  constructor(readonly on: EngineUnderTest) {
    this.engine = on.engine;
  }

  /** A snapshot name of this run that was not used before. */
  name(what = 'snap'): string {
    this.count += 1;
    return `${RUN}-${what}-${this.count}`;
  }

  async find(at: At): Promise<InstanceFacts> {
    const facts = await this.engine.findInstance(at, deadline());
    if (facts === null) throw new Error(`${at.project}/${at.name} is not on the engine`);
    return facts;
  }

  async ref(at: At, name: string): Promise<SnapshotRef> {
    return { instance: { ...at, uid: (await this.find(at)).uid }, name };
  }

  async create(at: At, options = { stateful: false }, name = this.name()): Promise<SnapshotRef> {
    const ref = await this.ref(at, name);
    await this.engine.createSnapshot(ref, options, deadline());
    return ref;
  }

  async restore(ref: SnapshotRef, memory = false): Promise<void> {
    await this.engine.restoreSnapshot(ref, { memory }, deadline());
  }

  snapshot(ref: SnapshotRef): Promise<SnapshotFacts | null> {
    return this.engine.findSnapshot(ref, deadline());
  }

  /** The names of this run's snapshots of an instance. */
  async names(at: At): Promise<string[]> {
    return (await this.find(at)).snapshots.map(({ name }) => name).filter((name) => name.startsWith(RUN));
  }

  /** The first status for which the question is answered with yes; an instance that is starting has none yet. */
  status(at: At, fits: (status: InstanceStatus) => boolean, what: string): Promise<InstanceStatus> {
    const look = async (): Promise<InstanceStatus | null> => {
      const status = await this.on.status(at).catch(() => null);
      return status !== null && fits(status) ? status : null;
    };
    return until(look, 20_000, what);
  }

  now(at: At): Promise<InstanceStatus> {
    return this.status(at, () => true, 'a status');
  }

  async clear(): Promise<void> {
    for (const at of [this.on.running, this.on.plain, this.on.stopped]) {
      for (const name of await this.names(at)) {
        await this.engine.deleteSnapshot(await this.ref(at, name), deadline());
      }
    }
  }
}
