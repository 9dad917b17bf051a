/** How often one account, API token or address may ask, and how many sockets and event streams it may hold open. */
import { v7 as uuidv7 } from 'uuid';
import type { Caller, Origin } from '../auth/actor';
import { networkOf } from '../auth/network';
import { BAD_TOKENS_PER_MINUTE } from '../auth/sign-in-limit';
import type { Usage } from '../auth/usage';
import { Overload, type Report } from './errors';
import { refusalBy, type Refusal } from './pressure';

/** How long the refusals of one key share an id and a line of the log. */
const PERIOD_MS = 1000;
/** Nobody can tell when somebody closes what they have open. */
const STREAM_RETRY_SECONDS = 10;

/** 0: any number. */
export interface RateSettings {
  requestsPerMinute: { account: number; token: number; address: number };
  openStreams: { account: number; address: number };
}

type Kind = keyof typeof WHOSE;
/** A response or a socket; one that is closed already would be counted for ever. */
export interface Closes {
  once: (event: 'close', work: () => void) => unknown;
}

interface Bound {
  kind: Kind;
  who: string;
  limit: number;
}

export class RateLimits {
  private readonly open = new Map<string, number>();
  private refusals = new Map<string, Refusal>();
  private refusalsSince = 0;

  constructor(
    private readonly settings: RateSettings,
    private readonly usage: Usage,
    private readonly report: Report,
  ) {}

  /** Counts a request before anybody knows whose it is, or says why it is refused. */
  ofAddress({ address }: Origin): Refusal | null {
    return this.take({ kind: 'address', who: networkOf(address), limit: this.settings.requestsPerMinute.address });
  }

  /** Counts a request when it is known whose it is, or says why it is refused. */
  ofCaller({ actor, badToken }: Caller, { address }: Origin): Refusal | null {
    if (badToken) return this.take({ kind: 'bad tokens', who: networkOf(address), limit: BAD_TOKENS_PER_MINUTE });
    if (!actor) return null;
    const { account, token } = this.settings.requestsPerMinute;
    const { kind, id } = actor.credential;
    return kind === 'API_TOKEN'
      ? this.take({ kind: 'token', who: id, limit: token })
      : this.take({ kind: 'account', who: actor.userId, limit: account });
  }

  private take(bound: Bound): Refusal | null {
    const wait = bound.limit > 0 ? this.usage.take(keyOf(bound), bound.limit) : null;
    return wait === null ? null : this.refuse(bound, wait);
  }

  /** Counts a socket or an event stream from this address until it is closed, or says why it is refused. */
  streamOfAddress({ address }: Origin, stream: Closes): Refusal | null {
    return this.hold(
      { kind: 'address streams', who: networkOf(address), limit: this.settings.openStreams.address },
      stream,
    );
  }

  /** The same when it is known whose it is, if there is any. */
  streamOfCaller({ actor }: Caller, stream: Closes | undefined): Refusal | null {
    if (!actor || !stream) return null;
    return this.hold({ kind: 'account streams', who: actor.userId, limit: this.settings.openStreams.account }, stream);
  }

  private hold(bound: Bound, stream: Closes): Refusal | null {
    const key = keyOf(bound);
    const opened = this.open.get(key) ?? 0;
    if (bound.limit > 0 && opened >= bound.limit) return this.refuse(bound, STREAM_RETRY_SECONDS);
    this.open.set(key, opened + 1);
    stream.once('close', () => {
      const left = (this.open.get(key) ?? 1) - 1;
      if (left > 0) this.open.set(key, left);
      else this.open.delete(key);
    });
    return null;
  }

  private refuse(bound: Bound, retryAfterSeconds: number): Refusal {
    const now = performance.now();
    if (now - this.refusalsSince > PERIOD_MS) {
      this.refusals = new Map();
      this.refusalsSince = now;
    }
    const key = keyOf(bound);
    const known = this.refusals.get(key);
    if (known) return known;
    const extensions = { code: 'RATE_LIMITED', retryAfterSeconds, correlationId: uuidv7() };
    const message = `${WHOSE[bound.kind]} (the limit is ${bound.limit}). Try again in ${retryAfterSeconds} seconds.`;
    this.report('info', { ...extensions, ...bound }, 'requests were refused: too many of one kind');
    const refusal = refusalBy(429, retryAfterSeconds, [new Overload(message, { extensions })]);
    this.refusals.set(key, refusal);
    return refusal;
  }
}

const keyOf = ({ kind, who }: Bound) => `${kind} ${who}`;

const WHOSE = {
  account: 'Too many requests of your account within a minute',
  token: 'Too many requests with this API token within a minute',
  address: 'Too many requests from your address within a minute',
  'bad tokens': 'Too many requests with bad tokens from your address within a minute',
  'account streams': 'Your account has too many sockets and event streams open',
  'address streams': 'Your address has too many sockets and event streams open',
};
