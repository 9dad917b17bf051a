/** What an operator does at the shell rather than through the API. */
import { v7 as uuidv7 } from 'uuid';
import { openLog, startApp, waitForDatabase } from './app';
import type { Config } from './config';
import { ConfigError } from './config';
import { createDataSource } from './db/data-source';
import { waitForSchema } from './db/migrate';
import type { Role } from './entities/enums';
import { Audit } from './services/audit';
import { Users } from './services/users';

export interface NewUser {
  email: string;
  role: Role;
  name?: string;
}

/** Makes an account, for example the first administrator's, and gives its one-time password. */
export async function createUser(config: Config, wish: NewUser): Promise<string> {
  if (!config.database) return createInEmbedded(config, wish);
  const { url } = config.database;
  await waitForDatabase(url, openLog(config));
  if (!(await waitForSchema(url, 1))) {
    throw new ConfigError(['The database has no schema yet: start the service, or run it with --role migrate.']);
  }
  return create(url, wish);
}

/** Runs the embedded database for as long as this takes. While the service has the data folder, it is told so instead. */
async function createInEmbedded(config: Config, wish: NewUser): Promise<string> {
  const app = await startApp({ ...config, role: 'migrate' });
  try {
    return await create(app.databaseUrl, wish);
  } finally {
    await app.stop();
  }
}

async function create(url: string, { email, role, name }: NewUser): Promise<string> {
  const db = await createDataSource(url, 2).initialize();
  try {
    const author = { actor: null, correlationId: uuidv7(), origin: { address: null, client: 'keyframe cli' } };
    const users = new Users(db, new Audit());
    const { password } = await users.create(author, { email, role, displayName: name ?? null });
    return password;
  } finally {
    await db.destroy();
  }
}
