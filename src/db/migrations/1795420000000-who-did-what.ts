import type { MigrationInterface, QueryRunner } from 'typeorm';

/** From where sessions were begun, and the audit log. */
export class WhoDidWhat1795420000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('alter table sessions add address text, add client text');
    await runner.query(AUDIT);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table audit_events');
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
  changes jsonb not null default '[]',
  correlation_id text not null,
  constraint audit_outcome check (outcome in ('SUCCEEDED', 'REFUSED', 'FAILED')),
  constraint audit_events_pkey primary key (id)
);
create index audit_events_by_creation on audit_events (created_at, id)`;
