/** What an operator does at the shell rather than through the API. */
import type { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { openLog, startApp, waitForDatabase } from './app';
import { auditKeysOf } from './auditing';
import type { Config } from './config';
import { ConfigError } from './config';
import { createDataSource } from './db/data-source';
import { waitForSchema } from './db/migrate';
import type { Role } from './entities/enums';
import { Audit } from './services/audit';
import type { AuditKeys } from './services/audit-keys';
import { Users } from './services/users';

export interface NewUser {
  email: string;
  role: Role;
  name?: string;
}

/** Makes an account, for example the first administrator's, and gives its one-time password. */
export function createUser(config: Config, { email, role, name }: NewUser): Promise<string> {
  return onDatabase(config, async (db, auditKeys) => {
    const author = { actor: null, correlationId: uuidv7(), origin: { address: null, client: 'keyframe cli' } };
    const users = new Users(db, new Audit(auditKeys));
    const { password } = await users.create(author, { email, role, displayName: name ?? null });
    return password;
  });
}

type Work<T> = (db: DataSource, auditKeys: AuditKeys | null) => Promise<T>;

/** Connects as the serving role for as long as `work` takes. */
export async function onDatabase<T>(config: Config, work: Work<T>): Promise<T> {
  if (!config.database) return onEmbedded(config, work);
  const { url } = config.database;
  await waitForDatabase(url, openLog(config));
  if (!(await waitForSchema(url, 1))) {
    throw new ConfigError(['The database has no schema yet: start the service, or run it with --role migrate.']);
  }
  return connected(url, await auditKeysOf(config, null), work);
}

/** Runs the embedded database for as long as this takes. While the service has the data folder, it is told so instead. */
async function onEmbedded<T>(config: Config, work: Work<T>): Promise<T> {
  const app = await startApp({ ...config, role: 'migrate' });
  try {
    return await connected(app.databaseUrl, app.auditKeys, work);
  } finally {
    await app.stop();
  }
}

async function connected<T>(url: string, keys: AuditKeys | null, work: Work<T>): Promise<T> {
  const db = await createDataSource(url, 2).initialize();
  try {
    return await work(db, keys);
  } finally {
    await db.destroy();
  }
}
