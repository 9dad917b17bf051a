/**
 * What must be true when a run is over, whatever was done to the program meanwhile. Each says what is wrong, or null. They are
 * asked again for a while, because rows follow the engine a little later; but not those of what was done twice.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { bulkFaultOf, faultOf } from './content';
import { read, snapshotsOf, type OperationRow, type SnapshotRow } from './outcome';
import type { Known, Wish } from './wishes';
import type { Place } from './world/ground';
import type { World } from './world/world';

/** One operation that has ended, with what is there now. */
export interface Case {
  world: World;
  wish: Wish;
  row: OperationRow;
  rows: SnapshotRow[];
  /** The names on the engine. */
  engine: string[];
  /** Codes with which this operation may end besides success, given what was done to it. */
  allowed: string[];
}

type Invariant = (seen: Case) => Promise<string | null> | string | null;

const BULK_BYTES = 2000;
const PATIENCE_MS = 15_000;

const named = (name: string) => (each: { name: string }) => each.name === name;
const count = (names: string[], name: string): number => names.filter((each) => each === name).length;

/** What is wrong with a copy of the place, taken to be of the epoch. */
async function copyFault(root: string, epoch: string, { files, bulk = 0 }: Place): Promise<string | null> {
  return (await faultOf(root, epoch, files)) ?? (bulk > 0 ? bulkFaultOf(root, bulk, BULK_BYTES) : null);
}

/** A success, or a failure that this fault may have caused and that says what happened and what to do. */
export const endsAsItMay: Invariant = ({ row, allowed }) => {
  if (row.status === 'SUCCEEDED') return row.error ? 'SUCCEEDED with an error' : null;
  if (!row.error?.message || !row.error.remediation) return `${row.status} without a reason or a remedy`;
  return allowed.includes(row.error.code) ? null : `${row.status} with ${row.error.code}: ${row.error.message}`;
};

/** SUCCEEDED: one snapshot of that name, AVAILABLE, whole. FAILED: nothing, or an ERROR with its reason. */
export const createSaysTrue: Invariant = async ({ wish, row, rows, engine, world }) => {
  const [{ name, epoch } = { name: '', epoch: '' }] = wish.snapshots;
  const shown = rows.find(named(name));
  const there = count(engine, name);
  if (row.status === 'SUCCEEDED') {
    if (there !== 1) return `the engine has ${there} snapshots ${name}`;
    if (shown?.status !== 'AVAILABLE') return `the row of ${name} is ${shown?.status ?? 'absent'}`;
    return copyFault(world.ground.snapshotRoot(wish.place, name), epoch, wish.place);
  }
  if (there === 0)
    return shown && shown.status !== 'ERROR' ? `${name} is ${shown.status}, and not on the engine` : null;
  return shown?.status === 'ERROR' && shown.error?.message
    ? null
    : `the engine has ${name}, and its row is ${shown?.status ?? 'absent'} (${shown?.origin ?? 'none'}) after a FAILED creation`;
};

/** SUCCEEDED: the files are the snapshot's and it runs as before. FAILED: what is said of the disk is so. */
export const restoreSaysTrue: Invariant = async ({ wish, row, world: { ground } }) => {
  const [{ epoch } = { epoch: '' }] = wish.snapshots;
  const root = await ground.root(wish.place);
  if (row.status === 'SUCCEEDED') {
    if (ground.restores(wish.place) === wish.restoresBefore) return 'the engine did not restore it';
    const runs = await ground.isRunning(wish.place);
    if (runs !== (wish.place.running || wish.memory))
      return `the instance ${runs ? 'runs' : 'does not run'} after a restore`;
    return copyFault(root, epoch, wish.place);
  }
  const said = row.error?.message ?? '';
  if (/is STOPPED now/.test(said) && (await ground.isRunning(wish.place))) return 'the instance runs after all';
  return /disk is that of the snapshot/i.test(said) ? copyFault(root, epoch, wish.place) : null;
};

/** An item that SUCCEEDED is gone on both sides; what is left is what it was, or ERROR. */
export const deleteSaysTrue: Invariant = ({ wish, row, rows, engine }) => {
  for (const { name, good } of wish.snapshots) {
    const item = row.items.find(({ snapshotName }) => snapshotName === name);
    const shown = rows.find(named(name));
    if (item?.status === 'SUCCEEDED') {
      if (shown) return `${name} is deleted, and its row is ${shown.status}`;
      if (count(engine, name) > 0) return `${name} is deleted, and on the engine`;
    } else if (shown?.status !== 'ERROR' && !(good && shown?.status === 'AVAILABLE')) {
      return `${name} was not deleted (${item?.status ?? 'no item'}), and its row is ${shown?.status ?? 'absent'}`;
    }
  }
  const failed = row.items.some(({ status }) => status !== 'SUCCEEDED');
  return failed === (row.status === 'SUCCEEDED') ? `${row.status} with items ${JSON.stringify(row.items)}` : null;
};

/** Exactly one of the two names exists, on both sides, and it is the right one. */
export const renameSaysTrue: Invariant = ({ wish, row, rows, engine }) => {
  const [old = ''] = wish.names;
  const [is, isNot] = row.status === 'SUCCEEDED' ? [wish.newName, old] : [old, wish.newName];
  if (count(engine, is) !== 1 || count(engine, isNot) !== 0)
    return `${row.status}, and the engine has ${engine.join(' ')}`;
  return rows.some(named(is)) && !rows.some(named(isNot)) ? null : `${row.status}, and the rows are ${said(rows)}`;
};

/** A restore that was completed is not done again: what was written since would be gone. */
export const restoredOnce: Invariant = ({ wish, world: { ground } }) => {
  const times = ground.restores(wish.place) - wish.restoresBefore;
  const most = wish.kind === 'restore' ? 1 : 0;
  return times > most ? `the disk was restored ${times} times` : null;
};

/** Accepted once, however often it was asked for. */
export const acceptedOnce: Invariant = async ({ wish, world }) => {
  const found = await read<{ id: string }>(world, 'select id from operations where idempotency_key = $1', [wish.key]);
  return found.length === 1 ? null : `${found.length} operations of the key ${wish.key}`;
};

/** Engine and rows name the same snapshots, each AVAILABLE or ERROR, and all of them are ours. */
export const agreesWithEngine: Invariant = ({ rows, engine }) => {
  const open = rows.find(({ status }) => status !== 'AVAILABLE' && status !== 'ERROR');
  if (open) return `${open.name} is left ${open.status}`;
  const stranger = rows.find(({ origin }) => origin === 'EXTERNAL');
  if (stranger) return `${stranger.name} is ${stranger.status} as somebody else's`;
  const shown = rows.map(({ name }) => name).sort();
  return shown.join() === [...engine].sort().join() ? null : `rows: ${said(rows)}; engine: ${engine.join(' ')}`;
};

/** Whatever is offered for restoring is whole. */
export async function availableAreWhole(seen: Case, known: Known[]): Promise<string | null> {
  for (const { name, status } of seen.rows) {
    const epoch = known.find(named(name))?.epoch;
    if (status !== 'AVAILABLE' || epoch === undefined) continue;
    const fault = await copyFault(seen.world.ground.snapshotRoot(seen.wish.place, name), epoch, seen.wish.place);
    if (fault) return `${name} is AVAILABLE with ${fault}`;
  }
  return null;
}

/** No job is left of an operation that ended, no step open, no time before another that it follows. */
export async function nothingIsLeftOver(world: World): Promise<string | null> {
  const faults = await read<{ fault: string }>(world, LEFT_OVER, []);
  return faults.length > 0 ? faults.map(({ fault }) => fault).join('; ') : null;
}

/** What may be half made is never restored. */
export async function suspectsAreRefused(
  world: World,
  { kind, snapshots: [made], place }: Wish,
): Promise<string | null> {
  const row = (await snapshotsOf(world, place)).find(({ name }) => name === made?.name);
  if (kind !== 'create' || row?.status !== 'ERROR') return null;
  const { restoreSnapshot } = await (
    await world.client()
  ).query(
    'mutation ($id: ID!) { restoreSnapshot(input: { snapshotId: $id }) { operation { id } userErrors { code } } }',
    { id: made?.id },
  );
  const refused = restoreSnapshot.operation === null && restoreSnapshot.userErrors[0]?.code === 'SNAPSHOT_NOT_READY';
  return refused ? null : `suspectsAreRefused: ${made?.name ?? ''} was not: ${JSON.stringify(restoreSnapshot)}`;
}

const LEFT_OVER = `
select 'a job of an ended operation ' || (j.payload ->> 'id') as fault from graphile_worker._private_jobs j
  left join operations o on o.id::text = j.payload ->> 'id' where o.id is null or o.finished_at is not null
union all select 'unfinished operation ' || id from operations where finished_at is null
union all select 'times out of order in ' || id from operations where finished_at < started_at or started_at < created_at
union all select 'an open step in ' || id from operations
  where finished_at is not null and jsonb_path_exists(steps, '$[*] ? (@.finishedAt == null)')
union all select 'status and error disagree in ' || id from operations
  where finished_at is not null and (status = 'SUCCEEDED') <> (error is null)
union all select 'an unfinished snapshot ' || name from snapshots where status not in ('AVAILABLE', 'ERROR', 'MISSING')`;

const BY_KIND = {
  create: createSaysTrue,
  restore: restoreSaysTrue,
  delete: deleteSaysTrue,
  deleteSeveral: deleteSaysTrue,
  rename: renameSaysTrue,
};

/** Everything that is wrong with one operation, as `name: what`. */
export async function wrongs(
  world: World,
  wish: Wish,
  row: OperationRow,
  allowed: string[],
  known: Known[],
): Promise<string[]> {
  const look = async (): Promise<Case> => {
    const engine = await world.ground.snapshots(wish.place);
    return { world, wish, row, rows: await snapshotsOf(world, wish.place), engine, allowed };
  };
  const at = [endsAsItMay, restoredOnce, acceptedOnce];
  const first = await look();
  const found = await Promise.all(at.map(async (each) => said2(each.name, await each(first))));
  const whole = (seen: Case) => availableAreWhole(seen, known);
  const later: Record<string, Invariant> = { [BY_KIND[wish.kind].name]: BY_KIND[wish.kind], agreesWithEngine, availableAreWhole: whole }; // prettier-ignore
  for (const [name, holds] of Object.entries(later)) {
    found.push(said2(name, await eventually(async () => holds(await look()))));
  }
  return found.filter((each) => each !== null);
}

/** Asks until nothing is wrong or the time is over, and gives what was wrong last. */
export async function eventually(
  look: () => Promise<string | null> | string | null,
  ms = PATIENCE_MS,
): Promise<string | null> {
  const deadline = Date.now() + ms;
  for (;;) {
    const fault = await Promise.resolve().then(look).catch(String);
    if (fault === null || Date.now() > deadline) return fault;
    await sleep(100);
  }
}

const said2 = (name: string, fault: string | null): string | null => (fault === null ? null : `${name}: ${fault}`);
const said = (rows: SnapshotRow[]): string => rows.map(({ name, status }) => `${name} ${status}`).join(', ') || 'none';
