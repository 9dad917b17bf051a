/** Who is calling: built once per request from the token, and read again from the rows, never believed from the token. */
import type { DataSource } from 'typeorm';
import type { Role, UserStatus } from '../entities/enums';
import type { Tokens } from './tokens';

export interface Actor {
  userId: string;
  sessionId: string;
  role: Role;
  status: UserStatus;
}

/** What a service is told of a request: who asks, and the id under which the log knows it. */
export interface Request {
  actor: Actor;
  correlationId: string;
}

/** Nobody: without a token, or with one that is no good (which public fields ignore and all others refuse). */
export interface Caller {
  actor: Actor | null;
  badToken: boolean;
}

/** Whoever gives no token. */
export const NOBODY: Caller = { actor: null, badToken: false };

export class Actors {
  constructor(
    private readonly db: DataSource,
    private readonly tokens: Tokens,
  ) {}

  /** `authorization` is the header's or the connection's "Bearer …". */
  async identify(authorization: string | undefined): Promise<Caller> {
    if (!authorization) return NOBODY;
    const claims = this.tokens.verifyAccess(/^Bearer (\S+)$/i.exec(authorization)?.[1]);
    const actor = claims && (await this.current(claims));
    return { actor: actor ?? null, badToken: !actor };
  }

  /** The same person as of now: null when the session has ended or the account is locked or removed. */
  async current(of: { userId: string; sessionId: string }): Promise<Actor | null> {
    const rows = await this.db.query<Actor[]>(CURRENT, [of.sessionId, of.userId]);
    return rows[0] ?? null;
  }
}

const CURRENT = `
select u.id as "userId", s.id as "sessionId", u.role, u.status
from sessions s join users u on u.id = s.user_id
where s.id = $1 and s.user_id = $2 and s.ended_at is null and s.expires_at > now()
  and u.removed_at is null and u.status <> 'LOCKED'`;
