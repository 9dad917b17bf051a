/** Whoever asks for a change must still be who they were when the request came, at the moment at which the change is made. */
import type { DataSource, EntityManager } from 'typeorm';
import { inTransaction } from '../db/transaction';
import type { Role } from '../entities/enums';
import { RequestError } from '../errors';
import type { Actor, Credential } from './actor';
import { lowerOf, VOUCHED_FOR } from './api-tokens';

/** `work` in one transaction, which commits only as long as the actor may do what the request was let in for. */
export function asActor<T>(
  db: DataSource,
  { actor }: { actor: Actor },
  work: (tx: EntityManager) => Promise<T>,
): Promise<T> {
  return inTransaction(db, async (tx) => {
    await keepStanding(tx, actor);
    return work(tx);
  });
}

/**
 * Throws unless session, account and role are still good, and keeps them so until the transaction ends: whoever takes them
 * away locks the rows `for update` first (the account's, then its sessions' or the token's), which waits for this, as this waits for that.
 * The lock is the one that a foreign key takes, so requests of one person do not wait for each other.
 */
export async function keepStanding(tx: EntityManager, { userId, credential, role }: Actor): Promise<void> {
  const [now] = await tx.query<{ role: Role; atMost: Role }[]>(STANDING[credential.kind], [credential.id, userId]);
  if (!now) throw new RequestError('UNAUTHENTICATED', ENDED[credential.kind]);
  if (lowerOf(lowerOf(now.role, now.atMost), role) !== role) {
    throw new RequestError('FORBIDDEN', 'Your role has just been changed; ask an administrator if you need it back.');
  }
}

const ENDED: Record<Credential['kind'], string> = {
  SESSION: 'Your session has ended. Sign in again.',
  API_TOKEN: 'This API token is no longer good; make another.',
};

const STANDING: Record<Credential['kind'], string> = {
  SESSION: `
select u.role, u.role as "atMost" from users u join sessions s on s.user_id = u.id
where s.id = $1 and u.id = $2 and s.ended_at is null and s.expires_at > now() and u.removed_at is null and u.status <> 'LOCKED'
for key share`,
  API_TOKEN: `
select u.role, t.role as "atMost" from users u join api_tokens t on t.user_id = u.id
where t.id = $1 and u.id = $2 and t.revoked_at is null and (t.expires_at is null or t.expires_at > now())
  and u.removed_at is null and u.status = 'ACTIVE' and ${VOUCHED_FOR}
for key share`,
};
