/** Guessing of passwords is stopped after a few failed tries. Whoever knows the password is never counted. */
import type { DataSource } from 'typeorm';
import { AppError, RequestError, UserErrorCode } from '../errors';
import type { Actor, Origin } from './actor';
import { Lines } from './lines';
import { networkOf } from './network';
import { Usage } from './usage';

/** How many tries may fail within so many minutes. */
export const FAILED_TRIES = { perAccount: 10, perAddress: 30, minutes: 10 } as const;
/** Refresh tokens cannot be guessed: this only bounds how many are answered as bad, per address and minute. */
export const BAD_TOKENS_PER_MINUTE = 600;

interface Counter {
  key: Buffer;
  limit: number;
}

export class SignInLimit {
  private readonly lines = new Lines();
  private readonly badTokens = new Usage();

  constructor(private readonly db: DataSource) {}

  /**
   * Runs `attempt` unless too many failed before. Known and unknown accounts are counted alike. Where the account's owner has
   * signed in before, tries at it have a counter of their own: those of strangers elsewhere cannot keep the owner out.
   */
  async signIn<T>(email: string, { address }: Origin, attempt: () => Promise<T>): Promise<T> {
    const network = networkOf(address);
    return this.lines.inTurn(`address ${network}`, async () => {
      const [keys] = await this.db.query<{ account: Buffer; address: Buffer }[]>(KEYS, [
        email.trim().replaceAll('\0', ' '), // Postgres refuses a text with a null character; no address has one
        network,
        address && network,
      ]);
      if (!keys) throw new Error('a statement without a table gives one row');
      const account = { key: keys.account, limit: FAILED_TRIES.perAccount };
      return this.lines.inTurn(`account ${account.key.toString('hex')}`, () =>
        this.counted([account, { key: keys.address, limit: FAILED_TRIES.perAddress }], attempt),
      );
    });
  }

  /** The current password that a change asks for is a guess too, of whoever holds this session. */
  async changePassword<T>({ credential }: Actor, attempt: () => Promise<T>): Promise<T> {
    const key = Buffer.from(`session ${credential.id}`);
    return this.lines.inTurn(`session ${credential.id}`, () =>
      this.counted([{ key, limit: FAILED_TRIES.perAccount }], attempt),
    );
  }

  /** Has a count of its own, and a good token is never refused: neither failed sign-ins nor others' bad tokens disturb sessions that run. */
  async refresh<T>({ address }: Origin, attempt: () => Promise<T>): Promise<T> {
    return attempt().catch((error: unknown) => {
      const wait = isFailedTry(error) ? this.badTokens.take(networkOf(address), BAD_TOKENS_PER_MINUTE) : null;
      throw wait === null ? error : tooMany('Too many bad refresh tokens came from your address.', wait);
    });
  }

  /** Nothing may come in between the look and the count: the caller has its turn at each of the counters. */
  private async counted<T>(counters: Counter[], attempt: () => Promise<T>): Promise<T> {
    const keys = counters.map(({ key }) => key);
    const failed = await this.db.query<{ key: Buffer; ages: number[] }[]>(FAILED, [keys]);
    const waits = counters.map(({ key, limit }) => {
      const oldest = failed.find((row) => row.key.equals(key))?.ages[limit - 1];
      return oldest === undefined ? 0 : FAILED_TRIES.minutes * 60 - oldest;
    });
    const wait = Math.ceil(Math.max(...waits));
    if (wait > 0) throw tooMany('Too many tries with a wrong password.', wait);
    try {
      return await attempt();
    } catch (error) {
      if (isFailedTry(error)) await this.db.query(COUNT, [keys]);
      throw error;
    }
  }
}

function isFailedTry(error: unknown): boolean {
  return error instanceof AppError && error.code === UserErrorCode.INVALID_CREDENTIALS;
}

function tooMany(what: string, wait: number): RequestError {
  return new RequestError('RATE_LIMITED', `${what} Try again in ${inWords(wait)}.`, { retryAfterSeconds: wait });
}

const inWords = (seconds: number) => (seconds < 90 ? `${seconds} seconds` : `${Math.ceil(seconds / 60)} minutes`);

/** E-mail addresses, which need not be anybody's, are not kept: only that the same one was tried. */
const KEYS = `
select sha256(convert_to('account ' || lower($1) || case when exists (
    select from users u join sessions s on s.user_id = u.id
    where u.email = lower($1) and u.removed_at is null and s.address::inet <<= $3::inet
  ) then ' at ' || $2 else '' end, 'UTF8')) as account,
  sha256(convert_to('address ' || $2, 'UTF8')) as address`;

const FAILED = `
select key, array_agg(extract(epoch from clock_timestamp() - at)::float8 order by at desc) as ages
from failed_tries, unnest(failed_at) at
where key = any($1) and at > clock_timestamp() - interval '${FAILED_TRIES.minutes} minutes'
group by key`;

/** Of each counter as many as the highest limit asks for; in the order of the keys, so that nobody waits for one another. */
const COUNT = `
insert into failed_tries (key, failed_at, last_failed_at)
select key, array[clock_timestamp()], clock_timestamp() from unnest($1::bytea[]) key order by key
on conflict (key) do update set last_failed_at = excluded.last_failed_at,
  failed_at = (excluded.failed_at || failed_tries.failed_at)[1:${FAILED_TRIES.perAddress}]`;
