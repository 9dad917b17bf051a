import { isUnauthenticated, post, sentence, type Answer, type Request } from './http';
import type { ExecutionResult } from 'graphql';

/** Who is signed in. */
export interface Person {
  id: string;
  displayName: string;
  email: string;
  role: string;
}

/** What the page shows of the session; `generation` grows with each sign-in and sign-out, not with new tokens. */
export interface SessionView {
  person: Person | null;
  busy: boolean;
  problem: string | null;
  generation: number;
}

interface Tokens {
  accessToken: string;
  refreshToken: string;
  renewAt: number;
}
interface SignedIn {
  accessToken: string | null;
  refreshToken: string | null;
  expiresAt: string | null;
  viewer: Person | null;
  userErrors: { message: string }[];
}

const SIGNED_IN = 'accessToken refreshToken expiresAt viewer { id displayName email role } userErrors { message }';
const SIGN_IN = `mutation SignIn($email: String!, $password: String!) {
  session: signIn(input: { email: $email, password: $password }) { ${SIGNED_IN} }
}`;
const REFRESH = `mutation RefreshSession($refreshToken: String!) {
  session: refreshSession(input: { refreshToken: $refreshToken }) { ${SIGNED_IN} }
}`;
const SIGN_OUT = 'mutation SignOut { signOut { userErrors { message } } }';

const STORED = 'keyframe:session';
const EARLY_MS = 60_000;
const RETRY_MS = 15_000;
const NOBODY: SessionView = { person: null, busy: false, problem: null, generation: 0 };

/** The one session of this page: signs in and out, and renews the tokens before they end. */
export class Session {
  #view = NOBODY;
  #tokens: Tokens | null = null;
  #listeners = new Set<() => void>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor() {
    this.#takeStored();
    addEventListener('pagehide', () => this.#store());
    addEventListener('pageshow', () => sessionStorage.removeItem(STORED));
  }

  readonly view = (): SessionView => this.#view;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Signs in; whoever was signed in before is signed out once that has worked. */
  signIn(email: string, password: string): Promise<void> {
    return this.#exclusive(async () => {
      const before = this.#tokens;
      this.#show({ busy: true, problem: null });
      try {
        const { session, serverTime } = await ask(SIGN_IN, { email, password });
        this.#adopt(session, serverTime, this.#view.generation + 1);
        if (before) await end(before).catch(() => undefined); // the old session ends by itself in time
      } catch (error) {
        this.#show({ problem: sentence(error) });
      }
      this.#show({ busy: false });
    });
  }

  /** Signs out on the server and forgets the tokens, also when the server cannot be told. */
  signOut(): Promise<void> {
    return this.#exclusive(async () => {
      const tokens = this.#tokens;
      if (!tokens) return;
      this.#forget(null);
      await end(tokens).catch((error: unknown) => this.report(error));
    });
  }

  /** Shows an error in the bar. */
  report(error: unknown): void {
    this.#show({ problem: sentence(error) });
  }

  /** The `Authorization` value to send now, renewed first where its time has come; null when nobody is signed in. */
  async authorization(): Promise<string | null> {
    if (this.#tokens && Date.now() >= this.#tokens.renewAt) await this.renew();
    return this.#tokens ? `Bearer ${this.#tokens.accessToken}` : null;
  }

  /** Sends a request as this person; where the server no longer takes the token, once more with a new one. */
  async request<Data>(request: Request, headers: Record<string, string> = {}): Promise<ExecutionResult<Data>> {
    const own = new Headers(headers);
    const used = own.has('authorization') ? null : await this.authorization(); // a header typed by hand goes first
    const send = async (authorization: string | null): Promise<ExecutionResult<Data>> => {
      if (authorization) own.set('authorization', authorization);
      return (await post<Data>(request, own)).result;
    };
    const result = await send(used);
    if (used === null || !isUnauthenticated(result)) return result;
    await this.renew(used);
    const renewed = await this.authorization();
    return renewed === null ? result : send(renewed);
  }

  /** Exchanges the tokens for new ones, unless that has happened since `used` was handed out. */
  renew(used = this.#tokens && `Bearer ${this.#tokens.accessToken}`): Promise<void> {
    // A refresh token may be used once; a second use ends the session. So calls queue, and later ones find it done.
    return this.#exclusive(async () => {
      const tokens = this.#tokens;
      if (!tokens || used !== `Bearer ${tokens.accessToken}`) return;
      try {
        const { session, serverTime } = await ask(REFRESH, { refreshToken: tokens.refreshToken });
        this.#adopt(session, serverTime, this.#view.generation);
      } catch (error) {
        if (error instanceof Refused) this.#forget('Your session has ended. Please sign in again.');
        else {
          this.report(error);
          this.#schedule(RETRY_MS);
        }
      }
    });
  }

  #adopt(session: SignedIn, serverTime: number, generation: number): void {
    const { accessToken, refreshToken, expiresAt, viewer } = session;
    if (!accessToken || !refreshToken || !expiresAt || !viewer)
      throw new Error('The server answered without a session.');
    const lifetime = Date.parse(expiresAt) - serverTime;
    const wait = Math.max(lifetime > 2 * EARLY_MS ? lifetime - EARLY_MS : lifetime / 2, 1_000);
    this.#tokens = { accessToken, refreshToken, renewAt: Date.now() + wait };
    this.#schedule(wait);
    this.#show({ person: viewer, problem: null, generation });
  }

  #forget(problem: string | null): void {
    clearTimeout(this.#timer);
    this.#tokens = null;
    this.#show({ person: null, problem, generation: this.#view.generation + 1 });
  }

  #schedule(wait: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.renew(), wait);
  }

  #exclusive(work: () => Promise<void>): Promise<void> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => undefined);
    return done;
  }

  #show(change: Partial<SessionView>): void {
    this.#view = { ...this.#view, ...change };
    for (const listener of this.#listeners) listener();
  }

  // The tokens lie in storage only while the page reloads. A duplicated tab gets a copy of the storage, and two pages
  // with one refresh token would end each other's session.
  #store(): void {
    if (this.#tokens)
      sessionStorage.setItem(STORED, JSON.stringify({ tokens: this.#tokens, person: this.#view.person }));
  }

  #takeStored(): void {
    const stored = sessionStorage.getItem(STORED);
    sessionStorage.removeItem(STORED);
    if (!stored) return;
    const { tokens, person } = JSON.parse(stored) as { tokens: Tokens; person: Person };
    this.#tokens = tokens;
    this.#view = { ...NOBODY, person, generation: 1 };
    this.#schedule(Math.max(tokens.renewAt - Date.now(), 0));
  }
}

/** The server's own no, as opposed to a question that never reached it. */
class Refused extends Error {}

async function ask(
  query: string,
  variables: Record<string, string>,
): Promise<{ session: SignedIn; serverTime: number }> {
  const { result, serverTime }: Answer<{ session: SignedIn }> = await post({ query, variables });
  const session = result.data?.session;
  const refusal = session?.userErrors[0];
  if (refusal) throw new Refused(refusal.message);
  if (!session) throw new Error(result.errors?.[0]?.message ?? 'The server answered without a session.');
  return { session, serverTime };
}

async function end({ accessToken }: Tokens): Promise<void> {
  const { result } = await post<{ signOut: { userErrors: { message: string }[] } }>(
    { query: SIGN_OUT },
    new Headers({ authorization: `Bearer ${accessToken}` }),
  );
  const problem = result.data?.signOut.userErrors[0] ?? (isUnauthenticated(result) ? undefined : result.errors?.[0]);
  if (problem) throw new Error(problem.message);
}
