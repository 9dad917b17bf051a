import type { MigrationInterface, QueryRunner } from 'typeorm';

/** People whom an external provider vouches for: without a password here, and one account for each of them. */
export class ExternalIdentity1795424000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(UP);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query(DOWN);
  }
}

const UP = `
alter table users alter password_hash drop not null, add issuer text, add subject text, add vouched_at timestamptz(3),
  add constraint user_identity check ((issuer is null) = (subject is null) and (issuer is null) = (vouched_at is null)),
  add constraint external_user_has_no_password check (issuer is null or password_hash is null);
create unique index one_account_per_identity on users (issuer, subject) where issuer is not null;
alter table sessions add login bytea;
create index sessions_by_login on sessions (login) where login is not null`;

/** Whoever has no password gets one that fits nothing, so that the rest of what they did stays. */
const DOWN = `
drop index sessions_by_login;
alter table sessions drop login;
drop index one_account_per_identity;
alter table users drop constraint user_identity, drop constraint external_user_has_no_password,
  drop issuer, drop subject, drop vouched_at;
update users set password_hash = '$argon2id$', status = 'LOCKED' where password_hash is null;
alter table users alter password_hash set not null`;
