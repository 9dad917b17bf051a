/** The one connection pool of a process, and what it may contain. */
import { DataSource } from 'typeorm';
import { entities } from '../entities';
import { connectionsThatLeave } from './connection';
import { migrations } from './migrations';
import { SnakeNaming } from './naming';

/** A statement that takes longer is given up: a request gets an answer, and a worker tries again. */
const STATEMENT_MS = 30_000;
/** A transaction of ours never rests. One that does belongs to a process that is frozen or gone, and must not keep its locks. */
const RESTING_TRANSACTION_MS = 30_000;

/**
 * A pool on `url`. Nothing is synchronised, ever: the schema changes by migrations only, which may take their time
 * (`patient`). Where requests are answered that may take `requestMs`, a statement may take half of it: see `Reads`.
 */
export function createDataSource(
  url: string,
  poolSize: number,
  { patient = false, requestMs = Infinity } = {},
): DataSource {
  const statementMs = Math.min(STATEMENT_MS, requestMs / 2);
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
      Client: connectionsThatLeave(),
      ...(!patient && {
        statement_timeout: statementMs,
        query_timeout: statementMs + 5000,
        idle_in_transaction_session_timeout: RESTING_TRANSACTION_MS,
      }),
    },
    applicationName: 'keyframe',
    migrationsTableName: 'schema_migrations',
    installExtensions: false,
    logging: false,
  });
}
