/** Whether the audit log is as it was written: every signature, every place, the chain over them, and the checkpoints. */
import type { DataSource } from 'typeorm';
import { BEGINNING, checkpointText, type AuditKeys, type Judgement, type SignedRow } from './audit-keys';
import { SIGNED_COLUMNS } from './audit-sealer';

/** Few enough that checking a page keeps no request waiting. */
const PAGE = 500;

export enum AuditFault {
  EDITED = 'EDITED',
  REMOVED = 'REMOVED',
  INSERTED = 'INSERTED',
  CHAIN_BROKEN = 'CHAIN_BROKEN',
  CHECKPOINT_EDITED = 'CHECKPOINT_EDITED',
  UNKNOWN_KEY = 'UNKNOWN_KEY',
  UNSIGNED = 'UNSIGNED',
}

/** The first thing that is not as it was written. */
export interface BadEntry {
  fault: AuditFault;
  /** Null of one that is gone, or of a checkpoint. */
  id: string | null;
  /** Its place in the chain; null of one that has none. */
  position: number | null;
}

export interface Checkpoint {
  position: number;
  hash: Buffer;
  createdAt: Date;
  keyId: string;
  signature: Buffer;
}

export interface AuditReport {
  intact: boolean;
  firstBad: BadEntry | null;
  checked: number;
  /** Written by a process without a key. */
  unsigned: number;
  /** Not yet in the chain. */
  unsealed: number;
  checkpoint: Checkpoint | null;
}

/** An entry in its place in the chain. */
export interface SealedRow extends SignedRow {
  position: number;
  hash: Buffer;
}

/** The sealed entries behind a position, in order and page by page: a long log never stands in memory. */
export async function* sealedPages(db: DataSource, after: number, upTo: number | null = null) {
  for (let from = after; ;) {
    const rows = await db.query<SealedRow[]>(SEALED, [from, upTo]);
    if (rows.length > 0) yield rows;
    from = rows.at(-1)?.position ?? from;
    if (rows.length < PAGE) return;
  }
}

/** Reads the whole log once. What is wrong is told of the first entry that is; entries unsigned from the start come last. */
export async function verifyAudit(db: DataSource, keys: AuditKeys | null): Promise<AuditReport> {
  if (!keys) throw new Error('without a key nothing can be verified');
  const [end] = await db.query<{ position: number | null; checkpoint: number | null }[]>(END);
  const upTo = end?.position ?? 0;
  const newest = await checkpoints(db, 'where position = $1', [end?.checkpoint ?? 0]);
  const walk = new Walk(db, keys);
  for await (const rows of sealedPages(db, 0, upTo)) if (!(await walk.on(rows))) break;
  if (!walk.firstBad) await beyond(db, keys, upTo, walk);
  const [left] = await db.query<{ count: number }[]>(UNSEALED_COUNT, [upTo]);
  const bad = walk.firstBad ?? walk.firstUnsigned ?? null;
  return {
    intact: bad === null,
    firstBad: bad,
    checked: walk.checked,
    unsigned: walk.unsigned,
    unsealed: left?.count ?? 0,
    checkpoint: newest[0] ?? null,
  };
}

class Walk {
  firstBad: BadEntry | undefined;
  firstUnsigned: BadEntry | undefined;
  checked = 0;
  unsigned = 0;
  private position = 0;
  private hash: Buffer = BEGINNING;

  constructor(
    private readonly db: DataSource,
    private readonly keys: AuditKeys,
  ) {}

  /** False when something is wrong, so that the rest says nothing. */
  async on(rows: SealedRow[]): Promise<boolean> {
    const points = await this.pointsAmong(rows);
    for (const row of rows) {
      if (row.position !== this.position + 1) {
        return this.found({ fault: AuditFault.REMOVED, id: null, position: this.position + 1 });
      }
      const judgement = this.keys.judgeRow(row);
      const link = this.keys.link(this.hash, row);
      if (judgement !== 'GOOD') this.count(row, judgement);
      if (judgement === 'WRONG' || judgement === 'UNKNOWN' || !link.equals(row.hash)) {
        return this.found({ fault: await this.diagnose(row, judgement, link), id: row.id, position: row.position });
      }
      this.position = row.position;
      this.hash = link;
      this.checked += 1;
      const point = points.get(row.position);
      const fault = point && this.judgePoint(point, row);
      if (fault) return this.found(fault);
    }
    return true;
  }

  /** Of an entry that is in no chain yet. */
  unsealed(row: SignedRow): boolean {
    const judgement = this.keys.judgeRow(row);
    if (judgement === 'WRONG') return this.found({ fault: AuditFault.INSERTED, id: row.id, position: null });
    if (judgement !== 'GOOD') this.count(row, judgement);
    if (judgement === 'UNKNOWN') return this.found({ fault: AuditFault.UNKNOWN_KEY, id: row.id, position: null });
    this.checked += 1;
    return true;
  }

  found(bad: BadEntry): false {
    this.firstBad ??= bad;
    return false;
  }

  private count(row: SignedRow & { position?: number }, judgement: Judgement): void {
    if (judgement !== 'UNSIGNED') return;
    this.unsigned += 1;
    this.firstUnsigned ??= { fault: AuditFault.UNSIGNED, id: row.id, position: row.position ?? null };
  }

  /** What happened is told by what the next entry was chained to. */
  private async diagnose(row: SealedRow, judgement: Judgement, link: Buffer): Promise<AuditFault> {
    // Without its key nobody can tell what it was chained to.
    if (judgement === 'UNKNOWN') return AuditFault.UNKNOWN_KEY;
    const [next] = await this.db.query<SealedRow[]>(SEALED, [row.position, row.position + 1]);
    const nextFollows = (hash: Buffer) => next !== undefined && this.keys.link(hash, next).equals(next.hash);
    if (judgement === 'GOOD') {
      // Its own words are good, so it stood behind another entry, unless only its hash was changed.
      return nextFollows(row.hash) ? AuditFault.REMOVED : AuditFault.CHAIN_BROKEN;
    }
    // The sealer seals nothing of which the signature is wrong, and nothing later is chained to what was not there.
    if (nextFollows(this.hash) || link.equals(row.hash)) return AuditFault.INSERTED;
    const isLast =
      next === undefined && (await checkpoints(this.db, 'where position >= $1', [row.position])).length === 0;
    return isLast ? AuditFault.INSERTED : AuditFault.EDITED;
  }

  private async pointsAmong(rows: SealedRow[]): Promise<Map<number, Checkpoint>> {
    const range = [rows[0]?.position ?? 0, rows.at(-1)?.position ?? 0];
    const points = await checkpoints(this.db, 'where position between $1 and $2', range);
    return new Map(points.map((point) => [point.position, point]));
  }

  private judgePoint(point: Checkpoint, row: SealedRow): BadEntry | null {
    const fault = faultOf(this.keys, point);
    if (fault) return { fault, id: null, position: point.position };
    // Every entry is good by itself, and together they are others than those that were signed.
    return point.hash.equals(row.hash) ? null : { fault: AuditFault.REMOVED, id: null, position: point.position };
  }
}

/** What lies behind the chain's end: checkpoints of entries that are not there, and entries that wait for their place. */
async function beyond(db: DataSource, keys: AuditKeys, upTo: number, walk: Walk): Promise<void> {
  const points = await checkpoints(db, 'where position > $1 order by position limit 1', [upTo]);
  // Sealed since this began.
  const [end] = await db.query<{ position: number | null }[]>(END);
  const [point] = points.filter(({ position }) => position > (end?.position ?? 0));
  if (point) walk.found({ fault: faultOf(keys, point) ?? AuditFault.REMOVED, id: null, position: upTo + 1 });
  let last: SignedRow | undefined;
  do {
    const rows: SignedRow[] = await db.query(UNSEALED, [last?.createdAt ?? '-infinity', last?.id ?? NO_ID]);
    for (const row of rows) if (!walk.unsealed(row)) return;
    last = rows.length === PAGE ? rows.at(-1) : undefined;
  } while (last);
}

function faultOf(keys: AuditKeys, point: Checkpoint): AuditFault | null {
  const judgement = keys.judge(point.keyId, checkpointText(point), point.signature);
  if (judgement === 'GOOD') return null;
  return judgement === 'UNKNOWN' ? AuditFault.UNKNOWN_KEY : AuditFault.CHECKPOINT_EDITED;
}

function checkpoints(db: DataSource, which: string, values: number[]): Promise<Checkpoint[]> {
  return db.query<Checkpoint[]>(
    `select position::float8 as position, hash, created_at as "createdAt", key_id as "keyId", signature
     from audit_checkpoints ${which}`,
    values,
  );
}

const NO_ID = '00000000-0000-0000-0000-000000000000';

const END = `
select (select max(position) from audit_events)::float8 as position,
  (select max(position) from audit_checkpoints)::float8 as checkpoint`;

const SEALED = `
select ${SIGNED_COLUMNS}, position::float8 as position, hash from audit_events
where position > $1 and position <= coalesce($2::bigint, position) order by position limit ${PAGE}`;

const UNSEALED = `
select ${SIGNED_COLUMNS} from audit_events
where position is null and (created_at, id) > ($1::timestamptz, $2::uuid) order by created_at, id limit ${PAGE}`;

const UNSEALED_COUNT = 'select count(*)::int as count from audit_events where position is null or position > $1';
