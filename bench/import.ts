// Importing many instances: the real program as a process of its own, a fake engine that serves the list.
// `node -r @swc-node/register bench/import.ts [INSTANCES]`, after `npm run build`.
import 'reflect-metadata';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { WebSocketServer } from 'ws';
import { onPostgres } from './support';

const COUNT = Number(process.argv[2] ?? 10_000);
const SNAPSHOTS = 3;

/** As large as what a real engine says of a container with a few profiles. */
function instance(index: number): object {
  const config = {
    'image.description': 'Debian bookworm amd64', 'image.os': 'Debian', 'limits.cpu': '2', 'limits.memory': '2GiB',
    'volatile.uuid': `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`,
    ...Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`user.key-${i}`, `a value of some length, number ${i}`])),
  }; // prettier-ignore
  const devices = {
    root: { path: '/', pool: 'default', type: 'disk' },
    eth0: { name: 'eth0', network: 'br0', type: 'nic' },
  };
  const common = {
    architecture: 'x86_64',
    config,
    devices,
    expanded_config: config,
    expanded_devices: devices,
    ephemeral: false,
    profiles: ['default'],
  };
  const snapshots = Array.from({ length: SNAPSHOTS }, (_, i) => ({
    ...common, name: `snap-${i}`, created_at: '2026-01-01T00:00:00.123456789Z', expires_at: '0001-01-01T00:00:00Z',
    last_used_at: '0001-01-01T00:00:00Z', stateful: false, size: -1,
  })); // prettier-ignore
  return {
    ...common, name: `i-${index}`, project: 'default', status: 'Running', status_code: 103, type: 'container', location: 'none',
    description: '', created_at: '2026-01-01T00:00:00Z', last_used_at: '2026-01-01T00:00:00Z', stateful: false, snapshots,
    state: { status: 'Running', cpu: { usage: 1 }, memory: { usage: 1 }, network: {}, disk: {} }, backups: null,
  }; // prettier-ignore
}

const NOT_FOUND = { type: 'error', error_code: 404, error: 'not found' };

async function serveInstances(response: ServerResponse): Promise<void> {
  response.write('{"type":"sync","status":"Success","status_code":200,"metadata":[');
  for (let index = 0; index < COUNT; index += 1) {
    if (!response.write(`${index ? ',' : ''}${JSON.stringify(instance(index))}`)) await once(response, 'drain');
  }
  response.end(']}');
}

async function main(): Promise<void> {
  await onPostgres(async ({ folder, postgres, env }) => {
    const socket = join(folder, 'fake.socket');
    const fake = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? '/', 'http://fake');
      if (pathname === '/1.0/instances') {
        void serveInstances(response);
        return;
      }
      const metadata = {
        auth: 'trusted',
        api_extensions: ['instance_all_projects'],
        environment: { server: 'incus', server_version: '6.0.4', server_name: 'fake' },
      };
      const project = { name: 'default', config: {} };
      const known: Partial<Record<string, object>> = { '/1.0': metadata, '/1.0/projects/default': project };
      const found = known[pathname];
      response.end(JSON.stringify(found ? { type: 'sync', status_code: 200, metadata: found } : NOT_FOUND));
    }).listen(socket);
    const events = new WebSocketServer({ server: fake }); // open, and silent
    await once(fake, 'listening');
    const started = Date.now();
    const child = spawn(process.execPath, ['dist/main.js'], {
      env: { ...process.env, ...env, INCUS_SOCKET: socket },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    const client = new Client({ connectionString: postgres.url });
    await client.connect();
    let count = 0;
    while (count < COUNT && Date.now() - started < 120_000) {
      await sleep(100);
      const { rows } = await client.query<{ instances: number; snapshots: number }>(
        `select (select count(*)::int from instances) as instances, (select count(*)::int from snapshots) as snapshots`,
      ).catch(() => ({ rows: [] })); // prettier-ignore
      count = rows[0]?.snapshots === COUNT * SNAPSHOTS ? rows[0].instances : 0;
    }
    const seconds = (Date.now() - started) / 1000;
    await sleep(2000);
    const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1];
    console.log(
      `import: ${COUNT} instances with ${COUNT * SNAPSHOTS} snapshots in ${seconds.toFixed(1)} s from the start of the process, peak memory ${Math.round(Number(peak) / 1024)} MB`,
    );
    child.kill('SIGTERM');
    await once(child, 'exit');
    await client.end();
    events.close();
    fake.close();
    fake.closeAllConnections();
  });
}

void main();
