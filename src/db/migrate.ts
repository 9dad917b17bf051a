/** Bringing a database to this program's schema, and waiting for it where another process does that. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import type { QueryRunner } from 'typeorm';
import { createDataSource } from './data-source';
import { migrations } from './migrations';

/** One migrating process at a time: any number that is ours alone. */
const MIGRATION_LOCK = 7_165_201_001;

export interface MigrationReport {
  applied: string[];
  /** Set when the serving role may do more than it needs, which voids protections. */
  warning: string | null;
}

/**
 * Runs the migrations as the owner, gives the serving role its rights, and then lets `asServingRole` install what must
 * belong to that role: the job queue, whose tables have row-level security that only their owner passes.
 */
export async function migrate(
  urls: { migrationUrl: string; url: string },
  asServingRole: () => Promise<void>,
): Promise<MigrationReport> {
  const serving = await servingRole(urls.url);
  const database = await createDataSource(urls.migrationUrl, 2, { patient: true }).initialize();
  const owner = database.createQueryRunner();
  try {
    await owner.query('select pg_advisory_lock($1)', [MIGRATION_LOCK]);
    const applied = await database.runMigrations({ transaction: 'each' });
    await grant(owner, serving.name, asServingRole);
    return { applied: applied.map((migration) => migration.name), warning: await excess(owner, serving) };
  } finally {
    await owner.query('select pg_advisory_unlock($1)', [MIGRATION_LOCK]);
    await owner.release();
    await database.destroy();
  }
}

/** Polls until every migration of ours is there (a newer schema is accepted) and none runs; false after `seconds`. */
export async function waitForSchema(url: string, seconds: number, givenUp?: AbortSignal): Promise<boolean> {
  const newest = migrations.at(-1)?.name;
  const deadline = Date.now() + seconds * 1000;
  while (Date.now() < deadline) {
    const found = await withClient(url, (client) =>
      // Rights and job queue come after the last migration, under the same lock.
      client.query('select from schema_migrations where name = $1 and pg_try_advisory_lock_shared($2)', [
        newest,
        MIGRATION_LOCK,
      ]),
    ).catch(ignoreNotYetThere);
    if (found?.rowCount) return true;
    await sleep(500, undefined, { signal: givenUp });
  }
  return false;
}

/** Opens a connection for one piece of work. */
async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, application_name: 'keyframe' });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

interface ServingRole {
  name: string;
  superuser: boolean;
}

async function servingRole(url: string): Promise<ServingRole> {
  const { rows } = await withClient(url, (client) =>
    client.query<ServingRole>(
      'select rolname as name, rolsuper as superuser from pg_roles where rolname = current_user',
    ),
  );
  return rows[0] ?? { name: '', superuser: false };
}

/** Rights on our tables stay; the right to make a schema is lent for as long as the queue needs it. */
async function grant(owner: QueryRunner, serving: string, asServingRole: () => Promise<void>): Promise<void> {
  const [me] = (await owner.query('select current_user as name')) as { name: string }[];
  if (me?.name === serving) return asServingRole();
  const run = async (template: string) => {
    const [{ sql }] = (await owner.query('select format($1, $2::text, current_database()) as sql', [
      template,
      serving,
    ])) as [{ sql: string }];
    await owner.query(sql);
  };
  await run(RIGHTS);
  await run('grant create on database %2$I to %1$I');
  await asServingRole();
  await run('revoke create on database %2$I from %1$I');
}

/** One text is one transaction: a process that serves meanwhile never has more or less than its rights. */
const RIGHTS = `
grant usage on schema public to %1$I;
grant select, insert, update, delete on all tables in schema public to %1$I;
revoke insert, update, delete on schema_migrations from %1$I;
revoke update, delete on audit_events, audit_checkpoints from %1$I;
grant update (position, hash) on audit_events to %1$I`;

/** What the serving role can do beyond its need, as a sentence for the log; null when all is well. */
async function excess(owner: QueryRunner, serving: ServingRole): Promise<string | null> {
  if (serving.superuser) {
    return `The serving role "${serving.name}" is a superuser: row-level security and append-only tables do not bind it.`;
  }
  const [{ owns }] = (await owner.query(
    `select exists (select from pg_tables where schemaname = 'public' and tableowner = $1) as owns`,
    [serving.name],
  )) as [{ owns: boolean }];
  return owns
    ? `The serving role "${serving.name}" owns our tables: row-level security and append-only tables do not bind it. ` +
        'Give DATABASE_MIGRATION_URL an owner of its own.'
    : null;
}

/** The table may be missing, or there and not yet ours to read. */
function ignoreNotYetThere(error: unknown): null {
  if (['42P01', '42501'].includes((error as { code?: string }).code ?? '')) return null;
  throw error;
}
