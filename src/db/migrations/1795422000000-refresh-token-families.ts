import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A secret of all refresh tokens of a session, and an index to forget old sessions by. */
export class RefreshTokenFamilies1795422000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    // Null in sessions that are there already: their refresh tokens are no longer good, and people sign in once more.
    await runner.query('alter table sessions add family_hash bytea');
    await runner.query('create index sessions_by_expiry on sessions (expires_at)');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('drop index sessions_by_expiry');
    await runner.query('alter table sessions drop family_hash');
  }
}
