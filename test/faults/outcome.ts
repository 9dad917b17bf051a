/** What the program says came of the wishes, read from its database. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Wish } from './wishes';
import type { Place } from './world/ground';
import type { World } from './world/world';

export interface OperationRow {
  id: string;
  key: string;
  status: string;
  error: { code: string; message: string; remediation: string } | null;
  attempts: number;
  input: { handle?: string | null };
  items: { snapshotName: string; status: string; error: { code: string } | null }[];
  steps: { name: string; status: string; startedAt: string; finishedAt: string | null }[];
  created_at: Date;
  started_at: Date | null;
  finished_at: Date | null;
}

export interface SnapshotRow {
  name: string;
  status: string;
  origin: string;
  stateful: boolean;
  error: { code: string; message: string } | null;
}

const OPERATIONS = `select id, idempotency_key as key, status, error, attempts, input, items, steps, created_at, started_at, finished_at
from operations where idempotency_key = any($1)`;

/** Reads in spite of a database that comes and goes. */
export async function read<T>(world: World, sql: string, values: unknown[]): Promise<T[]> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    try {
      return (await world.db.query(sql, values)).rows as T[];
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await sleep(200);
  }
}

/** The operations of accepted wishes by key, once all have ended or the time is over. */
export async function settled(world: World, wishes: Wish[], withinMs: number): Promise<Map<string, OperationRow[]>> {
  const keys = wishes.filter(({ operation }) => operation !== null).map(({ key }) => key);
  const deadline = Date.now() + withinMs;
  for (;;) {
    const rows = await read<OperationRow>(world, OPERATIONS, [keys]);
    if ((rows.length >= keys.length && rows.every((row) => row.finished_at !== null)) || Date.now() > deadline) {
      return new Map(keys.map((key) => [key, rows.filter((row) => row.key === key)]));
    }
    await sleep(50);
  }
}

/** The rows of an instance's snapshots that the engine should have. */
export function snapshotsOf(world: World, place: Place): Promise<SnapshotRow[]> {
  return read<SnapshotRow>(
    world,
    `select s.name, s.status, s.origin, s.stateful, s.error from snapshots s join instances i on i.id = s.instance_id
     where i.name = $1 and s.status <> 'MISSING' order by s.name`,
    [place.name],
  );
}
