import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Users and their sessions, the engine, instances and who sees them, snapshots, operations, idempotency keys. */
export class FirstTables1795300000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(
      'drop table idempotency_keys, operations, snapshots, instance_assignments, instances, sessions, users, engines cascade',
    );
  }
}

const UP = `
create table engines (
  id uuid not null,
  kind text not null,
  name text not null,
  version text not null,
  capabilities text[] not null,
  unavailable_since timestamptz(3),
  observed_at timestamptz(3) not null,
  constraint engine_kind check (kind in ('INCUS', 'LXD', 'LOCAL')),
  constraint engines_pkey primary key (id)
);

create table users (
  id uuid not null,
  email text collate "C" not null,
  display_name text not null,
  role text not null,
  status text not null,
  password_hash text not null,
  one_time_password boolean not null,
  created_at timestamptz(3) not null,
  removed_at timestamptz(3),
  constraint user_status check (status in ('INVITED', 'ACTIVE', 'LOCKED')),
  constraint user_role check (role in ('USER', 'OPERATIONS', 'ADMIN')),
  constraint users_pkey primary key (id)
);
create unique index one_account_per_email on users (email) where removed_at is null;

create table sessions (
  id uuid not null,
  user_id uuid not null,
  refresh_token_hash bytea not null,
  created_at timestamptz(3) not null,
  refreshed_at timestamptz(3) not null,
  expires_at timestamptz(3) not null,
  ended_at timestamptz(3),
  constraint sessions_pkey primary key (id)
);
create index sessions_by_user on sessions (user_id);

create table instances (
  id uuid not null,
  engine_id uuid not null,
  uid text not null,
  name text collate "C" not null,
  project text not null,
  location text,
  type text not null,
  status text not null,
  created_at timestamptz(3) not null,
  configuration jsonb not null,
  stateful_obstacles text[] not null,
  observed_at timestamptz(3) not null,
  constraint instance_status check (status in ('PENDING', 'CREATING', 'RUNNING', 'STOPPED', 'STOPPING', 'RESTARTING', 'ERROR', 'DELETING', 'DELETED')),
  constraint instance_type check (type in ('CONTAINER', 'VIRTUAL_MACHINE')),
  constraint instances_pkey primary key (id)
);
create index instances_by_creation on instances (created_at, id);
create index instances_by_name on instances (name, id);
create unique index one_instance_per_engine_uid on instances (engine_id, uid);

create table instance_assignments (
  id uuid not null,
  user_id uuid not null,
  instance_id uuid not null,
  created_at timestamptz(3) not null,
  constraint instance_assignments_pkey primary key (id)
);
create index assignments_by_instance on instance_assignments (instance_id, created_at, id);
create unique index one_assignment_per_user_and_instance on instance_assignments (user_id, instance_id);

create table snapshots (
  id uuid not null,
  instance_id uuid not null,
  name text collate "C" not null,
  created_at timestamptz(3) not null,
  stateful boolean not null,
  status text not null,
  origin text not null,
  description text,
  size_bytes bigint,
  duration_seconds double precision,
  expires_at timestamptz(3),
  error jsonb,
  created_by_id uuid,
  created_by_operation_id uuid,
  observed_at timestamptz(3),
  version integer not null default 1,
  constraint snapshot_origin check (origin in ('MANUAL', 'SCHEDULED', 'SAFETY', 'GUARD', 'REQUESTED', 'EXTERNAL')),
  constraint snapshot_status check (status in ('PENDING', 'CREATING', 'AVAILABLE', 'RESTORING', 'DELETING', 'ERROR', 'MISSING')),
  constraint snapshots_pkey primary key (id)
);
create index snapshots_by_expiry on snapshots (expires_at) where expires_at is not null;
create index snapshots_by_creation on snapshots (created_at, id);
create index snapshots_by_instance on snapshots (instance_id, created_at, id);
create unique index one_name_per_instance on snapshots (instance_id, name) where status <> 'MISSING';

create table operations (
  id uuid not null,
  kind text not null,
  status text not null,
  instance_id uuid not null,
  snapshot_id uuid,
  snapshot_name text,
  input jsonb not null default '{}',
  items jsonb not null default '[]',
  steps jsonb not null default '[]',
  actor_id uuid,
  error jsonb,
  waiting_reason text,
  idempotency_key text,
  correlation_id text not null,
  attempts integer not null default 0,
  attempt_token text,
  created_at timestamptz(3) not null,
  started_at timestamptz(3),
  finished_at timestamptz(3),
  constraint operation_ends_once check ((finished_at is not null) = (status in ('SUCCEEDED', 'FAILED', 'CANCELLED'))),
  constraint operation_status check (status in ('QUEUED', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED')),
  constraint operation_kind check (kind in ('SNAPSHOT_CREATE', 'SNAPSHOT_RESTORE', 'SNAPSHOTS_DELETE', 'SNAPSHOT_RENAME')),
  constraint operations_pkey primary key (id)
);
create index operations_by_snapshot on operations (snapshot_id) where snapshot_id is not null;
create index operations_by_creation on operations (created_at, id);
create index operations_by_instance on operations (instance_id, created_at, id);
create unique index one_unfinished_operation_per_instance on operations (instance_id) where status in ('QUEUED', 'RUNNING');

create table idempotency_keys (
  actor_id uuid not null,
  mutation text not null,
  key text not null,
  input_hash bytea not null,
  result jsonb not null,
  created_at timestamptz(3) not null,
  constraint idempotency_keys_pkey primary key (actor_id, mutation, key)
);
create index idempotency_keys_by_creation on idempotency_keys (created_at);

alter table instances add constraint instance_on_engine foreign key (engine_id) references engines(id);
alter table instance_assignments add constraint assignment_of_user foreign key (user_id) references users(id) on delete cascade;
alter table instance_assignments add constraint assignment_of_instance foreign key (instance_id) references instances(id) on delete cascade;
alter table snapshots add constraint snapshot_of_instance foreign key (instance_id) references instances(id);
alter table snapshots add constraint snapshot_by_user foreign key (created_by_id) references users(id);
alter table snapshots add constraint snapshot_by_operation foreign key (created_by_operation_id) references operations(id) on delete set null deferrable initially deferred;
alter table operations add constraint operation_on_instance foreign key (instance_id) references instances(id);
alter table operations add constraint operation_on_snapshot foreign key (snapshot_id) references snapshots(id) on delete set null;
alter table operations add constraint operation_by_user foreign key (actor_id) references users(id);
alter table sessions add constraint session_of_user foreign key (user_id) references users(id) on delete cascade;
`;
