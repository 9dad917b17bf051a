/** Sessions as rows: ended, and forgotten. */
import type { DataSource, EntityManager } from 'typeorm';
import type { Actor } from '../auth/actor';
import { keepStanding } from '../auth/standing';
import { announce } from '../db/events';
import { findRow } from '../db/rows';
import { inTransaction } from '../db/transaction';
import { User } from '../entities/user';

const DAYS_KEPT = 7;

/** A change of the caller's own account. The lock comes before the look, as everywhere: two of these cannot block each other. */
export function onOwnAccount<T>(
  db: DataSource,
  actor: Actor,
  work: (tx: EntityManager, user: User) => Promise<T>,
): Promise<T> {
  return inTransaction(db, async (tx) => {
    await tx.query('select from users where id = $1 for update', [actor.userId]);
    await keepStanding(tx, actor);
    const user = await findRow(tx, User, actor.userId);
    if (!user) throw new Error('an actor without an account');
    return work(tx, user);
  });
}

/** Ends every session of a user, or that one only, or all but that one; says how many. The account's row is locked. */
export async function endSessions(
  tx: EntityManager,
  userId: string,
  { only = null, except = null }: { only?: string | null; except?: string | null } = {},
): Promise<number> {
  const [, ended] = await tx.query<[unknown[], number]>(END, [userId, only, except]);
  if (ended > 0) await announce(tx, `user:${userId}`);
  return ended;
}

/** Deletes sessions that nobody can come back to, some days after their time. */
export async function forgetOldSessions(tx: EntityManager): Promise<void> {
  await tx.query(`delete from sessions where expires_at < now() - interval '${DAYS_KEPT} days'`);
}

/** The lock keeps them from mutations that are under way, which hold a weaker one (`keepStanding`). */
const END = `
with those as materialized (
  select id from sessions
  where user_id = $1 and ended_at is null and ($2::uuid is null or id = $2) and ($3::uuid is null or id <> $3)
  order by id for update
)
update sessions s set ended_at = now() from those where s.id = those.id`;
