import type { MigrationInterface, QueryRunner } from 'typeorm';

/** What changed, written by triggers so that no writer can forget it; and, from there, the notifications. */
export class ChangeLog1795400000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(EVENTS);
    for (const table of LOGGED) await runner.query(logging(table));
    await runner.query(ASSIGNMENTS);
    await runner.query(NOTIFICATIONS);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table events');
    await runner.query('drop function tell_of_events');
    const logged = [...LOGGED.map(({ table }) => table), 'instance_assignments'];
    for (const table of logged) await runner.query(`drop function log_${table} cascade`);
  }
}

/** No foreign keys: an event outlives what it tells of. */
const EVENTS = `
create table events (
  xact bigint not null,
  seq bigint generated always as identity,
  occurred_at timestamptz(3) not null,
  node_type text not null,
  node_id uuid not null,
  instance_id uuid not null,
  user_id uuid,
  change text not null,
  constraint event_change check (change in ('CREATED', 'UPDATED', 'REMOVED')),
  constraint events_pkey primary key (xact, seq)
)`;

/** What the rows of a statement are about: type, id, instance, and whom alone it concerns. */
const event = (about: string, change: string, rows: string) => `
    insert into public.events (xact, occurred_at, node_type, node_id, instance_id, user_id, change)
    select pg_current_xact_id()::text::bigint, clock_timestamp(), ${about}, '${change}' from ${rows}`;

interface Logged {
  table: string;
  about: string;
  /** Columns whose change alone is nobody's business. */
  bookkeeping: string;
}

const LOGGED: Logged[] = [
  { table: 'instances', about: `'Instance', r.id, r.id, null`, bookkeeping: '{observed_at}' },
  { table: 'snapshots', about: `'Snapshot', r.id, r.instance_id, null`, bookkeeping: '{observed_at}' },
  { table: 'operations', about: `'Operation', r.id, r.instance_id, null`, bookkeeping: '{attempt_token,input}' },
];

/** Rows are compared as jsonb, so that a column that is added later counts without a word here. */
const logging = ({ table, about, bookkeeping }: Logged) => `
create function log_${table}() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then ${event(about, 'CREATED', 'new_rows r')};
  elsif tg_op = 'DELETE' then ${event(about, 'REMOVED', 'old_rows r')};
  else ${event(about, 'UPDATED', 'new_rows r join old_rows o on o.id = r.id')}
    where to_jsonb(r) - '${bookkeeping}'::text[] <> to_jsonb(o) - '${bookkeeping}'::text[];
  end if;
  return null;
end $$;
create trigger log_insert after insert on ${table} referencing new table as new_rows
  for each statement execute function log_${table}();
create trigger log_update after update on ${table} referencing old table as old_rows new table as new_rows
  for each statement execute function log_${table}();
create trigger log_delete after delete on ${table} referencing old table as old_rows
  for each statement execute function log_${table}();`;

const ASSIGNED = `'Instance', r.instance_id, r.instance_id, r.user_id`;

/** Of an assignment only its user is told: that the instance has appeared or disappeared. */
const ASSIGNMENTS = `
create function log_instance_assignments() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then ${event(ASSIGNED, 'CREATED', 'new_rows r')};
  else ${event(ASSIGNED, 'REMOVED', 'old_rows r')};
  end if;
  return null;
end $$;
create trigger log_insert after insert on instance_assignments referencing new table as new_rows
  for each statement execute function log_instance_assignments();
create trigger log_delete after delete on instance_assignments referencing old table as old_rows
  for each statement execute function log_instance_assignments();`;

/** The topics of db/events.ts. Postgres delivers a text once per transaction, however often it was sent. */
const NOTIFICATIONS = `
create function tell_of_events() returns trigger language plpgsql as $$
begin
  perform pg_notify('keyframe', topic) from (
    select 'events' from new_rows
    union select 'instance:' || instance_id from new_rows where user_id is null
    union select 'operation:' || node_id from new_rows where node_type = 'Operation'
  ) topics(topic);
  return null;
end $$;
create trigger tell after insert on events referencing new table as new_rows
  for each statement execute function tell_of_events();`;
