/** What an operator does at the shell rather than through the API. */
import type { Config } from './config';
import { ConfigError } from './config';
import { createDataSource } from './db/data-source';
import { waitForSchema } from './db/migrate';
import type { Role } from './entities/enums';
import { Users } from './services/users';

/** Makes an account, for example the first administrator's, and gives its one-time password. */
export async function createUser(config: Config, wish: { email: string; role: Role; name?: string }): Promise<string> {
  if (!config.database) {
    throw new ConfigError([
      'DATABASE_URL is needed: with the embedded database, an administrator creates users through the API.',
    ]);
  }
  if (!(await waitForSchema(config.database.url, 1))) {
    throw new ConfigError(['The database has no schema yet: start the service, or run it with --role migrate.']);
  }
  const db = await createDataSource(config.database.url, 2).initialize();
  try {
    const { password } = await new Users(db).create({
      email: wish.email,
      role: wish.role,
      displayName: wish.name ?? null,
    });
    return password;
  } finally {
    await db.destroy();
  }
}
