/** A database of its own for each suite: a clone of one that was migrated once. */
import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import { migrate } from '../../src/db/migrate';
import { installQueue } from '../../src/worker/worker';
import { until } from './until';

const TEMPLATE = 'keyframe_test_template';
/** Making the template, and cloning it (which nobody may be connected to), happens one at a time. */
const TEMPLATE_LOCK = 7_165_209_999;

export interface TestDatabase {
  url: string;
  migrationUrl: string;
  /** Another database with what is in it now, as of a backup; nobody may be connected. */
  copy: () => Promise<TestDatabase>;
  drop: () => Promise<void>;
}

export async function createDatabase({ empty = false } = {}): Promise<TestDatabase> {
  const name = `keyframe_test_${randomBytes(6).toString('hex')}`;
  await asOwner(async (owner) => {
    await owner.query('select pg_advisory_lock($1)', [TEMPLATE_LOCK]);
    if (!empty) await ensureTemplate(owner);
    await owner.query(`create database ${name} ${empty ? '' : `template ${TEMPLATE}`}`);
  });
  return toDatabase(name);
}

function toDatabase(name: string): TestDatabase {
  return {
    url: on(given('KEYFRAME_TEST_DATABASE_URL'), name),
    migrationUrl: on(given('KEYFRAME_TEST_MIGRATION_URL'), name),
    copy: async () => {
      const copy = `keyframe_test_${randomBytes(6).toString('hex')}`;
      await asOwner((owner) => owner.query(`create database ${copy} template ${name}`));
      return toDatabase(copy);
    },
    drop: () => dropDatabase(name),
  };
}

/** Only a superuser may end an autovacuum worker that happens to be in the database; it leaves by itself. */
async function dropDatabase(name: string): Promise<void> {
  const gone = async () => {
    try {
      await asOwner((owner) => owner.query(`drop database if exists ${name} with (force)`));
      return true;
    } catch (error) {
      if ((error as { code?: string }).code === '42501') return false;
      throw error;
    }
  };
  await until(gone, 10_000, 'the end of the database');
}

/** Removes what the runs of a server that others use as well would leave behind. */
export async function dropTemplate(): Promise<void> {
  await asOwner((owner) => owner.query(`drop database if exists ${TEMPLATE} with (force)`));
}

async function ensureTemplate(owner: Client): Promise<void> {
  const { rowCount } = await owner.query('select from pg_database where datname = $1', [TEMPLATE]);
  if (rowCount) return;
  const raw = `${TEMPLATE}_raw`;
  await owner.query(`drop database if exists ${raw} with (force)`);
  await owner.query(`create database ${raw}`);
  const url = on(given('KEYFRAME_TEST_DATABASE_URL'), raw);
  await migrate({ url, migrationUrl: on(given('KEYFRAME_TEST_MIGRATION_URL'), raw) }, () => installQueue(url));
  await owner.query(`alter database ${raw} rename to ${TEMPLATE}`);
}

async function asOwner(work: (owner: Client) => Promise<unknown>): Promise<void> {
  const owner = new Client({ connectionString: given('KEYFRAME_TEST_MIGRATION_URL') });
  await owner.connect();
  try {
    await work(owner);
  } finally {
    await owner.end();
  }
}

function given(variable: 'KEYFRAME_TEST_DATABASE_URL' | 'KEYFRAME_TEST_MIGRATION_URL'): string {
  const value = process.env[variable];
  if (!value) throw new Error(`${variable} is not set: the global setup of the tests did not run`);
  return value;
}

function on(url: string, database: string): string {
  const parsed = new URL(url);
  parsed.pathname = `/${database}`;
  return parsed.href;
}
