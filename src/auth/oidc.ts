/** Tokens of an external OpenID provider: JWT access tokens and ID tokens that are for us. */
import { createHash } from 'node:crypto';
import { decode, verify, type JwtHeader, type JwtPayload } from 'jsonwebtoken';
import { z } from 'zod';
import { Role } from '../entities/enums';
import { ProviderKeys, type SigningAlgorithm } from './oidc-keys';

export interface OidcSettings {
  issuer: string;
  /** Our name at the provider, and those of the clients whose ID tokens are accepted. */
  audiences: readonly string[];
  /** A claim, or the path to one with dots between the steps. */
  roleClaim: string;
  /** Which values of the claim give which role; null: the provider has no say in roles. */
  roles: ReadonlyMap<string, keyof typeof Role> | null;
}

/** What the provider vouches for. */
export interface Vouched {
  subject: string;
  issuedAt: Date;
  /** When the token is no longer accepted. */
  expiresAt: Date;
  /** The same for all tokens of one login at the provider, if it says which that is. */
  login: Buffer;
  /** Null: not the provider's to say. */
  role: Role | null;
  email: string | null;
  name: string | null;
}

const MAX_LENGTH = 8192;
const LEEWAY_SECONDS = 30;
/** What lives longer is no token for a session, and a leak of it would be good for as long. */
const MAX_LIFETIME_SECONDS = 24 * 3600;
const TYPES = new Set(['jwt', 'at+jwt', 'application/at+jwt']);
/** Keycloak's word, in a claim, for what kind of token it is. */
const KINDS = new Set(['Bearer', 'ID']);

const text = z
  .string()
  .min(1)
  .max(255)
  .regex(/^\P{C}+$/u);
const payloads = z.object({
  iss: z.string(),
  sub: text,
  aud: z.union([z.string(), z.array(z.string()).max(50)]).transform((aud) => [aud].flat()),
  azp: z.string().optional(),
  exp: z.int(),
  iat: z.int(),
  sid: text.optional(),
  typ: z.string().optional(),
  email: z.unknown().optional(),
  email_verified: z.unknown().optional(),
  name: z.unknown().optional(),
  preferred_username: z.unknown().optional(),
});
type Payload = z.infer<typeof payloads>;

export class OidcTokens {
  private readonly keys: ProviderKeys;

  constructor(
    private readonly settings: OidcSettings,
    onKeysGone: () => void,
    onTrouble: (error: Error) => void,
  ) {
    this.keys = new ProviderKeys(settings.issuer, onKeysGone, onTrouble);
  }

  get issuer(): string {
    return this.settings.issuer;
  }

  /** Has the keys looked at again if it is time to; does not wait for it. */
  freshen(): void {
    this.keys.freshen();
  }

  /** Null for every token that is not whole, this provider's, for us and in time. Nobody is told which. */
  async verify(token: string): Promise<Vouched | null> {
    // All that can be judged without keys comes first: what fails here never makes us ask the provider.
    const unverified = read(token);
    if (!unverified || !this.acceptable(unverified.header, unverified.payload)) return null;
    const algorithm = unverified.header.alg as SigningAlgorithm;
    const key = await this.keys.find(unverified.header.kid, algorithm);
    if (!key) return null;
    try {
      const verified = verify(token, key, { algorithms: [algorithm], clockTolerance: LEEWAY_SECONDS }) as JwtPayload;
      return this.vouched(token, payloads.parse(verified), verified);
    } catch {
      return null;
    }
  }

  private acceptable(header: JwtHeader, claims: JwtPayload): boolean {
    const { alg, kid, typ = 'JWT' } = header as { alg: unknown; kid: unknown; typ: unknown };
    if (alg !== 'RS256' && alg !== 'ES256') return false;
    // What must be understood and is not makes the token invalid (RFC 7515); other types are for other purposes (RFC 8725).
    if ('crit' in header || typeof typ !== 'string' || !TYPES.has(typ.toLowerCase())) return false;
    if (kid !== undefined && typeof kid !== 'string') return false;
    // Tokens bound to a key of the client's, which we cannot see, and logout tokens.
    if ('cnf' in claims || 'events' in claims) return false;
    const payload = payloads.safeParse(claims).data;
    if (!payload || payload.iss !== this.settings.issuer || !KINDS.has(payload.typ ?? 'ID')) return false;
    return this.isForUs(payload, typ) && isInTime(payload);
  }

  /** Among several audiences ours alone says little: the token must have been given to one of ours, or be an access token. */
  private isForUs({ aud, azp }: Payload, typ: string): boolean {
    const ours = (audience: string | undefined) => this.settings.audiences.some((each) => each === audience);
    return aud.some(ours) && (aud.every(ours) || ours(azp) || /at\+jwt$/i.test(typ));
  }

  private vouched(token: string, payload: Payload, claims: JwtPayload): Vouched {
    // Without the login's id each token is one of its own. Its signature is left out: one that differs may be as good.
    const login = payload.sid === undefined ? `token ${token.replace(/\.[^.]*$/, '')}` : `login ${payload.sid}`;
    return {
      subject: payload.sub,
      issuedAt: new Date(payload.iat * 1000),
      expiresAt: new Date((payload.exp + LEEWAY_SECONDS) * 1000),
      login: createHash('sha256').update(login).digest(),
      role: this.roleOf(claims),
      email: emailOf(payload),
      name: nameOf(payload.name) ?? nameOf(payload.preferred_username),
    };
  }

  /** The highest of those that are given. */
  private roleOf(claims: JwtPayload): Role | null {
    const { roles, roleClaim } = this.settings;
    if (!roles) return null;
    const found = [valueAt(claims, roleClaim)].flat();
    const given = new Set(found.map((value) => (typeof value === 'string' ? roles.get(value) : undefined)));
    return [Role.ADMIN, Role.OPERATIONS].find((role) => given.has(role)) ?? Role.USER;
  }
}

function read(token: string): { header: JwtHeader; payload: JwtPayload } | null {
  if (token.length > MAX_LENGTH) return null;
  try {
    const decoded = decode(token, { complete: true });
    const whole = decoded !== null && typeof decoded.payload === 'object' && typeof decoded.header === 'object';
    return whole ? { header: decoded.header, payload: decoded.payload as JwtPayload } : null;
  } catch {
    return null;
  }
}

function isInTime({ iat, exp }: Payload): boolean {
  const now = Date.now() / 1000;
  return iat < now + LEEWAY_SECONDS && exp > now - LEEWAY_SECONDS && exp > iat && exp - iat <= MAX_LIFETIME_SECONDS;
}

/** Some names of claims have dots in them, as in a URL: the whole goes before the path. */
function valueAt(claims: object, path: string): unknown {
  if (Object.hasOwn(claims, path)) return (claims as Record<string, unknown>)[path];
  return path.split('.').reduce<unknown>((at, step) => {
    const inside = typeof at === 'object' && at !== null && Object.hasOwn(at, step);
    return inside ? (at as Record<string, unknown>)[step] : undefined;
  }, claims);
}

function emailOf({ email, email_verified: verified }: Payload): string | null {
  const good = typeof email === 'string' && /^[^\s@\p{C}]{1,64}@[^\s@\p{C}]{1,189}$/u.test(email);
  return good && verified !== false && verified !== 'false' ? email.toLowerCase() : null;
}

/** Without what cannot be seen: control characters, and those that turn the direction of writing. */
function nameOf(name: unknown): string | null {
  return (typeof name === 'string' && name.replace(/\p{C}/gu, '').trim().slice(0, 200)) || null;
}
