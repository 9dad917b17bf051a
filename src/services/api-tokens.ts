/** API tokens as people wish them: made for oneself, taken back by oneself or by an administrator. */
import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { Request } from '../auth/actor';
import { lowerOf, mintApiToken } from '../auth/api-tokens';
import { asActor } from '../auth/standing';
import { announce } from '../db/events';
import { columnsOf, findRow, queryEntities } from '../db/rows';
import { ApiToken } from '../entities/api-token';
import { Role } from '../entities/enums';
import { AppError, invalidInput, notFound, UserErrorCode } from '../errors';
import { API_TOKENS, INSTANCES } from '../read/lists';
import { byIdStatement } from '../read/statement';
import type { Audit } from './audit';
import { visible } from './snapshot-rows';

/** How many of a person's tokens may be in use at a time. */
export const MAX_API_TOKENS = 50;
/** How many instances a token can be limited to. */
export const MAX_API_TOKEN_INSTANCES = 100;
/** How far ahead a time of expiry may be. */
export const MAX_API_TOKEN_DAYS = 366;
const LONGEST_NAME = 100;

export interface CreateApiToken {
  name: string;
  role: Role;
  expiresAt?: Date | null;
  /** Null for what is no id of an instance; absent: all that the owner may see. */
  instanceIds?: (string | null)[] | null;
}

export class ApiTokens {
  constructor(
    private readonly db: DataSource,
    private readonly audit: Audit,
  ) {}

  /** Makes a token of the caller's own, at most as good as they are. The token itself is given now and never again. */
  create(request: Request, wish: CreateApiToken): Promise<{ apiToken: ApiToken; token: string }> {
    const name = wish.name.trim();
    judgeName(name);
    judgeRole(request.actor.role, wish);
    const id = uuidv7();
    const { token, secretHash } = mintApiToken(id);
    return asActor(this.db, request, async (tx) => {
      // Two requests at once must not both find room for one more.
      await tx.query('select from users where id = $1 for no key update', [request.actor.userId]);
      await judgeExpiry(tx, wish.expiresAt);
      await judgeRoom(tx, request.actor.userId);
      const instanceIds = await instancesOf(tx, request, wish.instanceIds);
      const values = [id, request.actor.userId, name, wish.role, secretHash, instanceIds, wish.expiresAt ?? null];
      const [apiToken] = await queryEntities(tx, ApiToken, INSERT(columnsOf(tx, ApiToken, 't')), values);
      if (!apiToken) throw new Error('an inserted row was not returned');
      await this.audit.record(tx, request, { action: 'createApiToken', resource: resourceOf(apiToken) });
      return { apiToken, token };
    });
  }

  /** Ends a token at once, also in what runs with it. Revoking twice is revoking once. */
  revoke(request: Request, apiTokenId: string | null): Promise<ApiToken> {
    return asActor(this.db, request, async (tx) => {
      const apiToken = await visible(tx, request, API_TOKENS, apiTokenId, 'apiTokenId', 'API token');
      // Waits for what was let in with it and is being done, and is waited for by what comes next.
      await tx.query('select from api_tokens where id = $1 for update', [apiToken.id]);
      const [, revoked] = await tx.query<[unknown, number]>(REVOKE, [apiToken.id]);
      if (revoked > 0) {
        await announce(tx, `user:${apiToken.userId}`);
        await this.audit.record(tx, request, { action: 'revokeApiToken', resource: resourceOf(apiToken) });
      }
      return (await findRow(tx, ApiToken, apiToken.id)) ?? apiToken;
    });
  }
}

function judgeName(name: string): void {
  if (name.length < 1 || name.length > LONGEST_NAME || /[\p{C}\p{Zl}\p{Zp}]/u.test(name))
    throw invalidInput('name', `A name has 1 to ${LONGEST_NAME} characters, all of which can be seen.`);
}

function judgeRole(own: Role, { role, instanceIds }: CreateApiToken): void {
  if (lowerOf(own, role) !== role) throw invalidInput('role', `You are ${own}: a token of yours cannot be ${role}.`);
  // By that role one reaches users, assignments and the audit log, which belong to no instance.
  if (instanceIds && role === Role.ADMIN)
    throw invalidInput('role', 'A token for some instances only cannot be ADMIN; make it OPERATIONS or USER.');
}

/** By the clock that will decide when it has come. */
async function judgeExpiry(tx: EntityManager, expiresAt: Date | null | undefined): Promise<void> {
  if (!expiresAt) return;
  const [good] = await tx.query<unknown[]>(
    `select where $1::timestamptz > now() and $1::timestamptz <= now() + interval '${MAX_API_TOKEN_DAYS} days'`,
    [expiresAt],
  );
  if (!good) throw invalidInput('expiresAt', `A token expires within ${MAX_API_TOKEN_DAYS} days, and not before now.`);
}

async function judgeRoom(tx: EntityManager, userId: string): Promise<void> {
  const [inUse] = await tx.query<{ count: number }[]>(IN_USE, [userId]);
  if (!inUse || inUse.count < MAX_API_TOKENS) return;
  throw new AppError(UserErrorCode.QUOTA_EXCEEDED, `You have ${MAX_API_TOKENS} API tokens, which is the most.`, {
    remediation: 'Revoke one that is no longer needed.',
  });
}

/** Each once; NOT_FOUND unless the caller may see all of them. */
async function instancesOf(
  tx: EntityManager,
  { actor }: Request,
  wanted: CreateApiToken['instanceIds'],
): Promise<string[] | null> {
  if (!wanted) return null;
  if (wanted.length < 1 || wanted.length > MAX_API_TOKEN_INSTANCES)
    throw invalidInput('instanceIds', `Name 1 to ${MAX_API_TOKEN_INSTANCES} instances, or leave it out for all.`);
  const ids = new Set(wanted);
  const { sql, values } = byIdStatement(
    tx.dataSource,
    actor,
    INSTANCES,
    [...ids].filter((id) => id !== null),
  );
  const seen = await queryEntities(tx, INSTANCES.entity, sql, values);
  if (seen.length < ids.size) throw notFound('instanceIds', 'instance');
  return seen.map(({ id }) => id);
}

function resourceOf({ id, name }: ApiToken) {
  return { type: 'ApiToken', id, name };
}

const IN_USE = `
select count(*)::int as count from api_tokens
where user_id = $1 and revoked_at is null and (expires_at is null or expires_at > now())`;

const INSERT = (columns: string) => `
with t as (
  insert into api_tokens (id, user_id, name, role, secret_hash, instance_ids, expires_at, created_at)
  values ($1, $2, $3, $4, $5, $6, $7, now())
  returning *
) select ${columns} from t`;

const REVOKE = 'update api_tokens set revoked_at = now() where id = $1 and revoked_at is null';
