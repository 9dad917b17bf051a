/** What the rows of an instance's snapshots must become, given what the engine shows. Pure: no database, no engine. */
import { v7 as uuidv7 } from 'uuid';
import type { SnapshotFacts } from '../engine/engine';
import { SnapshotStatus } from '../entities/enums';
import type { Snapshot } from '../entities/snapshot';

export interface SnapshotChanges {
  /** Rows whose snapshot is no longer there. */
  missing: string[];
  /** Rows that were seen, under the name they bear now. */
  seen: { id: string; name: string; sizeBytes: number | null }[];
  /** Those of them that bore another name before. */
  renamed: string[];
  /** Snapshots that no row is about. */
  found: {
    id: string;
    instanceId: string;
    name: string;
    createdAt: Date;
    stateful: boolean;
    sizeBytes: number | null;
  }[];
  /** Instances of which anything but the time of the look changes. */
  touched: Set<string>;
}

type Row = Pick<Snapshot, 'id' | 'instanceId' | 'name' | 'createdAt' | 'stateful' | 'status' | 'error' | 'sizeBytes'>;

/** `rows` are those of all the instances together. */
export function compareSnapshots(
  instances: { instanceId: string; seen: SnapshotFacts[] }[],
  rows: readonly Row[],
): SnapshotChanges {
  const changes: SnapshotChanges = { missing: [], seen: [], renamed: [], found: [], touched: new Set() };
  const byInstance = new Map<string, Row[]>();
  for (const row of rows) byInstance.set(row.instanceId, [...(byInstance.get(row.instanceId) ?? []), row]);
  for (const { instanceId, seen } of instances) compareOne(instanceId, seen, byInstance.get(instanceId) ?? [], changes);
  return changes;
}

function compareOne(instanceId: string, seen: SnapshotFacts[], rows: Row[], changes: SnapshotChanges): void {
  const unmatched = new Set(rows);
  const match = (facts: SnapshotFacts, fits: (row: Row) => boolean) => {
    const row = [...unmatched].find(fits);
    if (row) {
      unmatched.delete(row);
      changes.seen.push({ id: row.id, name: facts.name, sizeBytes: facts.sizeBytes ?? null });
      if (row.name !== facts.name) changes.renamed.push(row.id);
      const news = row.name !== facts.name || row.status === SnapshotStatus.MISSING;
      if (news || (facts.sizeBytes ?? row.sizeBytes) !== row.sizeBytes) changes.touched.add(instanceId);
    }
    return row !== undefined;
  };
  // First those that bear their name, then those that were renamed: what is the same copy has the same time.
  const renamed = seen.filter((facts) => !match(facts, (row) => row.name === facts.name && isCopy(row, facts)));
  const news = renamed.filter((facts) => !match(facts, (row) => sameTime(row, facts) && isCopy(row, facts)));
  for (const { name, createdAt, stateful, sizeBytes = null } of news) {
    changes.found.push({ id: uuidv7(), instanceId, name, createdAt, stateful, sizeBytes });
    changes.touched.add(instanceId);
  }
  for (const row of unmatched) {
    if (row.status === SnapshotStatus.MISSING) continue;
    changes.missing.push(row.id);
    changes.touched.add(instanceId);
  }
}

/** A suspect row never learned the engine's time for it: its name is all there is to go by. */
function isCopy(row: Row, facts: SnapshotFacts): boolean {
  return row.stateful === facts.stateful && (row.error !== null || sameTime(row, facts));
}

function sameTime(row: Row, facts: SnapshotFacts): boolean {
  return row.createdAt.getTime() === facts.createdAt.getTime();
}
