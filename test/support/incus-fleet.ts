/** A fake engine with as many instances as asked for, whose snapshots can be made and deleted, each in so much time. */
import { randomUUID } from 'node:crypto';
import { WebSocketServer } from 'ws';
import { FakeEngine, hello, instance, sync, type Route } from './incus-fake';

export interface Fleet {
  fake: FakeEngine;
  /** What was asked to be made, as `instance/snapshot`, in that order: what was made twice is there twice. */
  made: string[];
  close: () => Promise<void>;
}

interface Machine {
  facts: Record<string, unknown>;
  snapshots: Map<string, Record<string, unknown>>;
}

type Act = (machine: Machine, name: string) => void;

/** Opens it with the instances `i-0`, `i-1`, and so on; an act takes `paceMs`. */
export async function openFleet(count: number, paceMs: number): Promise<Fleet> {
  const fake = await new FakeEngine().open();
  const events = new WebSocketServer({ server: fake.server }); // open, and silent
  const made: string[] = [];
  const running = new Map<string, Promise<unknown>>();
  const machines = new Map<string, Machine>();
  for (let index = 0; index < count; index += 1) {
    const facts = instance({ name: `i-${index}` }, { 'volatile.uuid': `uuid-${index}` });
    machines.set(`i-${index}`, { facts, snapshots: new Map() });
  }

  const begin = (act: Act, machine: Machine, name: string): Route => {
    const operation = randomUUID();
    const end = new Promise((resolve) => setTimeout(resolve, paceMs)).then(() => act(machine, name));
    running.set(operation, end);
    return sync(202, { type: 'async', operation: `/1.0/operations/${operation}`, metadata: {} });
  };
  const make: Act = ({ snapshots }, name) =>
    snapshots.set(name, { name, stateful: false, size: 1, created_at: new Date().toISOString() });
  const remove: Act = ({ snapshots }, name) => snapshots.delete(name);
  const give = (metadata: unknown): Route => sync(200, { type: 'sync', metadata });
  const none = sync(404, { type: 'error', error_code: 404, error: 'not found' });
  const whole = ({ facts, snapshots }: Machine) => ({ ...facts, snapshots: [...snapshots.values()] });

  /** What concerns one instance: `/i-1`, `/i-1/snapshots`, `/i-1/snapshots/one`. */
  const ofOne: Route = (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://fake');
    const [name = '', below, snapshot] = pathname.split('/').slice(3).map(decodeURIComponent);
    const machine = machines.get(name);
    const found = snapshot === undefined ? null : machine?.snapshots.get(snapshot);
    if (!machine || found === undefined) none(request, response);
    else if (request.method === 'POST') {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        const wanted = (JSON.parse(Buffer.concat(parts).toString()) as { name: string }).name;
        made.push(`${name}/${wanted}`);
        begin(make, machine, wanted)(request, response);
      });
    } else if (request.method === 'DELETE') begin(remove, machine, snapshot ?? '')(request, response);
    else give(found ?? (below ? [...machine.snapshots.values()] : whole(machine)))(request, response);
  };
  const wait: Route = (request, response) => {
    const end = running.get(request.url?.split('/')[3] ?? '');
    if (!end) none(request, response);
    void end?.then(() => give({ status: 'Success', err: '' })(request, response));
  };

  fake
    .on(/^GET \/1\.0$/, give(hello('incus')))
    .on(/^GET \/1\.0\/projects\/default/, give({ name: 'default', config: {} }))
    .on(/^GET \/1\.0\/operations\?/, give({}))
    .on(/^GET \/1\.0\/operations\/[\w-]+/, wait)
    .on(/^\w+ \/1\.0\/instances\//, ofOne)
    .on(/^GET \/1\.0\/instances\?/, (request, response) => give([...machines.values()].map(whole))(request, response));
  const close = async () => {
    events.close();
    await fake.close();
  };
  return { fake, made, close };
}
