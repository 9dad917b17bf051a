/** The environment, judged once: a frozen Config, or every fault at a time. Nothing else reads `process.env`. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import proxyAddr from '@fastify/proxy-addr';
import { z } from 'zod';
import { LIMIT_NAMES, LIMITS, variableOf, type Limits } from './limits';

export type ProcessRole = 'all' | 'api' | 'worker' | 'migrate';

type RoleName = 'USER' | 'OPERATIONS' | 'ADMIN';

export interface IncusConfig {
  socket?: string;
  urls?: string[];
  clientCert?: string;
  clientKey?: string;
  serverCert?: string;
  projects: string[] | '*';
}

export interface Config {
  role: ProcessRole;
  host: string;
  port: number;
  /** Holds the embedded database, the local engine and generated secrets; made only when one of them is needed. */
  dataFolder: string;
  /** Null: the embedded Postgres. `migrationUrl` is the owner's, `url` the serving role's. */
  database: { url: string; migrationUrl: string } | null;
  databasePoolSize: number;
  /** Null: the local engine. */
  incus: IncusConfig | null;
  /** Seconds between two full looks at the engine. */
  observeIntervalSeconds: number;
  /** How many operations a worker process works on at once. */
  workerConcurrency: number;
  /** Null: a secret made once and kept in the data folder. */
  jwt: { secret: string } | { privateKeyFile: string; publicKeyFile: string } | null;
  /** What signed access tokens before `jwt` did, and is still believed. */
  jwtPrevious: { secrets: string[]; publicKeyFiles: string[] };
  /** Signs the audit log. Null: derived from the key of the access tokens, or made once and kept in the data folder. */
  auditSecret: string | null;
  /** Those before it, whose signatures are still accepted. */
  auditPreviousSecrets: string[];
  jwtIssuer: string;
  jwtAudience: string;
  /** Null: only accounts of our own. */
  oidc: {
    issuer: string;
    audiences: string[];
    roleClaim: string;
    roles: ReadonlyMap<string, RoleName> | null;
  } | null;
  /** How many proxies before us, or which addresses, are believed about the client's address. */
  trustProxy: number | string[];
  /** Requests a minute; 0: any number. */
  requestsPerMinute: { account: number; token: number; address: number };
  /** Sockets and event streams open at once in one process; 0: any number. */
  openStreams: { account: number; address: number };
  supportContact: string;
  /** Demo accounts are made and their passwords shown. */
  demo: boolean;
  logLevel: string;
  limits: Limits;
  /** Whether clients may ask for the schema. */
  introspection: boolean;
  /** Whose pages may ask from a browser. */
  corsOrigins: string[];
  /** Documents by the SHA-256 of their text; `alone`: nothing else is answered. */
  trusted: { texts: Record<string, string>; alone: boolean } | null;
}

/** Thrown with every fault found, a sentence each. The process exits 78 (EX_CONFIG). */
export class ConfigError extends Error {
  constructor(readonly faults: string[]) {
    super(`The configuration is wrong:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`);
    this.name = 'ConfigError';
  }
}

const url = (...protocols: string[]) =>
  z.string().refine((text) => URL.canParse(text) && protocols.includes(new URL(text).protocol), {
    message: `must be a URL that starts with ${protocols.map((protocol) => `${protocol}//`).join(' or ')}`,
  });
const whole = (low: number, high: number) => {
  const message = `must be a whole number from ${low} to ${high}`;
  return z
    .string()
    .regex(/^\d{1,9}$/, { message })
    .transform(Number)
    .refine((n) => n >= low && n <= high, { message });
};
const file = z.string().refine(isReadable, { message: 'must be the path of a file that this process can read' });
const key = (kind: 'private' | 'public') =>
  z.string().refine((path) => readKey(kind, path) !== null, {
    message: `must be the path of a readable PEM file with a ${kind} key (RSA of at least 2048 bits, or EC on P-256)`,
  });
const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean),
);

const LONG_ENOUGH = 'must have at least 32 characters';
const proxies = z
  .string()
  .transform((text) => (/^\d+$/.test(text) ? Number(text) : text.split(',').map((part) => part.trim())))
  .refine((trust) => (typeof trust === 'number' ? trust < 100 : areAddresses(trust)), {
    message: 'must be a number of proxies, or addresses and networks like 10.0.0.0/8 with commas between them',
  });
const zeroOrOne = z.enum(['0', '1'], { message: 'must be 0 or 1' });
const origin = z.string().refine((text) => URL.canParse(text) && new URL(text).origin === text, {
  message: 'must be a list of origins such as https://console.example.com, without a path; * is none',
});
const texts = z.record(z.string().regex(/^[0-9a-f]{64}$/), z.string());

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

const PROVIDER_URL = 'must be a https:// URL (http:// on loopback only) without query, fragment and password';
const ROLE_PAIR = /^(.+)=(USER|OPERATIONS|ADMIN)$/;
const ROLE_PAIRS = 'must be a list like staff=OPERATIONS,chiefs=ADMIN, of values of the claim and the roles they give';

const variables = z.object({
  HOST: z.string().default('127.0.0.1'),
  PORT: whole(0, 65_535).default(4000),
  KEYFRAME_DATA_DIR: z.string().optional(),
  KEYFRAME_DEMO: zeroOrOne.optional(),
  DATABASE_URL: url('postgres:', 'postgresql:').optional(),
  DATABASE_MIGRATION_URL: url('postgres:', 'postgresql:').optional(),
  DATABASE_POOL_SIZE: whole(2, 1000).default(10),
  INCUS_SOCKET: z.string().optional(),
  INCUS_URL: list.pipe(z.array(url('https:')).min(1, { message: 'must name at least one URL' })).optional(),
  INCUS_CLIENT_CERT: file.optional(),
  INCUS_CLIENT_KEY: file.optional(),
  INCUS_SERVER_CERT: file.optional(),
  INCUS_PROJECTS: list
    .pipe(z.array(z.string()).min(1, { message: 'must name at least one project, or be *' }))
    .default(['default']),
  OBSERVE_INTERVAL_SECONDS: whole(1, 3600).default(60),
  WORKER_CONCURRENCY: whole(1, 100).default(8),
  JWT_SECRET: z.string().min(32, { message: LONG_ENOUGH }).optional(),
  JWT_PRIVATE_KEY: key('private').optional(),
  JWT_PUBLIC_KEY: key('public').optional(),
  JWT_PREVIOUS_SECRETS: list
    .pipe(
      z
        .array(z.string().min(32, { message: `${LONG_ENOUGH} in each` }))
        .min(1, { message: 'must name at least one secret' }),
    )
    .optional(),
  JWT_PREVIOUS_PUBLIC_KEYS: list
    .pipe(z.array(key('public')).min(1, { message: 'must name at least one file' }))
    .optional(),
  AUDIT_SECRET: z.string().min(32, { message: LONG_ENOUGH }).optional(),
  AUDIT_PREVIOUS_SECRETS: list.pipe(z.array(z.string().min(32, { message: `${LONG_ENOUGH} in each` }))).default([]),
  JWT_ISSUER: z.string().default('keyframe'),
  JWT_AUDIENCE: z.string().default('keyframe'),
  OIDC_ISSUER: z.string().refine(isProviderUrl, { message: PROVIDER_URL }).optional(),
  OIDC_AUDIENCE: list.pipe(z.array(z.string()).min(1, { message: 'must name at least one audience' })).optional(),
  OIDC_ROLE_CLAIM: z.string().default('roles'),
  OIDC_ROLE_MAP: list
    .pipe(z.array(z.string().regex(ROLE_PAIR, { message: ROLE_PAIRS })).min(1, { message: ROLE_PAIRS }))
    .optional(),
  TRUST_PROXY: proxies.default(0),
  RATE_LIMIT_PER_MINUTE_ACCOUNT: whole(0, 100_000_000).default(300_000),
  RATE_LIMIT_PER_MINUTE_TOKEN: whole(0, 100_000_000).default(300_000),
  RATE_LIMIT_PER_MINUTE_ADDRESS: whole(0, 100_000_000).default(600_000),
  OPEN_STREAMS_PER_ACCOUNT: whole(0, 1_000_000).default(1000),
  OPEN_STREAMS_PER_ADDRESS: whole(0, 1_000_000).default(5000),
  SUPPORT_CONTACT: z.string().default('Ask your administrator'),
  LOG_LEVEL: z.enum(LOG_LEVELS, { message: `must be one of ${LOG_LEVELS.join(', ')}` }).default('info'),
  INTROSPECTION: zeroOrOne.default('1'),
  CORS_ORIGINS: list.pipe(z.array(origin)).default([]),
  TRUSTED_DOCUMENTS: file.transform(readTexts).optional(),
  TRUSTED_DOCUMENTS_ONLY: zeroOrOne.default('0'),
  ...limitVariables(),
  XDG_DATA_HOME: z.string().optional(),
});
type Variables = z.infer<typeof variables>;

/** A setting for each limit. */
function limitVariables(): Record<string, z.ZodDefault<ReturnType<typeof whole>>> {
  const entries = LIMIT_NAMES.map((name) => {
    const { low, high, standard } = LIMITS[name];
    return [variableOf(name), whole(low, high).default(standard)] as const;
  });
  return Object.fromEntries(entries);
}

/** The names of every variable that this program reads, for documentation and for the test of the compose file. */
export const VARIABLE_NAMES = Object.keys(variables.shape);

/** Reads the environment (an empty variable counts as absent) for a process of this role. */
export function readConfig(role: ProcessRole, environment: NodeJS.ProcessEnv = process.env): Readonly<Config> {
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ''));
  const parsed = variables.safeParse(given);
  const faults = parsed.success ? [] : parsed.error.issues.map((issue) => `${String(issue.path[0])} ${issue.message}.`);
  // What variables demand of one another is judged on what was given, so that all faults come at once.
  faults.push(...crossFaults(role, given));
  if (!parsed.success || faults.length > 0) throw new ConfigError(faults);
  return Object.freeze(toConfig(role, parsed.data));
}

function crossFaults(role: ProcessRole, given: NodeJS.ProcessEnv): string[] {
  const faults: string[] = [];
  const must = (holds: boolean, sentence: string) => {
    if (!holds) faults.push(sentence);
  };
  must(!given.AUDIT_SECRET?.includes(','), 'AUDIT_SECRET must hold no comma: they separate AUDIT_PREVIOUS_SECRETS.');
  const { DATABASE_URL, INCUS_SOCKET, INCUS_URL, INCUS_CLIENT_CERT, INCUS_CLIENT_KEY, INCUS_SERVER_CERT } = given;
  must(!(INCUS_SOCKET && INCUS_URL), 'INCUS_SOCKET and INCUS_URL exclude each other: name one way to the engine.');
  must(
    !INCUS_URL || Boolean(INCUS_CLIENT_CERT && INCUS_CLIENT_KEY && INCUS_SERVER_CERT),
    'INCUS_URL needs INCUS_CLIENT_CERT, INCUS_CLIENT_KEY and INCUS_SERVER_CERT (paths of PEM files).',
  );
  must(!given.DATABASE_MIGRATION_URL || Boolean(DATABASE_URL), 'DATABASE_MIGRATION_URL needs DATABASE_URL beside it.');
  must(
    Boolean(given.JWT_PRIVATE_KEY) === Boolean(given.JWT_PUBLIC_KEY),
    'JWT_PRIVATE_KEY and JWT_PUBLIC_KEY go together.',
  );
  must(areOnePair(given.JWT_PRIVATE_KEY, given.JWT_PUBLIC_KEY), 'JWT_PUBLIC_KEY does not belong to JWT_PRIVATE_KEY.');
  must(!(given.JWT_SECRET && given.JWT_PRIVATE_KEY), 'JWT_SECRET and JWT_PRIVATE_KEY exclude each other.');
  must(
    given.TRUSTED_DOCUMENTS_ONLY !== '1' || Boolean(given.TRUSTED_DOCUMENTS),
    'TRUSTED_DOCUMENTS_ONLY needs TRUSTED_DOCUMENTS beside it: nothing would be answered.',
  );
  must(
    role === 'all' || Boolean(DATABASE_URL),
    `--role ${role} needs DATABASE_URL: only a process of role "all" runs the embedded database.`,
  );
  must(
    role !== 'api' || Boolean(given.JWT_SECRET ?? given.JWT_PRIVATE_KEY),
    '--role api needs JWT_SECRET or JWT_PRIVATE_KEY: several processes must share the key.',
  );
  const { OIDC_ISSUER } = given;
  must(
    !OIDC_ISSUER || Boolean(given.OIDC_AUDIENCE),
    'OIDC_ISSUER needs OIDC_AUDIENCE: the audience of its tokens that are for us.',
  );
  for (const name of ['OIDC_AUDIENCE', 'OIDC_ROLE_MAP'])
    must(!given[name] || Boolean(OIDC_ISSUER), `${name} needs OIDC_ISSUER beside it.`);
  must(
    !OIDC_ISSUER || OIDC_ISSUER !== given.JWT_ISSUER,
    'JWT_ISSUER and OIDC_ISSUER must differ: tokens of ours are not the provider’s.',
  );
  return faults;
}

function toConfig(role: ProcessRole, env: Variables): Config {
  const usesIncus = Boolean(env.INCUS_SOCKET ?? env.INCUS_URL);
  return {
    role,
    host: env.HOST,
    port: env.PORT,
    dataFolder: resolve(env.KEYFRAME_DATA_DIR ?? join(userDataFolder(env), 'keyframe')),
    database: env.DATABASE_URL
      ? { url: env.DATABASE_URL, migrationUrl: env.DATABASE_MIGRATION_URL ?? env.DATABASE_URL }
      : null,
    databasePoolSize: env.DATABASE_POOL_SIZE,
    incus: usesIncus ? toIncus(env) : null,
    observeIntervalSeconds: env.OBSERVE_INTERVAL_SECONDS,
    workerConcurrency: env.WORKER_CONCURRENCY,
    jwt: toJwt(env),
    jwtPrevious: {
      secrets: env.JWT_PREVIOUS_SECRETS ?? [],
      publicKeyFiles: env.JWT_PREVIOUS_PUBLIC_KEYS ?? [],
    },
    auditSecret: env.AUDIT_SECRET ?? null,
    auditPreviousSecrets: env.AUDIT_PREVIOUS_SECRETS,
    jwtIssuer: env.JWT_ISSUER,
    jwtAudience: env.JWT_AUDIENCE,
    oidc: toOidc(env),
    trustProxy: env.TRUST_PROXY,
    requestsPerMinute: {
      account: env.RATE_LIMIT_PER_MINUTE_ACCOUNT,
      token: env.RATE_LIMIT_PER_MINUTE_TOKEN,
      address: env.RATE_LIMIT_PER_MINUTE_ADDRESS,
    },
    openStreams: { account: env.OPEN_STREAMS_PER_ACCOUNT, address: env.OPEN_STREAMS_PER_ADDRESS },
    supportContact: env.SUPPORT_CONTACT,
    demo: env.KEYFRAME_DEMO ? env.KEYFRAME_DEMO === '1' : !env.DATABASE_URL && !usesIncus,
    logLevel: env.LOG_LEVEL,
    limits: toLimits(env),
    introspection: env.INTROSPECTION === '1',
    corsOrigins: env.CORS_ORIGINS,
    trusted: env.TRUSTED_DOCUMENTS ? { texts: env.TRUSTED_DOCUMENTS, alone: env.TRUSTED_DOCUMENTS_ONLY === '1' } : null,
  };
}

function toLimits(env: Record<string, unknown>): Limits {
  return Object.fromEntries(LIMIT_NAMES.map((name) => [name, env[variableOf(name)]])) as Limits;
}

/** A JSON file of texts by their SHA-256. Whether they are good documents is judged when there is a schema. */
function readTexts(path: string, context: z.RefinementCtx): Record<string, string> {
  try {
    const parsed = texts.safeParse(JSON.parse(readFileSync(path, 'utf8')));
    if (parsed.success) return parsed.data;
  } catch {
    // Is said below.
  }
  context.addIssue('must be a JSON file: an object of GraphQL documents by the SHA-256 of their text, in hexadecimal');
  return z.NEVER;
}

/** By the XDG specification, which has relative paths ignored. */
function userDataFolder({ XDG_DATA_HOME }: Variables): string {
  return XDG_DATA_HOME && isAbsolute(XDG_DATA_HOME) ? XDG_DATA_HOME : join(homeFolder(), '.local', 'share');
}

/** A user that the system does not know, as in some containers, has none; whether that matters is seen when it is used. */
function homeFolder(): string {
  try {
    return homedir();
  } catch {
    return '/nonexistent';
  }
}

function toIncus(env: Variables): IncusConfig {
  return {
    projects: env.INCUS_PROJECTS.includes('*') ? '*' : env.INCUS_PROJECTS,
    ...(env.INCUS_SOCKET && { socket: env.INCUS_SOCKET }),
    ...(env.INCUS_URL && { urls: env.INCUS_URL }),
    ...(env.INCUS_CLIENT_CERT && { clientCert: env.INCUS_CLIENT_CERT }),
    ...(env.INCUS_CLIENT_KEY && { clientKey: env.INCUS_CLIENT_KEY }),
    ...(env.INCUS_SERVER_CERT && { serverCert: env.INCUS_SERVER_CERT }),
  };
}

function toJwt(env: Variables): Config['jwt'] {
  if (env.JWT_SECRET) return { secret: env.JWT_SECRET };
  if (env.JWT_PRIVATE_KEY && env.JWT_PUBLIC_KEY) {
    return { privateKeyFile: env.JWT_PRIVATE_KEY, publicKeyFile: env.JWT_PUBLIC_KEY };
  }
  return null;
}

function toOidc(env: Variables): Config['oidc'] {
  if (!env.OIDC_ISSUER || !env.OIDC_AUDIENCE) return null;
  const pairs = env.OIDC_ROLE_MAP?.map((pair) => {
    const [, value = '', role] = ROLE_PAIR.exec(pair) ?? [];
    return [value.trim(), role as RoleName] as const;
  });
  return {
    issuer: env.OIDC_ISSUER,
    audiences: env.OIDC_AUDIENCE,
    roleClaim: env.OIDC_ROLE_CLAIM,
    roles: pairs ? new Map(pairs) : null,
  };
}

/** What is signed over plain HTTP could be signed by anybody on the way. */
function isProviderUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, search, hash, username, password } = new URL(text);
  const onLoopback = ['127.0.0.1', '[::1]', 'localhost'].includes(hostname);
  return (protocol === 'https:' || (protocol === 'http:' && onLoopback)) && !(search || hash || username || password);
}

function areAddresses(list: string[]): boolean {
  try {
    proxyAddr.compile(list); // knows names of ranges too; but a number is an address to it
    return !list.some((each) => /^\d+$/.test(each));
  } catch {
    return false;
  }
}

/** Null when the file is none that tokens can be signed or verified with. */
function readKey(kind: 'private' | 'public', path: string): KeyObject | null {
  try {
    const pem = readFileSync(path);
    const found = kind === 'private' ? createPrivateKey(pem) : createPublicKey(pem);
    const { modulusLength = 0, namedCurve } = found.asymmetricKeyDetails ?? {};
    const fits = found.asymmetricKeyType === 'rsa' ? modulusLength >= 2048 : namedCurve === 'prime256v1';
    return fits ? found : null;
  } catch {
    return null;
  }
}

/** Also true where one is missing or cannot be read, which is another fault. */
function areOnePair(privatePath = '', publicPath = ''): boolean {
  const [ours, theirs] = [readKey('private', privatePath), readKey('public', publicPath)];
  return !ours || !theirs || createPublicKey(ours.export({ type: 'pkcs8', format: 'pem' })).equals(theirs);
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return !statSync(path).isDirectory();
  } catch {
    return false;
  }
}
