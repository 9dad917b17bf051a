/** What the rows of an instance's snapshots must become, given what the engine shows. Pure: no database, no engine. */
import { v7 as uuidv7 } from 'uuid';
import type { SnapshotFacts } from '../engine/engine';
import { SnapshotStatus } from '../entities/enums';
import type { Snapshot } from '../entities/snapshot';

export interface SnapshotChanges {
  /** Rows whose snapshot is no longer there. */
  missing: string[];
  /** Rows that were seen, under the name they bear now. */
  seen: { id: string; instanceId: string; name: string; createdAt: Date; sizeBytes: number | null }[];
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
}

type Row = Pick<Snapshot, 'id' | 'instanceId' | 'name' | 'createdAt' | 'stateful' | 'status' | 'error' | 'observedAt'>;

/** `rows` are those of all the instances together. */
export function compareSnapshots(
  instances: { instanceId: string; seen: SnapshotFacts[] }[],
  rows: readonly Row[],
): SnapshotChanges {
  const changes: SnapshotChanges = { missing: [], seen: [], renamed: [], found: [] };
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
      changes.seen.push({
        id: row.id,
        instanceId,
        name: facts.name,
        createdAt: facts.createdAt,
        sizeBytes: facts.sizeBytes ?? null,
      });
      if (row.name !== facts.name) changes.renamed.push(row.id);
    }
    return row !== undefined;
  };
  // The same copy has the same time: under its name, or renamed. What was never seen is known by its name alone.
  const rest = (left: SnapshotFacts[], fits: (row: Row, facts: SnapshotFacts) => boolean) =>
    left.filter((facts) => !match(facts, (row) => row.stateful === facts.stateful && fits(row, facts)));
  const others = rest(seen, (row, facts) => row.name === facts.name && isKnownCopy(row, facts));
  const unseen = rest(others, (row, facts) => row.name === facts.name && isUnseen(row));
  const news = rest(unseen, isKnownCopy);
  for (const { name, createdAt, stateful, sizeBytes = null } of news) {
    changes.found.push({ id: uuidv7(), instanceId, name, createdAt, stateful, sizeBytes });
  }
  for (const row of unmatched) {
    if (row.status !== SnapshotStatus.MISSING) changes.missing.push(row.id);
  }
}

function isKnownCopy(row: Row, facts: SnapshotFacts): boolean {
  return row.observedAt !== null && row.createdAt.getTime() === facts.createdAt.getTime();
}

/** Its time is still that of its acceptance. A MISSING one gave its name up, but for a suspect one that comes late. */
function isUnseen(row: Row): boolean {
  return row.observedAt === null && (row.status !== SnapshotStatus.MISSING || row.error !== null);
}
