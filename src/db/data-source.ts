/** The one connection pool of a process, and what it may contain. */
import type { EventEmitter } from 'node:events';
import { DataSource } from 'typeorm';
import { entities } from '../entities';
import { migrations } from './migrations';
import { SnakeNaming } from './naming';

/** A statement that takes longer is given up: a request gets an answer, and a worker tries again. */
const STATEMENT_MS = 30_000;

/**
 * A pool on `url`. Nothing is synchronised, ever: the schema changes by migrations only, which may take their time
 * (`patient`).
 */
export function createDataSource(url: string, poolSize: number, { patient = false } = {}): DataSource {
  return new DataSource({
    type: 'postgres',
    url,
    entities,
    migrations,
    namingStrategy: new SnakeNaming(),
    synchronize: false,
    poolSize,
    connectTimeoutMS: 10_000,
    // Postgres ends it first; the client's own limit is for a database that does not answer at all.
    extra: {
      keepAlive: true,
      // TypeORM listens for errors a moment after the pool has stopped doing so: one in between would end the process.
      onConnect: (client: EventEmitter) => void client.on('error', () => undefined),
      ...(!patient && { statement_timeout: STATEMENT_MS, query_timeout: STATEMENT_MS + 5000 }),
    },
    applicationName: 'keyframe',
    migrationsTableName: 'schema_migrations',
    installExtensions: false,
    logging: false,
  });
}
