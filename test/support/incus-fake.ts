import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Engine } from '../../src/engine/engine';
import { connectIncus } from '../../src/engine/incus';

const OPERATION = '/1.0/operations/0b1c2d3e-0000-4000-8000-000000000001';

/** What `GET /1.0` answers. */
export function hello(server: 'incus' | 'lxd'): Record<string, unknown> {
  const api_extensions = ['projects', 'event_lifecycle', 'migration_stateful', 'instance_generation_id'];
  if (server === 'incus') api_extensions.push('container_migration_stateful');
  const environment = { server, server_name: 'here', server_version: '6.0.4', driver: 'lxc', server_clustered: false };
  return { auth: 'trusted', api_extensions, environment };
}

/** One instance as the engine's lists have it. */
export function instance(
  more: Record<string, unknown> = {},
  config: Record<string, string> = {},
): Record<string, unknown> {
  const own = { 'volatile.uuid': 'uuid-1', 'volatile.uuid.generation': 'gen-1', ...config };
  const when = { created_at: '2026-11-22T15:16:55.888999967Z' };
  const rest = { type: 'container', location: 'none', project: 'default', description: '', profiles: ['default'] };
  return {
    name: 'web-1',
    status: 'Running',
    config: own,
    expanded_config: own,
    snapshots: null,
    ...when,
    ...rest,
    ...more,
  };
}

export type Route = (request: IncomingMessage, response: ServerResponse) => void;

/** A tiny engine on a Unix socket that answers as a test wants it to, and notes what it was asked. */
export class FakeEngine {
  readonly asked: string[] = [];
  readonly routes: [RegExp, Route][] = [];
  readonly server: Server = createServer((request, response) => {
    const call = `${request.method ?? ''} ${request.url ?? ''}`;
    this.asked.push(call);
    const route = this.routes.find(([pattern]) => pattern.test(call))?.[1];
    if (route) route(request, response);
    else sync(404, { type: 'error', error_code: 404, error: 'not found' })(request, response);
  });
  readonly folder = mkdtempSync(join(tmpdir(), 'wire-'));
  readonly socket = join(this.folder, 'engine:1.socket');
  private driver: Engine | undefined;

  get engine(): Engine {
    if (this.driver === undefined) throw new Error('the fake engine is not open');
    return this.driver;
  }

  async open(kind: 'incus' | 'lxd' = 'incus'): Promise<this> {
    await this.listen();
    this.on(/^GET \/1\.0$/, sync(200, { metadata: hello(kind) }));
    this.on(/^GET \/1\.0\/instances\/web-1\?/, sync(200, { metadata: instance() }));
    this.driver = await connectIncus({ socket: this.socket, projects: ['default'] });
    return this;
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.server.listen(this.socket, resolve));
  }

  /** Later routes go before earlier ones. */
  on(call: RegExp, route: Route): this {
    this.routes.unshift([call, route]);
    return this;
  }

  async close(): Promise<void> {
    await this.engine.close();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** An answer at once. */
export function sync(status: number, body: unknown): Route {
  return (_, response) => void response.writeHead(status).end(JSON.stringify(body));
}

/** One answer after the other; the last one stays. */
export function inTurn(...routes: Route[]): Route {
  return (request, response) => (routes.length > 1 ? routes.shift() : routes[0])?.(request, response);
}

/** The answer to a write. */
export const started = sync(202, { type: 'async', operation: OPERATION, metadata: {} });
/** What a wait or a look says of the operation. */
export const op = (status: string, err = ''): Route => sync(200, { type: 'sync', metadata: { status, err } });
/** Incus reports a failed operation and a wait whose time is over in the same way. */
export const waitLies = (error: string): Route => sync(200, { type: 'error', error_code: 500, error, metadata: null });
/** The operation is forgotten. */
export const notFound = sync(404, { type: 'error', error_code: 404, error: 'Operation not found' });
/** The connection breaks instead of an answer. */
export const hangUp: Route = (request) => void request.socket.destroy();
