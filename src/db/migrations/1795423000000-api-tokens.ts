import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Tokens for tooling. */
export class ApiTokens1795423000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(API_TOKENS);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table api_tokens');
  }
}

/** A token for some instances is never one of an administrator's, who by their role reach what belongs to none of them. */
const API_TOKENS = `
create table api_tokens (
  id uuid not null,
  user_id uuid not null,
  name text not null,
  role text not null,
  secret_hash bytea not null,
  instance_ids uuid[],
  created_at timestamptz(3) not null,
  expires_at timestamptz(3),
  last_used_at timestamptz(3),
  revoked_at timestamptz(3),
  constraint api_token_role check (role in ('USER', 'OPERATIONS', 'ADMIN')),
  constraint api_token_of_some_instances check (instance_ids is null or role <> 'ADMIN'),
  constraint api_token_of_user foreign key (user_id) references users (id) on delete cascade,
  constraint api_tokens_pkey primary key (id)
);
create index api_tokens_by_user on api_tokens (user_id, created_at, id)`;
