import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Failed tries at passwords, and how often each caller and address asked. */
export class HowOften1795426000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query(TABLES);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop table failed_tries, request_counts');
  }
}

/** What is counted by the minute may be lost in a crash; failed tries may not, or guessing would begin anew. */
const TABLES = `
create table failed_tries (
  key bytea not null,
  failed_at timestamptz(3)[] not null,
  last_failed_at timestamptz(3) not null,
  constraint failed_tries_pkey primary key (key)
);
create index failed_tries_by_time on failed_tries (last_failed_at);

create unlogged table request_counts (
  minute int not null,
  key text not null,
  used int not null,
  constraint request_counts_pkey primary key (minute, key)
)`;
