/**
 * Everything a request reads, through one visibility rule. Look-ups of the same kind that fall due together become one
 * statement (DataLoader, without its cache: after a mutation a row must be read again).
 */
import DataLoader from 'dataloader';
import type { DataSource } from 'typeorm';
import type { Actor } from '../auth/actor';
import { columnsOf, findRow, queryEntities, toEntity, type EntityClass } from '../db/rows';
import type { Engine } from '../entities/engine';
import type { User } from '../entities/user';
import { RequestError, TOOK_TOO_LONG } from '../errors';
import { readOn, type Place, type Reading } from './event-log';
import type { Filter } from './filters';
import type { Listing, Order } from './lists';
import { readPage, writeCursor, type Page, type PageArguments } from './page';
import { byIdStatement, countStatement, pageStatement, type ListQuery } from './statement';

export interface ConnectionArguments extends PageArguments {
  filter?: Filter | null;
  orderBy?: Order | null;
}

export interface Connection<T> {
  edges: { node: T; cursor: string }[];
  nodes: T[];
  pageInfo: { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string | null; endCursor: string | null };
  /** A getter: counted only when it is selected. */
  readonly totalCount: Promise<number>;
}

/** One request's reads, as one actor. */
export class Reads {
  private readonly loaders = new Map<string, DataLoader<string, unknown>>();

  private readonly since = performance.now();

  /** `timeoutMs`: how long the request may take. */
  constructor(
    private readonly source: DataSource,
    readonly actor: Actor,
    private readonly timeoutMs: number,
  ) {}

  /** No statement begins when half of the time is over, and none may take more than the other half. */
  private get db(): DataSource {
    if (performance.now() - this.since > this.timeoutMs / 2)
      throw new RequestError('SERVICE_UNAVAILABLE', TOOK_TOO_LONG);
    return this.source;
  }

  /** A visible row by its id; null when it is hidden or missing, which nobody can tell apart. */
  byId<T extends object>(listing: Listing<T>, id: string): Promise<T | null> {
    return this.batched<T | null>(`id ${listing.from}`, id, async (ids) => {
      const { sql, values } = byIdStatement(this.db, this.actor, listing, [...new Set(ids)]);
      const rows = (await queryEntities(this.db, listing.entity, sql, values)) as (T & { id: string })[];
      const found = new Map(rows.map((row) => [row.id, row]));
      return ids.map((each) => found.get(each) ?? null);
    });
  }

  /** Whether a row is there, hidden or not: for readers who have seen it. */
  async exists(listing: Listing<object>, id: string): Promise<boolean> {
    return (await findRow(this.db, listing.entity, id)) !== null;
  }

  /** The next event that may be seen after a place in the log. */
  eventAfter(place: Place | null): Promise<Reading> {
    return readOn(this.db, this.actor, place);
  }

  /** What a visible row leads to and is no secret by itself: the person behind it, also a removed one; its engine. */
  behind<T extends User | Engine>(entity: EntityClass<T>, id: string): Promise<T | null> {
    return this.batched<T | null>(`behind ${entity.name}`, id, async (ids) => {
      const { tableName } = this.db.getMetadata(entity);
      const sql = `select ${columnsOf(this.db, entity, 't')} from ${tableName} t where id = any($1)`;
      const rows = await queryEntities(this.db, entity, sql, [[...new Set(ids)]]);
      const found = new Map(rows.map((row) => [row.id, row]));
      return ids.map((each) => found.get(each) ?? null);
    });
  }

  list<T extends object>(listing: Listing<T>, args: ConnectionArguments): Promise<Connection<T>> {
    const { query, page } = this.asked(listing, args, null);
    return this.fetch<T>(query, page, null).then(([connection]) => connection ?? empty());
  }

  /** The list below one parent: `parent` is the column that holds the parent's id. */
  listBelow<T extends object>(
    listing: Listing<T>,
    parent: string,
    parentId: string,
    args: ConnectionArguments,
  ): Promise<Connection<T>> {
    const { query, page } = this.asked(listing, args, parent);
    const key = `page ${listing.from} ${parent} ${JSON.stringify([query.filter, query.order, page])}`;
    return this.batched<Connection<T>>(key, parentId, (ids) => this.fetch<T>(query, page, [...ids]));
  }

  private asked(listing: Listing<object>, args: ConnectionArguments, parent: string | null) {
    const order = args.orderBy ?? listing.defaultOrder;
    const query: ListQuery = { listing, filter: args.filter ?? null, order, parent };
    return { query, page: readPage(args, listing, order) };
  }

  /** A connection per parent (in their order), or a single one without parents. */
  private async fetch<T extends object>(
    query: ListQuery,
    page: Page,
    parents: string[] | null,
  ): Promise<Connection<T>[]> {
    const unique = parents && [...new Set(parents)];
    const { sql, values } = pageStatement(this.db, this.actor, query, page, unique);
    const rows = await this.db.query<(Record<string, unknown> & { parentId?: string })[]>(sql, values);
    const groups = new Map<string | null, T[]>();
    for (const { parentId = null, ...row } of rows) {
      const group = groups.get(parentId) ?? [];
      group.push(toEntity(query.listing.entity, row) as T);
      groups.set(parentId, group);
    }
    return (parents ?? [null]).map((parentId) => this.connection(query, page, parentId, groups.get(parentId) ?? []));
  }

  private connection<T extends object>(
    query: ListQuery,
    page: Page,
    parentId: string | null,
    rows: T[],
  ): Connection<T> {
    const more = rows.length > page.size;
    const nodes = rows.slice(0, page.size);
    if (page.backward) nodes.reverse();
    const count = () => this.count(query, parentId);
    const edges = nodes.map((node) => ({ node, cursor: cursorOf(node, query) }));
    return {
      edges,
      nodes,
      pageInfo: {
        hasNextPage: page.backward ? page.before !== null : more,
        hasPreviousPage: page.backward ? more : page.after !== null,
        startCursor: edges[0]?.cursor ?? null,
        endCursor: edges.at(-1)?.cursor ?? null,
      },
      get totalCount() {
        return count();
      },
    };
  }

  private count(query: ListQuery, parentId: string | null): Promise<number> {
    const key = `count ${query.listing.from} ${query.parent} ${JSON.stringify(query.filter)}`;
    return this.batched<number>(key, parentId ?? '', async (ids) => {
      const { sql, values } = countStatement(this.actor, query, parentId === null ? null : [...new Set(ids)]);
      const rows = await this.db.query<{ parentId?: string; count: number }[]>(sql, values);
      const counts = new Map(rows.map((row) => [row.parentId ?? '', row.count]));
      return ids.map((each) => counts.get(each) ?? 0);
    });
  }

  private batched<T>(name: string, key: string, load: (keys: readonly string[]) => Promise<T[]>): Promise<T> {
    let loader = this.loaders.get(name) as DataLoader<string, T> | undefined;
    if (!loader) this.loaders.set(name, (loader = new DataLoader<string, T>(load, { cache: false })));
    return loader.load(key);
  }
}

function cursorOf(node: object, { listing, order }: ListQuery): string {
  // The sort column's property bears the column's name in camel case: t.created_at is createdAt.
  const property = (listing.orders[order.field]?.column ?? '')
    .replace(/^t\./, '')
    .replace(/_(\w)/g, (_, c: string) => c.toUpperCase());
  const value = (node as Record<string, unknown>)[property];
  return writeCursor(
    { value: value instanceof Date ? value.toISOString() : String(value), id: (node as { id: string }).id },
    listing,
    order,
  );
}

function empty<T>(): Connection<T> {
  const pageInfo = { hasNextPage: false, hasPreviousPage: false, startCursor: null, endCursor: null };
  return { edges: [], nodes: [], pageInfo, totalCount: Promise.resolve(0) };
}
