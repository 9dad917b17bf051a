/** Operations that nobody is at, because the engine is away: left in the queue for later, and due at once when it is back. */
import type { DataSource } from 'typeorm';
import { inTransaction } from '../db/transaction';

/** How long what was never begun waits for an engine that is away: whoever asked has gone by then, and can ask again. */
export const GIVE_UP_AFTER_SECONDS = 24 * 3600;

/** Leaves an operation in the queue that nobody is at; false when there is none, or when it has waited for too long. */
export async function postpone(db: DataSource, id: string, reason: string, afterSeconds: number): Promise<boolean> {
  const postponed = await db.query<unknown[]>(POSTPONE, [id, reason, afterSeconds, GIVE_UP_AFTER_SECONDS]);
  return postponed.length > 0;
}

/** Makes the operations that wait due at once, those that were accepted first before the others; gives how many. */
export async function wakeWaiting(db: DataSource): Promise<number> {
  const woken = await inTransaction(db, (tx) => tx.query<unknown[]>(WAKE_WAITING));
  return woken.length;
}

/** An engine that the observing process does see is away for this process alone: another may take it up, and soon. */
const POSTPONE = `
with o as (
  update operations set waiting_reason = $2, input = jsonb_build_object('awaySince', now()) || input
  where id = $1 and status = 'QUEUED'
    and coalesce((input ->> 'awaySince')::timestamptz, now()) >= now() - $4 * interval '1 second'
  returning id
)
select graphile_worker.add_job('operation', json_build_object('id', id), run_at := now() + interval '1 second' *
    case when exists (select from engines where unavailable_since is not null) then $3::float8 else 3 end)
from o`;

/** The queue hears of new jobs only, so it is told: `count` is how many of its workers look. */
const WAKE_WAITING = `
with asleep as (
  select j.id, o.created_at from operations o
  join graphile_worker._private_jobs j on j.payload ->> 'id' = o.id::text
  where o.status = 'QUEUED' and o.waiting_reason is not null and j.locked_at is null and j.run_at > now()
  order by j.id for update of j skip locked
), due as (
  select job.id from asleep, lateral graphile_worker.reschedule_jobs(array[asleep.id], run_at := asleep.created_at) job
), told as (
  select pg_notify('jobs:insert', json_build_object('count', count(*))::text) from due
)
select due.id from due, told`;
