/** What the environment may say, what is made of it, and every fault it may have, at once. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { ConfigError, readConfig, VARIABLE_NAMES, type ProcessRole } from '../src/config';
import { LIMITS } from '../src/limits';

const folder = mkdtempSync(join(tmpdir(), 'keyframe-config-'));
const pem = join(folder, 'some.pem');
writeFileSync(pem, 'some');
const keep = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
function keys(name: string, pair: { publicKey: KeyObject; privateKey: KeyObject }): Record<string, string> {
  return {
    JWT_PRIVATE_KEY: keep(`${name}.pem`, pair.privateKey.export({ type: 'pkcs8', format: 'pem' }) as string),
    JWT_PUBLIC_KEY: keep(`${name}.pub`, pair.publicKey.export({ type: 'spki', format: 'pem' }) as string),
  };
}
const PROVIDER_URL =
  'OIDC_ISSUER must be a https:// URL (http:// on loopback only) without query, fragment and password.';
const ROLE_PAIRS =
  'OIDC_ROLE_MAP must be a list like staff=OPERATIONS,chiefs=ADMIN, of values of the claim and the roles they give.';
const rsa = keys('rsa', generateKeyPairSync('rsa', { modulusLength: 2048 }));
const ec = keys('ec', generateKeyPairSync('ec', { namedCurve: 'P-256' }));
const weak = keys('weak', generateKeyPairSync('rsa', { modulusLength: 1024 }));
const curve = keys('curve', generateKeyPairSync('ec', { namedCurve: 'P-384' }));
const unfit = (kind: string): string =>
  `JWT_${kind.toUpperCase()}_KEY must be the path of a readable PEM file with a ${kind} key (RSA of at least 2048 bits, or EC on P-256).`;
const trusted = keep('trusted.json', JSON.stringify({ ['a'.repeat(64)]: '{ x }' }));
const noOrigin =
  'CORS_ORIGINS must be a list of origins such as https://console.example.com, without a path; * is none.';
const noDocuments =
  'TRUSTED_DOCUMENTS must be a JSON file: an object of GraphQL documents by the SHA-256 of their text, in hexadecimal.';
afterAll(() => rmSync(folder, { recursive: true }));

const DATABASE_URL = 'postgres://keyframe:x@db.test/keyframe';
const INCUS_URL = 'https://one.test:8443';
const oidc = { OIDC_ISSUER: 'https://idp.test/realm', OIDC_AUDIENCE: 'us' };
const certificates = { INCUS_CLIENT_CERT: pem, INCUS_CLIENT_KEY: pem, INCUS_SERVER_CERT: pem };
const secret = 'x'.repeat(32);

function faultsOf(env: Record<string, string>, role: ProcessRole = 'all'): string[] {
  try {
    readConfig(role, env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
}

test('nothing configured: loopback, port 4000, both embedded defaults, demo accounts, all in the data folder of the user', () => {
  const config = readConfig('all', {});
  expect(config).toEqual({
    role: 'all',
    host: '127.0.0.1',
    port: 4000,
    dataFolder: join(homedir(), '.local/share/keyframe'),
    database: null,
    databasePoolSize: 10,
    incus: null,
    observeIntervalSeconds: 60,
    workerConcurrency: 8,
    jwt: null,
    auditSecret: null,
    auditPreviousSecrets: [],
    jwtIssuer: 'keyframe',
    jwtPrevious: { secrets: [], publicKeyFiles: [] },
    jwtAudience: 'keyframe',
    oidc: null,
    trustProxy: 0,
    requestsPerMinute: { account: 300_000, token: 300_000, address: 600_000 },
    openStreams: { account: 1000, address: 5000 },
    supportContact: 'Ask your administrator',
    demo: true,
    logLevel: 'info',
    limits: Object.fromEntries(Object.entries(LIMITS).map(([name, { standard }]) => [name, standard])),
    introspection: true,
    corsOrigins: [],
    trusted: null,
  });
  expect(Object.isFrozen(config)).toBe(true);
});

test('an empty variable is an absent one', () => {
  const empty = Object.fromEntries(VARIABLE_NAMES.map((name) => [name, '']));
  expect(readConfig('all', empty)).toEqual(readConfig('all', {}));
});

test.each<[Record<string, string>, object]>([
  [
    { HOST: '::', PORT: '0' },
    { host: '::', port: 0 },
  ],
  [{ PORT: '65535' }, { port: 65_535 }],
  [{ XDG_DATA_HOME: '/srv/data' }, { dataFolder: '/srv/data/keyframe' }],
  [{ XDG_DATA_HOME: 'relative' }, { dataFolder: join(homedir(), '.local/share/keyframe') }],
  [{ XDG_DATA_HOME: '/srv/data', KEYFRAME_DATA_DIR: 'here' }, { dataFolder: join(process.cwd(), 'here') }],
  [{ DATABASE_URL }, { database: { url: DATABASE_URL, migrationUrl: DATABASE_URL }, demo: false }],
  [
    { DATABASE_URL: 'postgresql://db.test/a', DATABASE_MIGRATION_URL: DATABASE_URL },
    { database: { url: 'postgresql://db.test/a', migrationUrl: DATABASE_URL } },
  ],
  [{ DATABASE_URL, KEYFRAME_DEMO: '1' }, { demo: true }],
  [{ KEYFRAME_DEMO: '0' }, { demo: false }],
  [{ INCUS_SOCKET: '/run/incus.sock' }, { incus: { socket: '/run/incus.sock', projects: ['default'] }, demo: false }],
  [{ INCUS_SOCKET: '/run/incus.sock', KEYFRAME_DEMO: '1' }, { demo: true }],
  [{ INCUS_SOCKET: '/s', INCUS_PROJECTS: 'a, b,' }, { incus: { socket: '/s', projects: ['a', 'b'] } }],
  [{ INCUS_SOCKET: '/s', INCUS_PROJECTS: 'a,*' }, { incus: { socket: '/s', projects: '*' } }],
  [
    { INCUS_URL: `${INCUS_URL}, https://two.test`, ...certificates },
    {
      incus: {
        urls: [INCUS_URL, 'https://two.test'],
        projects: ['default'],
        clientCert: pem,
        clientKey: pem,
        serverCert: pem,
      },
    },
  ],
  [{ JWT_SECRET: secret }, { jwt: { secret }, jwtPrevious: { secrets: [], publicKeyFiles: [] } }],
  [
    { JWT_PREVIOUS_SECRETS: `${secret}, ${secret}x`, JWT_PREVIOUS_PUBLIC_KEYS: rsa['JWT_PUBLIC_KEY'] ?? '' },
    { jwtPrevious: { secrets: [secret, `${secret}x`], publicKeyFiles: [rsa['JWT_PUBLIC_KEY']] } },
  ],
  [rsa, { jwt: { privateKeyFile: rsa['JWT_PRIVATE_KEY'], publicKeyFile: rsa['JWT_PUBLIC_KEY'] } }],
  [ec, { jwt: { privateKeyFile: ec['JWT_PRIVATE_KEY'], publicKeyFile: ec['JWT_PUBLIC_KEY'] } }],
  [
    { JWT_ISSUER: 'me', JWT_AUDIENCE: 'you' },
    { jwtIssuer: 'me', jwtAudience: 'you' },
  ],
  [oidc, { oidc: { issuer: 'https://idp.test/realm', audiences: ['us'], roleClaim: 'roles', roles: null } }],
  [{ ...oidc, OIDC_ISSUER: 'http://127.0.0.1:8080' }, { oidc: { issuer: 'http://127.0.0.1:8080' } }],
  [
    { ...oidc, OIDC_AUDIENCE: 'us, portal', OIDC_ROLE_CLAIM: 'a.b', OIDC_ROLE_MAP: 'chiefs=ADMIN, x=y=OPERATIONS,' },
    {
      oidc: {
        audiences: ['us', 'portal'],
        roleClaim: 'a.b',
        roles: new Map([
          ['chiefs', 'ADMIN'],
          ['x=y', 'OPERATIONS'],
        ]),
      },
    },
  ],
  [{ SUPPORT_CONTACT: 'Call 4711.' }, { supportContact: 'Call 4711.' }],
  [
    { OBSERVE_INTERVAL_SECONDS: '1', WORKER_CONCURRENCY: '100' },
    { observeIntervalSeconds: 1, workerConcurrency: 100 },
  ],
  [
    { DATABASE_POOL_SIZE: '2', LOG_LEVEL: 'debug' },
    { databasePoolSize: 2, logLevel: 'debug' },
  ],
  [
    { MAX_DEPTH: '20', REQUEST_TIMEOUT_SECONDS: '5' },
    { limits: { maxDepth: 20, requestTimeoutSeconds: 5, maxTokens: LIMITS.maxTokens.standard } },
  ],
  [
    { INTROSPECTION: '0', CORS_ORIGINS: 'https://a.test, http://b.test:8080' },
    { introspection: false, corsOrigins: ['https://a.test', 'http://b.test:8080'] },
  ],
  [
    { TRUSTED_DOCUMENTS: trusted, TRUSTED_DOCUMENTS_ONLY: '1' },
    { trusted: { texts: { ['a'.repeat(64)]: '{ x }' }, alone: true } },
  ],
])('%j', (env, expected) => {
  expect(readConfig('all', env)).toMatchObject(expected);
});

test.each<[Record<string, string>, string]>([
  [{ PORT: '65536' }, 'PORT must be a whole number from 0 to 65535.'],
  [{ PORT: '-1' }, 'PORT must be a whole number from 0 to 65535.'],
  [{ PORT: '4e3' }, 'PORT must be a whole number from 0 to 65535.'],
  [{ PORT: ' 80' }, 'PORT must be a whole number from 0 to 65535.'],
  [{ KEYFRAME_DEMO: 'true' }, 'KEYFRAME_DEMO must be 0 or 1.'],
  [
    { DATABASE_URL: 'localhost:5432/keyframe' },
    'DATABASE_URL must be a URL that starts with postgres:// or postgresql://.',
  ],
  [{ DATABASE_MIGRATION_URL: DATABASE_URL }, 'DATABASE_MIGRATION_URL needs DATABASE_URL beside it.'],
  [{ DATABASE_POOL_SIZE: '1' }, 'DATABASE_POOL_SIZE must be a whole number from 2 to 1000.'],
  [{ INCUS_URL: 'http://one.test', ...certificates }, 'INCUS_URL must be a URL that starts with https://.'],
  [
    { INCUS_URL, INCUS_CLIENT_CERT: pem },
    'INCUS_URL needs INCUS_CLIENT_CERT, INCUS_CLIENT_KEY and INCUS_SERVER_CERT (paths of PEM files).',
  ],
  [
    { INCUS_URL, ...certificates, INCUS_SOCKET: '/s' },
    'INCUS_SOCKET and INCUS_URL exclude each other: name one way to the engine.',
  ],
  [
    { INCUS_URL, ...certificates, INCUS_CLIENT_KEY: join(folder, 'none') },
    'INCUS_CLIENT_KEY must be the path of a file that this process can read.',
  ],
  [{ INCUS_SERVER_CERT: folder }, 'INCUS_SERVER_CERT must be the path of a file that this process can read.'],
  [{ JWT_SECRET: 'x'.repeat(31) }, 'JWT_SECRET must have at least 32 characters.'],
  [{ JWT_PREVIOUS_SECRETS: `${secret},short` }, 'JWT_PREVIOUS_SECRETS must have at least 32 characters in each.'],
  [{ JWT_PREVIOUS_SECRETS: ' , ' }, 'JWT_PREVIOUS_SECRETS must name at least one secret.'],
  [{ JWT_PREVIOUS_PUBLIC_KEYS: pem }, unfit('public').replace('JWT_PUBLIC_KEY', 'JWT_PREVIOUS_PUBLIC_KEYS')],
  [{ JWT_PREVIOUS_PUBLIC_KEYS: ',' }, 'JWT_PREVIOUS_PUBLIC_KEYS must name at least one file.'],
  [{ AUDIT_SECRET: 'x'.repeat(31) }, 'AUDIT_SECRET must have at least 32 characters.'],
  [{ AUDIT_SECRET: `${secret},${secret}` }, 'AUDIT_SECRET must hold no comma: they separate AUDIT_PREVIOUS_SECRETS.'],
  [{ AUDIT_PREVIOUS_SECRETS: `${secret},short` }, 'AUDIT_PREVIOUS_SECRETS must have at least 32 characters in each.'],
  [{ JWT_PRIVATE_KEY: rsa['JWT_PRIVATE_KEY'] ?? '' }, 'JWT_PRIVATE_KEY and JWT_PUBLIC_KEY go together.'],
  [{ ...rsa, JWT_SECRET: secret }, 'JWT_SECRET and JWT_PRIVATE_KEY exclude each other.'],
  [{ ...rsa, JWT_PRIVATE_KEY: ec['JWT_PRIVATE_KEY'] ?? '' }, 'JWT_PUBLIC_KEY does not belong to JWT_PRIVATE_KEY.'],
  [{ ...rsa, JWT_PRIVATE_KEY: pem }, unfit('private')],
  [{ ...rsa, JWT_PUBLIC_KEY: join(folder, 'none') }, unfit('public')],
  [{ OBSERVE_INTERVAL_SECONDS: '0' }, 'OBSERVE_INTERVAL_SECONDS must be a whole number from 1 to 3600.'],
  [{ LOG_LEVEL: 'loud' }, 'LOG_LEVEL must be one of fatal, error, warn, info, debug, trace, silent.'],
  [{ INCUS_URL: ' , ', ...certificates }, 'INCUS_URL must name at least one URL.'],
  [{ INCUS_PROJECTS: ',' }, 'INCUS_PROJECTS must name at least one project, or be *.'],
  [{ ...oidc, OIDC_ISSUER: 'http://idp.test' }, PROVIDER_URL],
  [{ ...oidc, OIDC_ISSUER: 'https://me:hunter2@idp.test' }, PROVIDER_URL],
  [{ ...oidc, OIDC_ISSUER: 'idp.test' }, PROVIDER_URL],
  [{ OIDC_ISSUER: oidc.OIDC_ISSUER }, 'OIDC_ISSUER needs OIDC_AUDIENCE: the audience of its tokens that are for us.'],
  [{ OIDC_AUDIENCE: 'us' }, 'OIDC_AUDIENCE needs OIDC_ISSUER beside it.'],
  [{ ...oidc, OIDC_AUDIENCE: ' ,' }, 'OIDC_AUDIENCE must name at least one audience.'],
  [{ OIDC_ROLE_MAP: 'a=ADMIN' }, 'OIDC_ROLE_MAP needs OIDC_ISSUER beside it.'],
  [{ ...oidc, OIDC_ROLE_MAP: 'a=ADMIN,b=ROOT' }, ROLE_PAIRS],
  [{ ...oidc, OIDC_ROLE_MAP: '=ADMIN' }, ROLE_PAIRS],
  [
    { ...oidc, JWT_ISSUER: oidc.OIDC_ISSUER },
    'JWT_ISSUER and OIDC_ISSUER must differ: tokens of ours are not the provider’s.',
  ],
  [{ MAX_DEPTH: '3' }, 'MAX_DEPTH must be a whole number from 15 to 100.'],
  [{ INTROSPECTION: 'off' }, 'INTROSPECTION must be 0 or 1.'],
  [{ CORS_ORIGINS: '*' }, noOrigin],
  [{ CORS_ORIGINS: 'https://a.test/' }, noOrigin],
  [{ CORS_ORIGINS: 'null' }, noOrigin],
  [
    { TRUSTED_DOCUMENTS: join(folder, 'none') },
    'TRUSTED_DOCUMENTS must be the path of a file that this process can read.',
  ],
  [{ TRUSTED_DOCUMENTS: pem }, noDocuments],
  [{ TRUSTED_DOCUMENTS: keep('short.json', '{ "abc": "{ x }" }') }, noDocuments],
  [
    { TRUSTED_DOCUMENTS_ONLY: '1' },
    'TRUSTED_DOCUMENTS_ONLY needs TRUSTED_DOCUMENTS beside it: nothing would be answered.',
  ],
  [{ WORKER_CONCURRENCY: '101' }, 'WORKER_CONCURRENCY must be a whole number from 1 to 100.'],
])('%j is one fault, in a sentence', (env, sentence) => {
  expect(faultsOf(env)).toEqual([sentence]);
});

test.each([weak, curve])('%j: keys that no token could be signed with are refused', (env) => {
  expect(faultsOf(env)).toEqual([unfit('private'), unfit('public')]);
});

test('all faults come at once, also those of several variables together', () => {
  const faults = faultsOf(
    {
      PORT: 'http',
      KEYFRAME_DEMO: '2',
      LOG_LEVEL: 'loud',
      INCUS_URL,
      INCUS_SOCKET: '/s',
      JWT_PUBLIC_KEY: rsa['JWT_PUBLIC_KEY'] ?? '',
    },
    'api',
  );
  expect(faults.map((fault) => fault.split(' ')[0])).toEqual([
    'PORT',
    'KEYFRAME_DEMO',
    'LOG_LEVEL',
    'INCUS_SOCKET',
    'INCUS_URL',
    'JWT_PRIVATE_KEY',
    '--role',
    '--role',
  ]);
  for (const fault of faults) expect(fault).toMatch(/\.$/);
});

describe('a role', () => {
  test.each(['api', 'worker', 'migrate'] as const)('%s needs a database that others reach too', (role) => {
    expect(faultsOf({ JWT_SECRET: secret }, role)).toEqual([expect.stringContaining(`--role ${role} needs DATABASE_URL`)]); // prettier-ignore
    expect(faultsOf({ JWT_SECRET: secret, DATABASE_URL }, role)).toEqual([]);
  });

  test('api needs a key that its likes share; worker and migrate sign nothing', () => {
    expect(faultsOf({ DATABASE_URL }, 'api')).toEqual([expect.stringContaining('JWT_SECRET or JWT_PRIVATE_KEY')]);
    expect(faultsOf({ DATABASE_URL }, 'worker')).toEqual([]);
    expect(faultsOf({ DATABASE_URL }, 'migrate')).toEqual([]);
  });
});

test('a password is never part of what is said', () => {
  const [fault] = faultsOf({ DATABASE_URL: 'mysql://me:hunter2@db.test/keyframe' });
  expect(fault).not.toContain('hunter2');
});
