/**
 * The change log as one reader sees it: event after event in one order, each with its place. The order is that of the
 * transactions' numbers, not of their commits. So nobody reads beyond the oldest transaction that is still open: what it
 * commits will stand before what is there already.
 */
import type { DataSource } from 'typeorm';
import type { Actor } from '../auth/actor';
import { toEntity } from '../db/rows';
import { Event } from '../entities/event';
import { RequestError } from '../errors';
import { isTime, notOfThisList, opaque, partsOf } from './page';
import { Params } from './params';
import { visibleEvent } from './visibility';

/** How long a cursor is good. */
const HOURS_KEPT = 24;
/** Rows stay longer, because a transaction may commit long after it wrote them. */
const HOURS_UNTIL_FORGOTTEN = HOURS_KEPT + 1;
/** What one chore looks at, beginning with the oldest. */
const FORGOTTEN_AT_ONCE = 10_000;

/**
 * How far a reader has come: at an event, which may be one that was not for them. Never at a number without an event: after
 * a crash, Postgres gives numbers again of which nothing had reached the disk.
 */
export interface Place {
  xact: string;
  seq: string;
  /** The database's time there. */
  at: Date;
  /** Which database this was: a restored backup is another one. */
  life: string;
}

export interface Reading {
  /** The next event that the reader may see; null when there is none. */
  event: Event | null;
  /** Where the reader is then: at the event, or at the end of what can be read. */
  place: Place;
  /** Whether there is more beyond the end, which waits for an older transaction. */
  more: boolean;
}

interface Row extends Event {
  /** The last event that has been considered; null when there is none after the place. */
  endXact: string | null;
  endSeq: string | null;
  life: string;
  now: Date;
  good: boolean;
  more: boolean;
}

/**
 * What follows a place (after null: nothing), as far as the actor may see it at this moment. It is one event and not a page
 * of them, because each is judged when it is told. Throws CURSOR_EXPIRED when something may be missing between the two.
 */
export async function readOn(db: DataSource, actor: Actor, after: Place | null): Promise<Reading> {
  const { sql, values } = readingStatement(actor, after);
  const [row] = await db.query<Row[]>(sql, values);
  if (!row) throw new Error('the log has no end');
  const { endXact, endSeq, life, now, good, more, ...event } = row;
  if (!good) throw expired();
  if ((event.xact as string | null) !== null) {
    const { xact, seq, occurredAt: at } = event;
    return { event: toEntity(Event, event), place: { xact, seq, at, life }, more };
  }
  const { xact, seq } = after ?? BEGINNING;
  return { event: null, place: { xact: endXact ?? xact, seq: endSeq ?? seq, at: now, life }, more };
}

/** Opaque to clients; cursors of lists begin with another word. */
export function writePlace({ xact, seq, at, life }: Place): string {
  return opaque([KIND, xact, seq, at.toISOString(), life]);
}

/** Throws BAD_USER_INPUT for what is no cursor of events. */
export function readPlace(cursor: string): Place {
  const [kind, xact, seq, at, life, ...rest] = partsOf(cursor);
  if (kind !== KIND || !isNumber(xact) || !isNumber(seq) || rest.length > 0) throw notOfThisList();
  if (typeof at !== 'string' || !isTime(at) || typeof life !== 'string' || life.includes('\0')) throw notOfThisList();
  return { xact, seq, at: new Date(at), life };
}

/**
 * Deletes what no good cursor leads to: what is past its time, and what a dump brought here from a database whose
 * transactions have higher numbers.
 */
export async function forgetOldEvents(db: DataSource): Promise<void> {
  await db.query(FORGET_OLD);
  await db.query(FORGET_FUTURE);
}

const KIND = 'Event';

/** Before everything, for a log that is empty. */
const BEGINNING = { xact: '0', seq: '0' };

const isNumber = (part: unknown): part is string => typeof part === 'string' && /^\d{1,18}$/.test(part);

function expired(): RequestError {
  const message =
    'Events since this cursor may be missing: it is more than a day old, or the database is another one. ' +
    'Subscribe without `after`, then read the state anew.';
  return new RequestError('CURSOR_EXPIRED', message);
}

/**
 * The horizon is the oldest open transaction's number: all below have ended. The table's id is there for a dump that was
 * restored into the same database, the timeline for a backup that was rolled forward, the system's for one restored elsewhere.
 */
const LOG = `
  select pg_snapshot_xmin(pg_current_snapshot())::text::bigint as horizon,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint as beyond,
    concat_ws('/', (select system_identifier from pg_control_system()),
      left(pg_walfile_name(pg_current_wal_lsn()), 8),
      (select oid from pg_database where datname = current_database()), 'events'::regclass::oid) as life`;

function readingStatement(actor: Actor, after: Place | null) {
  const params = new Params();
  const { xact: x, seq: s } = after ?? BEGINNING;
  const [xact, seq] = [`${params.add(x)}::bigint`, `${params.add(s)}::bigint`];
  const readable = `(e.xact, e.seq) > (${xact}, ${seq}) and e.xact < log.horizon`;
  const visible = after ? visibleEvent(actor, 'e', params) : 'false';
  let good = 'true';
  if (after) {
    good = `log.life = ${params.add(after.life)} and ${xact} <= log.beyond
      and ${params.add(after.at)}::timestamptz > now() - interval '${HOURS_KEPT} hours'`;
  }
  const sql = `
    with log as materialized (${LOG})
    select log.life, now() as now, final.xact as "endXact", final.seq as "endSeq", ${good} as good,
      exists (select from events e where e.xact >= log.horizon and e.xact < log.beyond) as more,
      e.xact, e.seq, e.occurred_at as "occurredAt", e.node_type as "nodeType", e.node_id as "nodeId",
      e.instance_id as "instanceId", e.user_id as "userId", e.change
    from log
    left join lateral (select * from events e where ${readable} and ${visible} order by e.xact, e.seq limit 1) e on true
    left join lateral (select e.xact, e.seq from events e where ${readable} order by e.xact desc, e.seq desc limit 1) final on true`;
  return { sql, values: params.values };
}

/** The oldest are those of the lowest numbers, so no other index is needed to find them. */
const FORGET_OLD = `
  delete from events e using (select xact, seq, occurred_at from events order by xact, seq limit ${FORGOTTEN_AT_ONCE}) old
  where (e.xact, e.seq) = (old.xact, old.seq)
    and old.occurred_at < now() - interval '${HOURS_UNTIL_FORGOTTEN} hours'`;

const FORGET_FUTURE = `
  delete from events e using (${LOG}) log where e.xact >= log.beyond`;
