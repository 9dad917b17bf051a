/** The same wish under the same key is fulfilled once, whoever asks how often, on any number of processes. */
import { createHash } from 'node:crypto';
import type { EntityManager } from 'typeorm';
import type { Request } from '../auth/actor';
import { AppError, UserErrorCode } from '../errors';

const HOURS_KEPT = 24;
const KEY_LENGTH = 200;

/**
 * Does `work` in the caller's transaction, or answers what it answered the first time under this key (ids of rows).
 * A second request at the same instant waits here for the first to commit. A refusal undoes the transaction, so
 * the key stays free.
 */
export async function once<T>(
  tx: EntityManager,
  { actor }: Request,
  mutation: string,
  wish: { idempotencyKey?: string | null },
  work: () => Promise<T>,
): Promise<{ result: T; replayed: boolean }> {
  const { idempotencyKey: key, ...input } = wish;
  if (key === null || key === undefined) return { result: await work(), replayed: false };
  if (key === '' || key.length > KEY_LENGTH || key.includes('\0')) {
    throw new AppError(
      UserErrorCode.INVALID_INPUT,
      `An idempotency key has 1 to ${KEY_LENGTH} characters, none of them null.`,
      {
        field: ['idempotencyKey'],
      },
    );
  }
  const hash = createHash('sha256').update(canonical(input)).digest();
  // A token for some instances must not learn by a key what its owner did with others.
  const { id, instanceIds } = actor.credential;
  const owner = [actor.userId, instanceIds ? `${mutation} by ${id}` : mutation, key];
  await tx.query(
    `delete from idempotency_keys where actor_id = $1 and mutation = $2 and key = $3 and created_at < now() - interval '${HOURS_KEPT} hours'`,
    owner,
  );
  const inserted = await tx.query<unknown[]>(
    `insert into idempotency_keys (actor_id, mutation, key, input_hash, result, created_at)
     values ($1, $2, $3, $4, '{}', now()) on conflict do nothing returning 1`,
    [...owner, hash],
  );
  if (inserted.length === 0) return { result: await first<T>(tx, owner, hash), replayed: true };
  const result = await work();
  await tx.query('update idempotency_keys set result = $4 where actor_id = $1 and mutation = $2 and key = $3', [
    ...owner,
    JSON.stringify(result),
  ]);
  return { result, replayed: false };
}

/** Deletes keys that are past their time, whosever they are. */
export async function forgetOldKeys(tx: EntityManager): Promise<void> {
  await tx.query(`delete from idempotency_keys where created_at < now() - interval '${HOURS_KEPT} hours'`);
}

async function first<T>(tx: EntityManager, owner: string[], hash: Buffer): Promise<T> {
  const [row] = await tx.query<{ hash: Buffer; result: T }[]>(
    'select input_hash as hash, result from idempotency_keys where actor_id = $1 and mutation = $2 and key = $3',
    owner,
  );
  if (!row?.hash.equals(hash)) {
    throw new AppError(UserErrorCode.IDEMPOTENCY_KEY_REUSED, 'This idempotency key was used for another input.', {
      field: ['idempotencyKey'],
      remediation: 'Use a new key for a new wish.',
    });
  }
  return row.result;
}

/** Keys in order and absent like null, so that equal wishes give equal text. */
function canonical(input: object): string {
  const entries = Object.entries(input).filter(([, value]) => value !== null && value !== undefined);
  return JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}
