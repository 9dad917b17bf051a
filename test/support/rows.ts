/** Rows that a test puts into the database itself: many of them, or a state that takes an accident to come about. */
import { v7 as uuidv7 } from 'uuid';
import { parseGlobalId, toGlobalId, type NodeType } from '../../src/resolvers/global-id';
import type { TestApp } from './app';

/** The row's UUID inside an id of the API. */
export function uuidOf(globalId: string): string {
  const parsed = parseGlobalId(globalId);
  if (!parsed) throw new Error(`${globalId} is no id of ours`);
  return parsed.id;
}

/** An id that is well-formed and names nothing. */
export const missingId = (type: NodeType): string => toGlobalId(type, uuidv7());

/** An instance that only the database knows. It was seen tomorrow, so no look at the engine finds it gone. */
export async function buildInstance({ db }: TestApp, columns: object = {}): Promise<string> {
  const id = uuidv7();
  const [engine] = await db.query<{ id: string }[]>('select id from engines');
  await insert(db, 'instances', {
    id,
    engine_id: engine?.id,
    uid: id,
    name: `built-${id}`,
    project: 'default',
    type: 'CONTAINER',
    status: 'STOPPED',
    created_at: new Date(),
    configuration: JSON.stringify({ description: '', profiles: [], entries: [], devices: [] }),
    stateful_obstacles: '{}',
    observed_at: new Date(Date.now() + 86_400_000),
    ...columns,
  });
  return toGlobalId('Instance', id);
}

/** A snapshot that only the database knows, of an instance that only the database knows. */
export async function buildSnapshot({ db }: TestApp, instance: string, columns: object = {}): Promise<string> {
  const id = uuidv7();
  await insert(db, 'snapshots', {
    id,
    instance_id: uuidOf(instance),
    name: `built-${id}`,
    created_at: new Date(),
    stateful: false,
    status: 'AVAILABLE',
    origin: 'MANUAL',
    ...columns,
  });
  return toGlobalId('Snapshot', id);
}

/** An operation that no worker takes up: it is one of tomorrow, so that nobody wonders what became of its job. */
export async function buildOperation({ db }: TestApp, instance: string, columns: object = {}): Promise<string> {
  const id = uuidv7();
  const tomorrow = new Date(Date.now() + 86_400_000);
  await insert(db, 'operations', {
    id,
    kind: 'SNAPSHOT_CREATE',
    status: 'QUEUED',
    instance_id: uuidOf(instance),
    correlation_id: id,
    created_at: tomorrow,
    ...columns,
  });
  return toGlobalId('Operation', id);
}

/** Keeps an instance busy with an operation that no worker takes up, until the returned function is called. */
export async function hold({ db }: TestApp, instance: string): Promise<{ id: string; release: () => Promise<void> }> {
  const id = uuidv7();
  await insert(db, 'operations', {
    id,
    kind: 'SNAPSHOT_CREATE',
    status: 'QUEUED',
    instance_id: uuidOf(instance),
    correlation_id: id,
    created_at: new Date(),
  });
  return {
    id: toGlobalId('Operation', id),
    release: async () => {
      await db.query('delete from operations where id = $1', [id]);
    },
  };
}

async function insert(db: TestApp['db'], table: string, row: object): Promise<void> {
  const columns = Object.keys(row);
  const places = columns.map((_, index) => `$${index + 1}`);
  await db.query(`insert into ${table} (${columns.join(', ')}) values (${places.join(', ')})`, Object.values(row));
}
