import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from '../../src/embedded/postgres';

/** The variable of the process in which setup leaves for teardown how to undo it. */
export const UNDO = Symbol.for('keyframe test database, undone by teardown');

/** One database server for the whole run; an operator's DATABASE_URL is used as it is. */
export default async function globalSetup(): Promise<void> {
  const { DATABASE_URL, DATABASE_MIGRATION_URL } = process.env;
  if (DATABASE_URL !== undefined && DATABASE_URL !== '') {
    process.env['KEYFRAME_TEST_DATABASE_URL'] = DATABASE_URL;
    process.env['KEYFRAME_TEST_MIGRATION_URL'] = DATABASE_MIGRATION_URL ?? DATABASE_URL;
    return;
  }
  const folder = await mkdtemp(join(tmpdir(), 'keyframe-test-'));
  // Nothing here outlives the run, so nothing has to reach the disk.
  const settings = { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' };
  const postgres = await startPostgres(folder, () => undefined, settings);
  const undo = async (): Promise<void> => {
    await postgres.stop();
    await rm(folder, { recursive: true, force: true });
  };
  Object.assign(globalThis, { [UNDO]: undo });
  process.env['KEYFRAME_TEST_DATABASE_URL'] = postgres.url;
  process.env['KEYFRAME_TEST_MIGRATION_URL'] = postgres.migrationUrl;
  // An interrupted run does not reach teardown.
  for (const [signal, status] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    process.once(signal, () => void undo().finally(() => process.exit(status)));
  }
}
