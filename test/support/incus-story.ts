/** The real engine under the whole program: what stories change on it directly, and how they leave it as it was. */
import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { TestClient } from './app';
import type { At, InstanceStatus } from './engine-contract';
import { incusFromEnvironment, IncusRaw } from './incus-raw';
import { until } from './until';

export interface IncusWay {
  title: string;
  /** The program's variables for it. */
  env: Record<string, string>;
  open: () => IncusRaw;
}

/** The program's variables for what a test's environment names. */
function waysTo({ socket, tls }: ReturnType<typeof incusFromEnvironment>): IncusWay[] {
  const ways: IncusWay[] = [];
  if (socket) ways.push({ title: 'its socket', env: { INCUS_SOCKET: socket }, open: () => new IncusRaw({ socket }) });
  if (tls) {
    const env = {
      INCUS_URL: tls.urls.join(','),
      INCUS_CLIENT_CERT: tls.clientCert,
      INCUS_CLIENT_KEY: tls.clientKey,
      INCUS_SERVER_CERT: tls.serverCert,
    };
    ways.push({ title: 'TLS', env, open: () => new IncusRaw(tls) });
  }
  return ways;
}

/** The ways to Incus that the environment names; none means that its stories are skipped. */
export const incusWays = waysTo(incusFromEnvironment());
/** The ways to LXD, by variables that begin with LXD_ instead. */
export const lxdWays = waysTo(incusFromEnvironment('LXD'));
/** The way to a cluster of Incus, by variables that begin with INCUS_CLUSTER_. */
export const clusterWays = waysTo(incusFromEnvironment('INCUS_CLUSTER'));

/** A word that no other run uses, for the names of this one. */
export const uniqueWord = (): string => `${Date.now().toString(36)}${randomBytes(2).toString('hex')}`;

/** Where an instance of the default project stands. */
export const at = (name: string): At => ({ project: 'default', name });

/** Makes stopped copies of an instance, without its snapshots. */
export async function copyInstance(raw: IncusRaw, from: string, ...names: string[]): Promise<void> {
  for (const name of names) {
    const source = { type: 'copy', source: from, instance_only: true, container_only: true };
    await raw.call('POST', '/1.0/instances?project=default', { name, source });
  }
}

export async function removeInstances(raw: IncusRaw, ...names: string[]): Promise<void> {
  for (const name of names) await raw.call('DELETE', raw.url(at(name))).catch(() => undefined);
}

/** The names of an instance's snapshots on the engine, with the times at which the engine would delete them. */
export async function engineSnapshots(raw: IncusRaw, of: At): Promise<{ name: string; expires_at: string }[]> {
  const { metadata } = await raw.call('GET', raw.url(of, '/snapshots', 'recursion=1'));
  const list = metadata as unknown as { name: string; expires_at: string }[];
  return list.map(({ name, expires_at }) => ({ name: name.replace(/^.*\//, ''), expires_at }));
}

/** Deletes what a run has left on an instance. */
export async function removeSnapshots(raw: IncusRaw, of: At, having: string): Promise<void> {
  for (const { name } of await engineSnapshots(raw, of)) {
    if (name.includes(having)) await raw.call('DELETE', raw.url(of, `/snapshots/${name}`));
  }
}

/** Starts or stops an instance on the engine directly. */
export async function power(raw: IncusRaw, of: At, action: 'start' | 'stop'): Promise<void> {
  await raw.call('PUT', raw.url(of, '/state'), { action, force: true, timeout: 30 });
}

/** What the instance's own process writes, once it is as wanted. */
export function statusWhen(
  raw: IncusRaw,
  of: At,
  fits: (status: InstanceStatus) => boolean,
  what: string,
): Promise<InstanceStatus> {
  return until(
    async () => {
      const status = await raw.status(of).catch(() => null);
      return status && fits(status) ? status : null;
    },
    30_000,
    what,
  );
}

/** The testbed's switch that makes steps of CRIU fail or wait; null where the testbed does not say where it is. */
export function criu(): { set: (file: 'fail' | 'delay', text: string) => Promise<() => Promise<void>> } | null {
  const { INCUS_PID_FILE } = process.env;
  if (!INCUS_PID_FILE) return null;
  return {
    set: async (file, text) => {
      const path = join(dirname(INCUS_PID_FILE), `criu.${file}`);
      await writeFile(path, text);
      return () => rm(path, { force: true });
    },
  };
}

/** An instance as the API shows it, once it does and is as wanted. */
export function shown(client: TestClient, name: string, fits: (instance: any) => unknown = () => true): Promise<any> {
  return until(
    async () => {
      const { instance } = await client.query(INSTANCE, { name });
      return instance && fits(instance) ? instance : null;
    },
    15_000,
    `${name} to be shown as wanted`,
  );
}

const INSTANCE = `query ($name: String!) { instance(name: $name) {
  id name status location observedAt statefulSnapshotSupport { supported reasons }
  configuration { description entries { key value } devices { name } }
  snapshots(first: 100, orderBy: { field: NAME, direction: ASC }) { totalCount nodes {
    id name status origin stateful createdAt version viewerPermissions {
      restore { allowed reason } delete { allowed reason } rename { allowed reason } } } } } }`;
