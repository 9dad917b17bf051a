// Part of the room `embedded/`, which can be taken away: nothing here is loaded when DATABASE_URL is set.
import type { Cluster } from './cluster';
import { superuserClient } from './server';

const DATABASE = 'keyframe';
const OWNER = 'keyframe_owner';
const SERVING = 'keyframe';

/** The addresses of the database for its two roles. */
export interface Addresses {
  readonly url: string;
  readonly migrationUrl: string;
}

/** Makes database and roles where they are missing, and sets them right where they were changed. */
export async function prepareRoles(cluster: Cluster, port: number): Promise<Addresses> {
  const { owner, serving } = cluster.passwords;
  const client = superuserClient(cluster, port, 'postgres');
  await client.connect();
  try {
    const { rows } = await client.query<{ name: string }>(
      `SELECT rolname AS name FROM pg_roles UNION ALL SELECT 'database ' || datname FROM pg_database`,
    );
    const known = new Set(rows.map(({ name }) => name));
    for (const [role, password, right] of [
      [OWNER, owner, 'CREATEDB'],
      [SERVING, serving, 'NOCREATEDB'],
    ] as const) {
      // The owner may make databases, for the scratch copies of tests and of the check for schema drift.
      await client.query(
        `${known.has(role) ? 'ALTER' : 'CREATE'} ROLE ${role} LOGIN NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS ` +
          `${right} PASSWORD ${client.escapeLiteral(password)}`,
      );
    }
    if (!known.has(`database ${DATABASE}`)) await client.query(`CREATE DATABASE ${DATABASE} OWNER ${OWNER}`);
    await client.query(`REVOKE ALL ON DATABASE ${DATABASE} FROM PUBLIC`);
    await client.query(`GRANT CONNECT, TEMPORARY ON DATABASE ${DATABASE} TO ${SERVING}`);
  } finally {
    await client.end();
  }
  const address = (role: string, password: string): string =>
    `postgres://${role}:${password}@127.0.0.1:${port}/${DATABASE}`;
  return { url: address(SERVING, serving), migrationUrl: address(OWNER, owner) };
}
