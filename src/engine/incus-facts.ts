import type { EngineCapability, EngineFacts, InstanceFacts, InstanceFactsStatus, SnapshotFacts } from './engine';

/** What `GET /1.0` says, as far as it matters to us. */
export interface ServerFacts {
  kind: 'incus' | 'lxd';
  trusted: boolean;
  name: string;
  version: string;
  clustered: boolean;
  /** The daemon's process; in a cluster that of whichever member answered. */
  pid: string;
  extensions: ReadonlySet<string>;
  /** Whether virtual machines can run there. */
  machines: boolean;
}

/** An object of the wire with anything in it: only what is needed is read, and never trusted to be there. */
export type Wire = Record<string, unknown>;

/** The value as an object, empty when it is none. */
export function wire(value: unknown): Wire {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Wire) : {};
}

/** The value as a list, empty when it is none. */
export function list(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** The value as text, empty when it is none; without null characters, which engines let pass and no database keeps. */
export function text(value: unknown): string {
  return typeof value === 'string' ? value.replaceAll('\0', '\uFFFD') : '';
}

/** Reads `GET /1.0`. */
export function serverFacts(metadata: unknown): ServerFacts {
  const server = wire(metadata);
  const environment = wire(server.environment);
  return {
    kind: environment.server === 'lxd' ? 'lxd' : 'incus',
    trusted: server.auth === 'trusted',
    name: text(environment.server_name),
    version: text(environment.server_version),
    clustered: environment.server_clustered === true,
    pid: typeof environment.server_pid === 'number' ? String(environment.server_pid) : '',
    extensions: new Set(list(server.api_extensions).map(text)),
    machines: text(environment.driver).includes('qemu'),
  };
}

/** The engine in our words; what it can do is read from its extensions, never from its version. */
export function engineFacts(server: ServerFacts, members: string[]): EngineFacts {
  const has = (extension: string): boolean => server.extensions.has(extension);
  const can: [EngineCapability, boolean][] = [
    ['SNAPSHOTS', true],
    ['STATEFUL_SNAPSHOTS', has('container_migration_stateful') || (server.machines && has('migration_stateful'))],
    ['EVENTS', has('event_lifecycle')],
    ['GENERATION_ID', server.kind === 'incus' && has('instance_generation_id')],
    ['CLUSTER', server.clustered],
    ['PROJECTS', has('projects')],
  ];
  const name = members.length > 0 ? `cluster of ${members.join(', ')}` : server.name;
  return {
    kind: server.kind,
    name,
    version: server.version,
    run: server.clustered || server.pid === '' ? null : server.pid,
    capabilities: can.filter(([, is]) => is).map(([c]) => c),
  };
}

const STATUS: Record<string, InstanceFactsStatus> = {
  started: 'RUNNING',
  running: 'RUNNING',
  ready: 'RUNNING',
  thawed: 'RUNNING',
  // A frozen instance holds its memory and its place: to stop or restore it means the same as for a running one. Only
  // its memory cannot be captured, which statefulSupport says.
  freezing: 'RUNNING',
  frozen: 'RUNNING',
  stopped: 'STOPPED',
  stopping: 'STOPPING',
  aborting: 'STOPPING',
  pending: 'RESTARTING',
  starting: 'RESTARTING',
};

/**
 * One instance in our words, without its snapshots' sizes. Null when the wire object is only a stub, which is what a
 * cluster lists for an instance on a member that does not answer: it has no configuration, so nobody can say which
 * instance it is or which snapshots it has.
 */
export function instanceFacts(value: unknown, server: ServerFacts): InstanceFacts | null {
  const object = wire(value);
  const name = text(object.name);
  const uid = instanceUid(object);
  if (name === '' || uid === null) return null;
  const expanded = Object.keys(wire(object.expanded_config)).length > 0 ? object.expanded_config : object.config;
  const location = text(object.location);
  return {
    uid,
    project: projectOf(object),
    name,
    location: location === '' || location === 'none' ? null : location,
    type: object.type === 'virtual-machine' ? 'VIRTUAL_MACHINE' : 'CONTAINER',
    status: STATUS[text(object.status).toLowerCase()] ?? 'ERROR',
    createdAt: time(object.created_at),
    description: text(object.description),
    configuration: {
      config: disclosable(expanded),
      devices: Object.fromEntries(Object.entries(wire(object.expanded_devices)).map(([k, d]) => [k, disclosable(d)])),
      profiles: list(object.profiles).map(text),
    },
    statefulSupport: statefulSupport(object, server),
    generation: generationOf(object),
    snapshots: list(object.snapshots).map((snapshot) => {
      const { name, createdAt, stateful } = snapshotFacts(snapshot);
      return { name, createdAt, stateful };
    }),
  };
}

/** Who the instance is: its own unique id, or where it stands when it has none; null when the object is a stub. */
export function instanceUid(object: Wire): string | null {
  if (Object.keys(wire(object.config)).length === 0 && Object.keys(wire(object.expanded_config)).length === 0) {
    return null;
  }
  // The instance's own configuration, not the expanded one: a profile must not be able to name instances.
  const uuid = text(wire(object.config)['volatile.uuid']);
  return uuid === '' ? `${projectOf(object)}/${text(object.name)}` : uuid;
}

function generationOf(object: Wire): string | null {
  return text(wire(object.config)['volatile.uuid.generation']) || null;
}

function projectOf(object: Wire): string {
  return text(object.project) || 'default';
}

/** One snapshot in our words, with its size. */
export function snapshotFacts(value: unknown): SnapshotFacts {
  const object = wire(value);
  const size = object.size;
  return {
    // Snapshots are named "instance/snapshot" in some answers of older engines.
    name: text(object.name).replace(/^.*\//, ''),
    createdAt: time(object.created_at),
    stateful: object.stateful === true,
    sizeBytes: typeof size === 'number' && size >= 0 ? size : null,
  };
}

/** Engine times have nanoseconds, which are cut; "never" and "unset" (year 1 or 1970) become the epoch. */
export function time(value: unknown): Date {
  const at = Date.parse(text(value).replace(/(\.\d{3})\d+/, '$1'));
  return new Date(Number.isNaN(at) || at < 0 ? 0 : at);
}

/**
 * What may be shown of a configuration. Taken out: `volatile.*` (the engine's own notes), and what often carries
 * secrets, because who may see an instance here need not be who may log in to it: first-boot scripts, environment
 * variables, raw settings (free text that may hold both), and whatever names itself a secret.
 */
function disclosable(config: unknown): Record<string, string> {
  const hidden =
    /^(?:volatile|environment|cloud-init|raw)\.|^user\.(?:user-data|vendor-data|meta-data|network-config)/i;
  const secret = /passw|secret|token|credential|private|api[-_.]?key|ssh[-_.]?key|(?:^|[-_.])(?:key|auth)$/i;
  return Object.fromEntries(
    Object.entries(wire(config))
      .filter(([key]) => !hidden.test(key) && !secret.test(key))
      .map(([key, value]) => [key, text(value)]),
  );
}

function statefulSupport(object: Wire, server: ServerFacts): InstanceFacts['statefulSupport'] {
  const config = { ...wire(object.config), ...wire(object.expanded_config) };
  const isOn = (key: string): boolean => ['true', '1', 'yes', 'on'].includes(text(config[key]).toLowerCase());
  const machine = object.type === 'virtual-machine';
  const reasons: string[] = [];
  if (!machine && !server.extensions.has('container_migration_stateful')) {
    return { supported: false, reasons: ["This engine cannot restore a container's memory."] };
  }
  if (!isOn('migration.stateful')) {
    reasons.push('Set migration.stateful to true on the instance to allow snapshots of its memory.');
  }
  if (!machine && !isOn('security.privileged')) {
    // Measured: capturing the memory of an unprivileged container succeeds, and restoring it always fails.
    reasons.push('Make the container privileged (security.privileged): no engine restores the memory of another.');
  }
  if (/^fr(?:eez|oz)/i.test(text(object.status))) {
    reasons.push('The instance is frozen: resume it first, for its memory cannot be captured like this.');
  }
  return { supported: reasons.length === 0, reasons };
}
