/** Who is calling: built once per request from the token, and read again from the rows, never believed from the token. */
import type { DataSource } from 'typeorm';
import type { Role, UserStatus } from '../entities/enums';
import type { Tokens } from './tokens';

export interface Actor {
  userId: string;
  credential: Credential;
  role: Role;
  status: UserStatus;
}

/** By what the caller is known: a session, by its access token, or an API token. */
export interface Credential {
  kind: 'SESSION' | 'API_TOKEN';
  id: string;
  /** Of a token that is good for these instances only; null: all that its owner may see. */
  instanceIds: readonly string[] | null;
  /** When it ends by itself, by this process's clock: what was begun with it must end then too. */
  expiresAt?: Date | null;
}

/** From where a request came: the client's address, and the name that its program gives itself. */
export interface Origin {
  address: string | null;
  client: string | null;
}

/** What is known of a request of whoever it is: from where it came, and the id under which the log knows it. */
export interface Visit {
  correlationId: string;
  origin: Origin;
}

/** What a service is told of a request: who asks, besides. */
export interface Request extends Visit {
  actor: Actor;
}

/** Nobody: without a token, or with one that is no good (which public fields ignore and all others refuse). */
export interface Caller {
  actor: Actor | null;
  badToken: boolean;
}

/** Of a request that did not come over the network. */
const NOWHERE: Origin = { address: null, client: null };

/** Whoever gives no token. */
export const NOBODY: Caller = { actor: null, badToken: false };

/** Tells whom a token belongs to that is not one of our access tokens; null when it is none that it knows, or no good. */
export interface Identifier {
  identify(token: string, origin: Origin): Promise<Actor | null>;
  /** The same caller as of now, of those whose credential is not a session; null for any other credential. */
  current?(credential: Credential): Promise<Actor | null>;
}

export class Actors {
  constructor(
    private readonly db: DataSource,
    private readonly tokens: Tokens,
    private readonly others: readonly Identifier[] = [],
  ) {}

  /** `authorization` is the header's or the connection's "Bearer …". */
  async identify(authorization: string | undefined, origin: Origin = NOWHERE): Promise<Caller> {
    if (!authorization) return NOBODY;
    const token = /^Bearer (\S+)$/i.exec(authorization)?.[1];
    const actor = token ? await this.holderOf(token, origin) : null;
    return { actor, badToken: !actor };
  }

  private async holderOf(token: string, origin: Origin): Promise<Actor | null> {
    const claims = this.tokens.verifyAccess(token);
    if (claims) return this.current({ userId: claims.userId, credential: session(claims.sessionId) });
    for (const other of this.others) {
      const actor = await other.identify(token, origin);
      if (actor) return actor;
    }
    return null;
  }

  /** The same person as of now: null when the session or token has ended, or the account is locked or removed. */
  async current({ userId, credential }: Pick<Actor, 'userId' | 'credential'>): Promise<Actor | null> {
    if (credential.kind !== 'SESSION') return this.currentOther(credential);
    const [now] = await this.db.query<Pick<Actor, 'role' | 'status'>[]>(CURRENT, [credential.id, userId]);
    return now ? { userId, credential, ...now } : null;
  }

  private async currentOther(credential: Credential): Promise<Actor | null> {
    for (const other of this.others) {
      const actor = await other.current?.(credential);
      if (actor) return actor;
    }
    return null;
  }
}

/** The credential of whoever has signed in. */
export function session(id: string): Credential {
  return { kind: 'SESSION', id, instanceIds: null };
}

const CURRENT = `
select u.role, u.status
from sessions s join users u on u.id = s.user_id
where s.id = $1 and s.user_id = $2 and s.ended_at is null and s.expires_at > now()
  and u.removed_at is null and u.status <> 'LOCKED'`;
