import type { MigrationInterface, QueryRunner } from 'typeorm';

/** From where sessions were begun, and the audit log. */
export class WhoDidWhat1795420000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('alter table sessions add address text, add client text');
    await runner.query(AUDIT);
    await runner.query(APPEND_ONLY);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table audit_events, audit_checkpoints');
    await runner.query('drop function refuse_to_forget');
    await runner.query('alter table sessions drop address, drop client');
  }
}

/** No foreign keys: an entry outlives what it tells of. */
const AUDIT = `
create table audit_events (
  id uuid not null,
  created_at timestamptz(3) not null,
  actor_id uuid,
  actor_role text,
  credential_kind text,
  credential_id uuid,
  address text,
  client text,
  action text not null,
  outcome text not null,
  code text,
  resource_type text,
  resource_id uuid,
  resource_name text,
  changes json not null,
  correlation_id text not null,
  key_id text,
  mac bytea,
  position bigint,
  hash bytea,
  constraint audit_outcome check (outcome in ('SUCCEEDED', 'REFUSED', 'FAILED')),
  constraint audit_events_pkey primary key (id)
);
create index audit_events_by_creation on audit_events (created_at, id);
create index audit_events_by_actor on audit_events (actor_id, created_at, id);
create index audit_events_by_resource on audit_events (resource_id, created_at, id);
create index audit_events_by_correlation on audit_events (correlation_id);
create unique index audit_events_by_position on audit_events (position) where position is not null;
create index audit_events_unsealed on audit_events (created_at, id) where position is null;
create table audit_checkpoints (
  position bigint not null,
  hash bytea not null,
  created_at timestamptz(3) not null,
  key_id text not null,
  signature bytea not null,
  constraint audit_checkpoints_pkey primary key (position)
)`;

/** All that an entry says. Its place in the chain, and the hash there, are given later, together and once. */
const SAID = `id, created_at, actor_id, actor_role, credential_kind, credential_id, address, client, action, outcome, code,
  resource_type, resource_id, resource_name, changes, correlation_id, key_id, mac`;

/** The owner is bound as well, unless they disable the triggers; what they change then does not fit its signature. */
const APPEND_ONLY = `
create function refuse_to_forget() returns trigger language plpgsql as $$
begin
  raise exception 'the audit log only grows: % of % is refused', lower(tg_op), tg_table_name
    using errcode = 'insufficient_privilege';
end $$;
create trigger append_only before delete or truncate or update of ${SAID} on audit_events
  for each statement execute function refuse_to_forget();
create trigger sealed_later before insert on audit_events
  for each row when (new.position is not null or new.hash is not null) execute function refuse_to_forget();
create trigger sealed_once before update on audit_events
  for each row when (old.position is not null or new.position is null or new.hash is null)
  execute function refuse_to_forget();
create trigger append_only before delete or truncate or update on audit_checkpoints
  for each statement execute function refuse_to_forget();`;
