/**
 * What we ask of an engine, in our words. Two drivers speak it: `incus` (Incus and LXD) and `local` (a folder).
 * Only a worker process holds one. Every call resolves when the effect is done, or throws an EngineError; the signal
 * carries a total deadline. Nothing here knows our database.
 */

export type EngineKind = 'incus' | 'lxd' | 'local';

/** One instance, by where it stands and who it is: a driver acts only when the instance found there has this uid. */
export interface InstanceRef {
  project: string;
  name: string;
  /** The engine's own unique id (`volatile.uuid`); where the engine has none, `project/name`. */
  uid: string;
}

/** Instead of a place: the engine is at work on snapshots, and does not tell of which instances. */
export const ANYWHERE = '*';

export interface SnapshotRef {
  instance: InstanceRef;
  name: string;
}

export interface EngineFacts {
  kind: EngineKind;
  /** The engine's own name (Incus: the server's or the cluster's), for people. */
  name: string;
  version: string;
  /** Another one after each start of its daemon; null where that cannot be told, as of a cluster. */
  run: string | null;
  /** What it can do, in our words; never a comparison of versions. */
  capabilities: EngineCapability[];
}

export type EngineCapability = 'SNAPSHOTS' | 'STATEFUL_SNAPSHOTS' | 'EVENTS' | 'GENERATION_ID' | 'CLUSTER' | 'PROJECTS';

export type InstanceFactsStatus = 'CREATING' | 'RUNNING' | 'STOPPED' | 'STOPPING' | 'RESTARTING' | 'ERROR' | 'DELETING';

export interface InstanceFacts {
  uid: string;
  project: string;
  name: string;
  /** The cluster member it lives on; null on a single machine. */
  location: string | null;
  type: 'CONTAINER' | 'VIRTUAL_MACHINE';
  status: InstanceFactsStatus;
  createdAt: Date;
  description: string;
  /** Configuration and devices as the engine expands them from profiles, without volatile and secret keys. */
  configuration: {
    config: Record<string, string>;
    devices: Record<string, Record<string, string>>;
    profiles: string[];
  };
  /** Whether a stateful snapshot could be taken of it while it runs; the reasons when it could not. */
  statefulSupport: { supported: boolean; reasons: string[] };
  /** Changes when the disk part of a restore is complete (`volatile.uuid.generation`); null where there is none. */
  generation: string | null;
  snapshots: SnapshotFacts[];
}

export interface SnapshotFacts {
  name: string;
  /** Milliseconds: finer engine times are cut, not rounded. */
  createdAt: Date;
  stateful: boolean;
  /** Bytes; null when the engine does not know, undefined when this look did not ask (sizes are dear to list). */
  sizeBytes?: number | null;
}

/** Something may have changed: at this instance, or anywhere when null. Never more than a reason to look. */
export type Hint = { project: string; name: string } | null;

/** Told what the engine calls the work that it has taken on, by which `outcome` finds it again. Not every engine has one. */
export type Started = (handle: string) => void;

export interface Engine {
  readonly kind: EngineKind;
  describe(signal: AbortSignal): Promise<EngineFacts>;
  /** Every instance of the configured projects with its snapshots (without sizes), one by one: memory stays bounded. */
  instances(signal: AbortSignal): AsyncIterable<InstanceFacts>;
  /** One instance with its snapshots and their sizes; null when there is none of that name. */
  findInstance(at: { project: string; name: string }, signal: AbortSignal): Promise<InstanceFacts | null>;
  /** One snapshot with its size; null when the instance or the snapshot is gone. */
  findSnapshot(ref: SnapshotRef, signal: AbortSignal): Promise<SnapshotFacts | null>;
  /** NAME_TAKEN when there is one already. It never expires by the engine's doing. */
  createSnapshot(
    ref: SnapshotRef,
    options: { stateful: boolean },
    signal: AbortSignal,
    started?: Started,
  ): Promise<void>;
  /** `memory` only of a stateful snapshot. A failure is not a no-op: look at the instance afterwards. */
  restoreSnapshot(
    ref: SnapshotRef,
    options: { memory: boolean },
    signal: AbortSignal,
    started?: Started,
  ): Promise<void>;
  renameSnapshot(ref: SnapshotRef, newName: string, signal: AbortSignal, started?: Started): Promise<void>;
  /** Deleting what is gone succeeds. */
  deleteSnapshot(ref: SnapshotRef, signal: AbortSignal, started?: Started): Promise<void>;
  /**
   * Waits for what was started under this handle: true when it succeeded, false when the engine knows nothing of it (any
   * more); throws how it failed.
   */
  outcome(handle: string, signal: AbortSignal): Promise<boolean>;
  /** The instances, as `project/name` or ANYWHERE, on which the engine itself is at work, whoever asked it to. */
  atWork(signal: AbortSignal): Promise<Set<string>>;
  /** Calls `onHint` for each change until the signal aborts (resolves) or the stream is lost (rejects UNAVAILABLE). */
  watch(onHint: (hint: Hint) => void, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/**
 * UNAVAILABLE: it did not answer, and nothing was started; may be tried again. OUTCOME_UNKNOWN: something was started
 * and nobody can say how it ended; look before anything else. The rest is the engine's considered answer.
 */
export type EngineErrorCode =
  | 'UNAVAILABLE'
  | 'OUTCOME_UNKNOWN'
  | 'NOT_FOUND'
  | 'NAME_TAKEN'
  | 'BUSY'
  | 'STATE_INVALID'
  | 'STATEFUL_NOT_SUPPORTED'
  | 'STORAGE_FULL'
  | 'REJECTED';

export class EngineError extends Error {
  /** `message` is short and fit for every reader; `detail` is the engine's own text, for the log only. */
  constructor(
    readonly code: EngineErrorCode,
    message: string,
    readonly detail?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'EngineError';
  }
}
