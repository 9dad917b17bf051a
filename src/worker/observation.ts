/**
 * What an engine showed, written to the rows. An instance with work under way, or work that ended after the look began, is
 * left alone: its facts may be older than what the worker knows. Nothing is ever deleted on the engine's word alone.
 */
import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { columnsOf, queryEntities } from '../db/rows';
import { ANYWHERE, type InstanceFacts } from '../engine/engine';
import { OperationErrorCode, SnapshotStatus } from '../entities/enums';
import { Instance, type InstanceConfiguration } from '../entities/instance';
import type { OperationError } from '../entities/operation';
import { Snapshot } from '../entities/snapshot';
import { compareSnapshots, type SnapshotChanges } from './snapshot-diff';

export interface Look {
  engineId: string;
  /** The database's time when the engine was asked. */
  at: Date;
  /** The instances, as `project/name` or ANYWHERE, on which the engine was at work after it had shown them. */
  atWork: ReadonlySet<string>;
  /** The engine's daemon went down since the look before, and nobody saw what it was at. */
  restarted: boolean;
}

/** Brings rows in step with these instances; gives those to be looked at again, because somebody was at work on them. */
export async function recordLook(tx: EntityManager, look: Look, seen: InstanceFacts[]): Promise<InstanceFacts[]> {
  const known = await queryEntities(
    tx,
    Instance,
    `select ${columnsOf(tx, Instance, 'i')} from instances i where engine_id = $1 and uid = any($2) order by id for update`,
    [look.engineId, seen.map(({ uid }) => uid)],
  );
  const byUid = new Map(known.map((instance) => [instance.uid, instance]));
  const busy = new Set(
    (await tx.query<{ id: string }[]>(BUSY, [known.map(({ id }) => id), look.at])).map(({ id }) => id),
  );
  // Somebody has looked since: what this look says of them is old.
  for (const { id, observedAt } of known) if (observedAt > look.at) busy.add(id);
  // They were seen, so they are not absent, whatever else is true of them.
  await tx.query('update instances set observed_at = $2 where id = any($1) and observed_at < $2', [[...busy], look.at]);
  const free = seen.filter(({ uid }) => !busy.has(byUid.get(uid)?.id ?? ''));
  const instances = free.map((facts) => toInstance(facts, look, byUid.get(facts.uid)?.id));
  await tx.query(UPSERT, [JSON.stringify(instances), false]);
  const changes = compareSnapshots(
    free.map((facts, index) => ({ instanceId: instances[index]?.id ?? '', seen: facts.snapshots })),
    await snapshotsOf(
      tx,
      instances.map(({ id }) => id),
    ),
  );
  const found = new Map(free.map((facts, index) => [instances[index]?.id ?? '', foundAs(facts, look)]));
  await writeSnapshots(tx, changes, look, found);
  // Where nobody knows who is at work, those are looked at again that show something of it.
  const taken = await tx.query<{ uid: string }[]>(TAKEN_BY_OTHERS, [instances.map(({ id }) => id)]);
  const open = new Set(taken.map(({ uid }) => uid));
  return seen.filter(
    (facts) =>
      busy.has(byUid.get(facts.uid)?.id ?? '') ||
      look.atWork.has(placeOf(facts)) ||
      (look.atWork.has(ANYWHERE) && open.has(facts.uid)),
  );
}

const placeOf = ({ project, name }: InstanceFacts) => `${project}/${name}`;

/**
 * What to think of a snapshot that somebody else is taking or took. Engines list it before it is whole, and also when it
 * never became whole because they went down over it.
 */
function foundAs(facts: InstanceFacts, { atWork, restarted }: Look) {
  if (atWork.has(placeOf(facts)) || atWork.has(ANYWHERE)) return { status: SnapshotStatus.CREATING, error: null };
  return restarted
    ? { status: SnapshotStatus.ERROR, error: cutOff() }
    : { status: SnapshotStatus.AVAILABLE, error: null };
}

const cutOff = (): OperationError => ({
  code: OperationErrorCode.OUTCOME_UNKNOWN,
  message:
    'The engine went down about when this was taken outside of here: it may be incomplete, so it cannot be restored.',
  retryable: false,
  remediation: 'Delete it, and take another.',
  correlationId: uuidv7(),
});

const outOfSight = (): OperationError => ({
  ...cutOff(),
  message:
    'It was out of sight while it was being taken outside of here: it may be incomplete, so it cannot be restored.',
});

/** The instance as a worker sees it at the end of its work: status and configuration may be others than before. */
export async function recordInstance(tx: EntityManager, instance: Instance, facts: InstanceFacts): Promise<void> {
  const at = await databaseTime(tx);
  const row = toInstance(facts, { engineId: instance.engineId, at }, instance.id);
  // Newer than whatever an observer saw of it meanwhile, who only noted that it is there.
  await tx.query(UPSERT, [JSON.stringify([row]), true]);
}

/** After a whole look: what it did not show is no longer on the engine. Its rows stay, and say so. */
export async function recordAbsences(tx: EntityManager, look: Pick<Look, 'engineId' | 'at'>): Promise<void> {
  await tx.query(ABSENT, [look.engineId, look.at, JSON.stringify(outOfSight())]);
}

/** All times that are compared are the database's: processes may live on machines whose clocks differ. */
export async function databaseTime(tx: DataSource | EntityManager): Promise<Date> {
  const [row] = await tx.query<{ now: Date }[]>('select now()');
  if (!row) throw new Error('the database has no time');
  return row.now;
}

function toInstance(facts: InstanceFacts, look: Pick<Look, 'engineId' | 'at'>, id = uuidv7()) {
  const { uid, name, project, location, type, status, createdAt, generation } = facts;
  return {
    id,
    engineId: look.engineId,
    uid,
    name,
    project,
    location,
    type,
    status,
    createdAt,
    configuration: toConfiguration(facts),
    statefulObstacles: facts.statefulSupport.supported ? [] : facts.statefulSupport.reasons,
    generation,
    observedAt: look.at,
  };
}

function toConfiguration({ description, configuration }: InstanceFacts): InstanceConfiguration {
  const entries = (values: Record<string, string>) =>
    Object.entries(values)
      .map(([key, value]) => ({ key, value }))
      .sort((a, b) => (a.key < b.key ? -1 : 1));
  const devices = Object.entries(configuration.devices)
    .map(([name, properties]) => ({ name, properties: entries(properties) }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return { description, profiles: configuration.profiles, entries: entries(configuration.config), devices };
}

async function snapshotsOf(tx: EntityManager, instanceIds: string[]): Promise<Snapshot[]> {
  const sql = `select ${columnsOf(tx, Snapshot, 's')} from snapshots s where instance_id = any($1) order by id for update`;
  return queryEntities(tx, Snapshot, sql, [instanceIds]);
}

async function writeSnapshots(
  tx: EntityManager,
  changes: SnapshotChanges,
  { at }: Look,
  foundAs: Map<string, { status: SnapshotStatus; error: OperationError | null }>,
): Promise<void> {
  const judged = (those: { instanceId: string }[]) =>
    JSON.stringify(those.map((each) => ({ ...each, ...foundAs.get(each.instanceId) })));
  // Names are given up before they are taken again: the unique index holds for each row by itself, and leaves MISSING out.
  if (changes.missing.length > 0) await tx.query(MISSING, [changes.missing, JSON.stringify(outOfSight())]);
  if (changes.renamed.length > 0) await tx.query(GIVE_UP_NAME, [changes.renamed]);
  if (changes.seen.length > 0) await tx.query(SEEN, [judged(changes.seen), at]);
  if (changes.found.length > 0) await tx.query(FOUND, [judged(changes.found), at]);
}

const BUSY = `
select distinct instance_id as id from operations
where instance_id = any($1) and (status in ('QUEUED', 'RUNNING') or finished_at >= $2)`;

const UPSERT = `
insert into instances (id, engine_id, uid, name, project, location, type, status, created_at, configuration,
  stateful_obstacles, generation, observed_at)
select r.id, r."engineId", r.uid, r.name, r.project, r.location, r.type, r.status, r."createdAt", r.configuration,
  r."statefulObstacles", r.generation, r."observedAt"
from jsonb_to_recordset($1) r(id uuid, "engineId" uuid, uid text, name text, project text, location text, type text,
  status text, "createdAt" timestamptz, configuration jsonb, "statefulObstacles" text[], generation text, "observedAt" timestamptz)
on conflict (engine_id, uid) do update set
  name = excluded.name, project = excluded.project, location = excluded.location, status = excluded.status,
  configuration = excluded.configuration, stateful_obstacles = excluded.stateful_obstacles,
  generation = excluded.generation, observed_at = greatest(instances.observed_at, excluded.observed_at)
where $2 or instances.observed_at <= excluded.observed_at`;

const TAKEN_BY_OTHERS = `
select distinct i.uid from instances i join snapshots s on s.instance_id = i.id
where i.id = any($1) and s.status = 'CREATING'`;

/** What nobody saw made whole is suspect should it come back. */
const GOES_MISSING = (error: string) =>
  `status = 'MISSING', error = case status when 'CREATING' then ${error}::jsonb else error end`;

const GIVE_UP_NAME = `update snapshots set status = 'MISSING' where id = any($1)`;

const MISSING = `update snapshots set ${GOES_MISSING('$2')} where id = any($1)`;

/**
 * A MISSING one that is back is again what it was: good, or suspect when it carries an error. One that somebody else was
 * taking is judged when nobody is at it any more.
 */
const SEEN = `
update snapshots s set name = r.name, created_at = r."createdAt", size_bytes = coalesce(r."sizeBytes", s.size_bytes), observed_at = $2,
  status = case when s.status = 'CREATING' and s.origin = 'EXTERNAL' then r.status when s.status <> 'MISSING' then s.status
    when s.error is null then 'AVAILABLE' else 'ERROR' end,
  error = case when s.status = 'CREATING' and s.origin = 'EXTERNAL' then r.error else s.error end
from jsonb_to_recordset($1) r(id uuid, name text, "createdAt" timestamptz, "sizeBytes" bigint, status text, error jsonb)
where s.id = r.id`;

const FOUND = `
insert into snapshots (id, instance_id, name, created_at, stateful, size_bytes, status, error, origin, observed_at)
select r.id, r."instanceId", r.name, r."createdAt", r.stateful, r."sizeBytes", r.status, r.error, 'EXTERNAL', $2
from jsonb_to_recordset($1) r(id uuid, "instanceId" uuid, name text, "createdAt" timestamptz, stateful boolean,
  "sizeBytes" bigint, status text, error jsonb)
on conflict (instance_id, name) where status <> 'MISSING' do nothing`;

const ABSENT = `
with gone as (
  update instances i set status = 'DELETED'
  where engine_id = $1 and observed_at < $2 and status <> 'DELETED'
    and not exists (select from operations o where o.instance_id = i.id and o.status in ('QUEUED', 'RUNNING'))
  returning id
)
update snapshots set ${GOES_MISSING('$3')} where instance_id in (select id from gone) and status <> 'MISSING'`;
