/** What every resolver is handed: who asks, and how that person reads. Made anew for each operation. */
import type { GraphQLError } from 'graphql';
import type { DataSource } from 'typeorm';
import type { Actor, Actors, Caller, Origin, Request } from '../auth/actor';
import type { Authorizer } from '../auth/authorize';
import type { Events } from '../db/events';
import { RequestError } from '../errors';
import { Reads } from '../read/reads';
import type { Audit } from '../services/audit';

/** What contexts share: one of each per process. */
export interface Surroundings {
  db: DataSource;
  audit: Audit;
  events: Events;
  actors: Actors;
  authorizer: Authorizer;
  /** How long a request may take. */
  requestTimeoutMs: number;
  /** A line in the log. */
  report: (level: 'info' | 'error', what: object, message: string) => void;
}

export class Context {
  private reader: Reads | undefined;
  /** Set by the gate: what would be refused if it were asked again as this actor. */
  authorizeAgain: ((actor: Actor) => readonly GraphQLError[]) | undefined;

  constructor(
    readonly shared: Surroundings,
    public caller: Caller,
    readonly correlationId: string,
    readonly origin: Origin,
  ) {}

  /** The signed-in actor. A field without @public is only reached with one. */
  get actor(): Actor {
    if (!this.caller.actor) throw new RequestError('UNAUTHENTICATED', 'Sign in first.');
    return this.caller.actor;
  }

  get request(): Request {
    return { actor: this.actor, correlationId: this.correlationId, origin: this.origin };
  }

  get reads(): Reads {
    return (this.reader ??= new Reads(this.shared.db, this.actor, this.shared.requestTimeoutMs));
  }

  /** From here on this operation reads as that actor: after a sign-in, or as they have become since. */
  become(actor: Actor): void {
    this.caller = { actor, badToken: false };
    this.reader = undefined;
  }
}
