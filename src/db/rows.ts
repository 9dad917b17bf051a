/** Rows of hand-written SQL as entities. TypeORM's metadata is the only list of columns. */
import { EntityManager, type DataSource, type EntityMetadata } from 'typeorm';

export type EntityClass<T> = new () => T;

/** The select list of an entity, each column under its property's name. `alias` is the table's in the statement. */
export function columnsOf(db: DataSource | EntityManager, entity: EntityClass<object>, alias: string): string {
  return metadataOf(db, entity)
    .columns.map(({ databaseName, propertyName, type }) => {
      // pg gives bigint as text; every bigint of ours is a count of bytes, exact as a double below 2^53.
      const cast = type === 'bigint' ? '::float8' : '';
      return `${alias}.${databaseName}${cast} as "${propertyName}"`;
    })
    .join(', ');
}

/** Makes an entity of a row selected by `columnsOf`. */
export function toEntity<T extends object>(entity: EntityClass<T>, row: object): T {
  return Object.assign(Object.create(entity.prototype as object) as T, { __typename: entity.name }, row);
}

/** Runs a statement that selects, or returns, the columns of one entity. */
export async function queryEntities<T extends object>(
  db: DataSource | EntityManager,
  entity: EntityClass<T>,
  sql: string,
  values: unknown[],
): Promise<T[]> {
  const result: unknown = await db.query(sql, values);
  // TypeORM answers [rows, count] for UPDATE and DELETE, rows for everything else.
  const rows = (Array.isArray(result) && Array.isArray(result[0]) ? result[0] : result) as object[];
  return rows.map((row) => toEntity(entity, row));
}

/** One row by its id, whoever may see it: for work inside a transaction that has judged that already. */
export async function findRow<T extends object>(
  db: DataSource | EntityManager,
  entity: EntityClass<T>,
  id: string | null,
): Promise<T | null> {
  if (id === null) return null;
  const { tableName } = metadataOf(db, entity);
  const rows = await queryEntities(
    db,
    entity,
    `select ${columnsOf(db, entity, 't')} from ${tableName} t where id = $1`,
    [id],
  );
  return rows[0] ?? null;
}

function metadataOf(db: DataSource | EntityManager, entity: EntityClass<object>): EntityMetadata {
  return (db instanceof EntityManager ? db.dataSource : db).getMetadata(entity);
}
