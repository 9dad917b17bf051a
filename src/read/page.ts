/** Pages by keyset: what the arguments ask for, and the cursors that answers carry. */
import { RequestError } from '../errors';
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from '../limits';
import type { Listing, Order } from './lists';

export interface PageArguments {
  first?: number | null;
  after?: string | null;
  last?: number | null;
  before?: string | null;
}

export interface Page {
  size: number;
  /** Walking from the end: `last`. */
  backward: boolean;
  after: Position | null;
  before: Position | null;
}

/** A place in an order: the sort key's value and the id that breaks ties. */
export interface Position {
  value: string;
  id: string;
}

/** Throws BAD_USER_INPUT for a page size out of bounds, for `first` with `last`, and for a cursor that is not ours. */
export function readPage(args: PageArguments, listing: Listing<object>, order: Order): Page {
  const { first, last } = args;
  if (typeof first === 'number' && typeof last === 'number') throw bad('Give either `first` or `last`, not both.');
  const size = last ?? first ?? DEFAULT_PAGE_SIZE;
  if (size < 1 || size > MAX_PAGE_SIZE) throw bad(`A page holds 1 to ${MAX_PAGE_SIZE} entries, not ${size}.`);
  return {
    size,
    backward: typeof last === 'number',
    after: typeof args.after === 'string' ? readCursor(args.after, listing, order) : null,
    before: typeof args.before === 'string' ? readCursor(args.before, listing, order) : null,
  };
}

/** Opaque to clients; it names the list and the order it belongs to, so that it is refused under another. */
export function writeCursor(position: Position, listing: Listing<object>, order: Order): string {
  const parts = [listing.entity.name, order.field, position.value, position.id];
  return opaque(parts);
}

/** Parts as a cursor. */
export function opaque(parts: readonly string[]): string {
  return Buffer.from(JSON.stringify(parts)).toString('base64url');
}

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
/** Postgres has no year 0, and takes a text for a time only when the calendar has that day. */
const TIME = /^(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

function readCursor(cursor: string, listing: Listing<object>, order: Order): Position {
  const [list, field, value, id] = partsOf(cursor);
  const time = listing.orders[order.field]?.time;
  if (
    list !== listing.entity.name ||
    typeof value !== 'string' ||
    typeof id !== 'string' ||
    !UUID.test(id) ||
    (time && !isTime(value)) ||
    value.includes('\0')
  ) {
    throw notOfThisList();
  }
  if (field !== order.field) throw bad('This cursor belongs to another order of the list.');
  return { value, id };
}

/** What a cursor is made of; empty for what is none. */
export function partsOf(cursor: string): unknown[] {
  try {
    const parts: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    return Array.isArray(parts) ? parts : [];
  } catch {
    return [];
  }
}

/** Whether a part is a time as we write it. */
export function isTime(value: string): boolean {
  return TIME.test(value) && new Date(Date.parse(value) || 0).toISOString() === value;
}

/** What is no cursor, or one of another list. */
export function notOfThisList(): RequestError {
  return bad('This is not a cursor of this list.');
}

function bad(message: string): RequestError {
  return new RequestError('BAD_USER_INPUT', message);
}
