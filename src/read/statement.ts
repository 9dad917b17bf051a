/** The statements behind lists: visible, filtered, keyset-paged rows, for one list or for many parents at once. */
import type { DataSource } from 'typeorm';
import type { Actor } from '../auth/actor';
import { columnsOf } from '../db/rows';
import { conditionOf, type Filter } from './filters';
import type { Listing, Order } from './lists';
import type { Page, Position } from './page';
import { Params } from './params';

export interface ListQuery {
  listing: Listing<object>;
  filter: Filter | null;
  order: Order;
  /** The column that holds the parent's id (with its table), when the list hangs below parents. */
  parent: string | null;
}

/** Rows of a page and one more, in walking order, so that the reader learns whether more follow. */
export function pageStatement(db: DataSource, actor: Actor, query: ListQuery, page: Page, parentIds: string[] | null) {
  const { listing, order } = query;
  const params = new Params();
  const forward = (order.direction === 'ASC') !== page.backward;
  const column = orderColumn(listing, order);
  const beyond = (position: Position | null, greater: boolean) =>
    position
      ? ` and (${column}, t.id) ${greater ? '>' : '<'} (${cast(params.add(position.value), listing, order)}, ${params.add(position.id)}::uuid)`
      : '';
  const ascending = order.direction === 'ASC';
  const rows = (parent: string) =>
    `select ${columnsOf(db, listing.entity, 't')} from ${listing.from}
     where ${wherever(actor, query, parent, params)}${beyond(page.after, ascending)}${beyond(page.before, !ascending)}
     order by ${column} ${forward ? 'asc' : 'desc'}, t.id ${forward ? 'asc' : 'desc'}
     limit ${page.size + 1}`;
  return { sql: perParent(rows, parentIds, params), values: params.values };
}

/** How many there are in all, whatever the page. */
export function countStatement(actor: Actor, query: ListQuery, parentIds: string[] | null) {
  const params = new Params();
  const count = (parent: string) =>
    `select count(*)::int as "count" from ${query.listing.from} where ${wherever(actor, query, parent, params)}`;
  return { sql: perParent(count, parentIds, params), values: params.values };
}

/** Rows by id, as far as they are visible. */
export function byIdStatement(db: DataSource, actor: Actor, listing: Listing<object>, ids: readonly string[]) {
  const params = new Params();
  const sql = `select ${columnsOf(db, listing.entity, 't')} from ${listing.from}
    where t.id = any(${params.add(ids)}::uuid[]) and ${listing.visible(actor, params)}`;
  return { sql, values: params.values };
}

function wherever(actor: Actor, { listing, filter, parent }: ListQuery, parentId: string, params: Params): string {
  const below = parent ? `${parent} = ${parentId} and ` : '';
  return `${below}${listing.visible(actor, params)} and ${conditionOf(filter, listing.filters, params)}`;
}

function perParent(inner: (parentId: string) => string, parentIds: string[] | null, params: Params): string {
  if (!parentIds) return inner('');
  return `select parent.id as "parentId", found.*
    from unnest(${params.add(parentIds)}::uuid[]) parent(id) cross join lateral (${inner('parent.id')}) found`;
}

function orderColumn(listing: Listing<object>, order: Order): string {
  const found = listing.orders[order.field];
  if (!found) throw new Error(`no column is known for the order ${order.field}`);
  return found.column;
}

function cast(placeholder: string, listing: Listing<object>, order: Order): string {
  return listing.orders[order.field]?.time ? `${placeholder}::timestamptz` : placeholder;
}
