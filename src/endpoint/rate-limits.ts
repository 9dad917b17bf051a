/** How often one account, API token or address may ask, and how many sockets and event streams it may hold open. */
import { v7 as uuidv7 } from 'uuid';
import type { Caller, Origin } from '../auth/actor';
import { networkOf } from '../auth/network';
import { BAD_TOKENS_PER_MINUTE } from '../auth/sign-in-limit';
import type { Usage } from '../auth/usage';
import type { Report } from './errors';
import { Overload, refusalBy, type Refusal } from './pressure';

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
/** A response or a socket. */
interface Closes {
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

  /** Counts a request, or says why it is refused. Whatever is refused counts against nobody. */
  take({ actor, badToken }: Caller, { address }: Origin): Refusal | null {
    const { account, token, address: ofAddress } = this.settings.requestsPerMinute;
    const network = networkOf(address);
    const bounds: Bound[] = [{ kind: 'address', who: network, limit: ofAddress }];
    if (badToken) bounds.push({ kind: 'bad tokens', who: network, limit: BAD_TOKENS_PER_MINUTE });
    if (actor?.credential.kind === 'API_TOKEN') bounds.push({ kind: 'token', who: actor.credential.id, limit: token });
    else if (actor) bounds.push({ kind: 'account', who: actor.userId, limit: account });
    const kept = bounds.filter(({ limit }) => limit > 0);
    for (const bound of kept) {
      const wait = this.usage.wait(keyOf(bound), bound.limit);
      if (wait !== null) return this.refuse(bound, wait);
    }
    for (const bound of kept) this.usage.add(keyOf(bound), bound.limit);
    return null;
  }

  /** Counts what stays open, a socket or an event stream, until it is closed; or says why it is refused. */
  stream({ actor }: Caller, { address }: Origin | { address?: undefined }, until: Closes): Refusal | null {
    const { account, address: ofAddress } = this.settings.openStreams;
    const bounds: Bound[] = [];
    if (address !== undefined) bounds.push({ kind: 'address streams', who: networkOf(address), limit: ofAddress });
    if (actor) bounds.push({ kind: 'account streams', who: actor.userId, limit: account });
    const full = bounds.find((bound) => bound.limit > 0 && this.opened(bound) >= bound.limit);
    if (full) return this.refuse(full, STREAM_RETRY_SECONDS);
    for (const bound of bounds) this.open.set(keyOf(bound), this.opened(bound) + 1);
    until.once('close', () => {
      for (const bound of bounds) {
        if (this.opened(bound) > 1) this.open.set(keyOf(bound), this.opened(bound) - 1);
        else this.open.delete(keyOf(bound));
      }
    });
    return null;
  }

  private opened(bound: Bound): number {
    return this.open.get(keyOf(bound)) ?? 0;
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
