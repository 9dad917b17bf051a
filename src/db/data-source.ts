/** The one connection pool of a process, and what it may contain. */
import { DataSource } from 'typeorm';
import { entities } from '../entities';
import { migrations } from './migrations';
import { SnakeNaming } from './naming';

/** A pool on `url`. Nothing is synchronised, ever: the schema changes by migrations only. */
export function createDataSource(url: string, poolSize: number): DataSource {
  return new DataSource({
    type: 'postgres',
    url,
    entities,
    migrations,
    namingStrategy: new SnakeNaming(),
    synchronize: false,
    poolSize,
    applicationName: 'keyframe',
    migrationsTableName: 'schema_migrations',
    installExtensions: false,
    logging: false,
  });
}
