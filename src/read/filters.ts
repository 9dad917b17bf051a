/** A filter of the API as an SQL condition. */
import type { Params } from './params';

/** As GraphQL hands it over: fields with comparisons, and `and`, `or`, `not`. */
export type Filter = Record<string, unknown>;

const COMPARISONS: Record<string, (column: string, value: unknown, params: Params) => string> = {
  eq: (column, value, params) => `${column} = ${params.add(value)}`,
  in: (column, value, params) => `${column} = any(${params.add(value)})`,
  startsWith: (column, value, params) => `starts_with(${column}, ${params.add(value)})`,
  // Names sort by bytes (collate "C"), whose lower() knows ASCII only: case is the database's own affair.
  contains: (column, value, params) =>
    `position(lower(${params.add(value)}::text) in lower(${column} collate "default")) > 0`,
  gte: (column, value, params) => `${column} >= ${params.add(value)}`,
  lt: (column, value, params) => `${column} < ${params.add(value)}`,
};

/** `columns` maps field names to columns; fields and comparisons that are null or absent say nothing. */
export function conditionOf(
  filter: Filter | null | undefined,
  columns: Record<string, string>,
  params: Params,
): string {
  const parts = Object.entries(filter ?? {}).flatMap(([field, value]) => {
    if (value === null || value === undefined) return [];
    if (field === 'and' || field === 'or') return [combine(value as Filter[], field, columns, params)];
    // A null column makes a comparison null; "not" must then hold, so it is asked whether the condition is not true.
    if (field === 'not') return [`(${conditionOf(value as Filter, columns, params)}) is not true`];
    const column = columns[field];
    if (!column) throw new Error(`no column is known for the filter field ${field}`);
    if (typeof value === 'boolean') return [`${column} = ${params.add(value)}`];
    return compare(value as Filter, column, params);
  });
  return parts.length > 0 ? parts.join(' and ') : 'true';
}

/** An empty `and` holds always, an empty `or` never. */
function combine(filters: Filter[], word: 'and' | 'or', columns: Record<string, string>, params: Params): string {
  if (filters.length === 0) return word === 'and' ? 'true' : 'false';
  return `(${filters.map((each) => `(${conditionOf(each, columns, params)})`).join(` ${word} `)})`;
}

function compare(comparisons: Filter, column: string, params: Params): string[] {
  return Object.entries(comparisons).flatMap(([name, value]) => {
    const comparison = COMPARISONS[name];
    if (!comparison || value === null || value === undefined) return [];
    // No text of a row holds a null character, and Postgres does not even take one: it equals nothing.
    if (holdsNull(value)) return ['false'];
    return [comparison(column, Array.isArray(value) ? value.filter((each) => !holdsNull(each)) : value, params)];
  });
}

function holdsNull(value: unknown): boolean {
  return typeof value === 'string' && value.includes('\0');
}
