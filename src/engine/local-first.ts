/** Part of the `local` engine, which can be taken away (see local.ts): what a new instance is like. */
import { randomUUID } from 'node:crypto';
import type { InstanceRecord } from './local-folder';

/** What a new instance of the `local` engine is to be. */
export interface NewInstance {
  description?: string;
  config?: Record<string, string>;
  running?: boolean;
  /** Sets `migration.stateful`. */
  stateful?: boolean;
}

/** The record of a new instance. */
export function firstRecord({
  description = '',
  config = {},
  running = false,
  stateful = false,
}: NewInstance): InstanceRecord {
  return {
    uid: randomUUID(),
    createdAt: new Date(),
    description,
    config: stateful ? { ...config, 'migration.stateful': 'true' } : config,
    devices: { root: { path: '/', pool: 'default', type: 'disk' } },
    profiles: ['default'],
    generation: randomUUID(),
    power: running ? 'running' : 'stopped',
  };
}

/** The program of an instance starts only with a sound etc/app.json, so that breaking it shows. */
export const firstFiles = (name: string): Record<string, string> => ({
  'etc/app.json': `${JSON.stringify({ name, port: 8080, greeting: `Hello from ${name}` }, null, 2)}\n`,
  'etc/motd': `Welcome to ${name}.\n`,
  'srv/data/orders.csv': 'id,item,amount\n1,keyboard,2\n2,monitor,1\n',
});
