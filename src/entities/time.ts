import type { ColumnOptions } from 'typeorm';

/** Every time column: milliseconds, because a JS Date has no more and keyset cursors must not skip or repeat rows. */
export const TIME: ColumnOptions = { type: 'timestamptz', precision: 3 };
export const OPTIONAL_TIME: ColumnOptions = { ...TIME, nullable: true };
