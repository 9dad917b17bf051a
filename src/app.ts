/** The one place where the parts are joined. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GraphQLSchema } from 'graphql';
import { Client } from 'pg';
import { pino, type Logger } from 'pino';
import type { DataSource } from 'typeorm';
import { auditKeysOf, startAudit } from './auditing';
import { Actors } from './auth/actor';
import { ApiTokenHolders } from './auth/api-tokens';
import { Authorizer } from './auth/authorize';
import { SignInLimit } from './auth/sign-in-limit';
import { Tokens } from './auth/tokens';
import { Usage } from './auth/usage';
import { ConfigError, type Config } from './config';
import { createDataSource } from './db/data-source';
import { Events } from './db/events';
import { migrate, waitForSchema } from './db/migrate';
import { correlationId } from './endpoint/correlation';
import { UntrustedDocuments } from './endpoint/documents';
import { Gate } from './endpoint/gate';
import type { DemoAccount } from './endpoint/graphiql';
import { RateLimits } from './endpoint/rate-limits';
import type { Engine } from './engine/engine';
import type { LocalEngine } from './engine/local';
import { ApiInfoResolver } from './resolvers/api-info.resolver';
import { ApiTokenResolver } from './resolvers/api-token.resolver';
import { AuditResolver } from './resolvers/audit.resolver';
import type { Surroundings } from './resolvers/context';
import { OperationResolver } from './resolvers/operation.resolver';
import { SessionResolver } from './resolvers/session.resolver';
import { SnapshotResolver } from './resolvers/snapshot.resolver';
import { UserResolver } from './resolvers/user.resolver';
import { createSchema } from './schema';
import { startServer } from './server';
import { ApiTokens } from './services/api-tokens';
import type { Audit } from './services/audit';
import type { AuditKeys } from './services/audit-keys';
import { verifyAudit } from './services/audit-verification';
import { Engines } from './services/engines';
import { ExternalUsers } from './services/external-users';
import { Operations } from './services/operation-wishes';
import { OwnAccount } from './services/own-account';
import { Sessions } from './services/sessions';
import { SnapshotDeletion } from './services/snapshot-deletion';
import { Snapshots } from './services/snapshots';
import { Users } from './services/users';
import { installQueue, startWorker } from './worker/worker';

export interface App {
  /** Where it listens; null for a process without an API. */
  url: string | null;
  accounts: DemoAccount[];
  /** The serving role's. */
  databaseUrl: string;
  /** What it was joined of, for those who drive it from inside the process; null where the role has none. */
  db: DataSource | null;
  engine: Engine | null;
  /** By which the audit log is signed; null where the process has no key. */
  auditKeys: AuditKeys | null;
  /** For `sayNoMs` the API goes on serving while readiness says no already. */
  stop: (sayNoMs?: number) => Promise<void>;
}

/** The database did not answer, or has no schema, for half a minute: exit 69. */
export class DatabaseUnavailable extends Error {}

/** Rooms that can be taken away are loaded only where they are used. */
const rooms = {
  dataFolder: () => require('./embedded/data-folder') as typeof import('./embedded/data-folder'),
  postgres: () => require('./embedded/postgres') as typeof import('./embedded/postgres'),
  demo: () => require('./embedded/demo') as typeof import('./embedded/demo'),
  local: () => require('./engine/local') as typeof import('./engine/local'),
  incus: () => require('./engine/incus') as typeof import('./engine/incus'),
};

const PATIENCE_SECONDS = 30;
export const { version } = JSON.parse(readFileSync(join(__dirname, '..', 'package.json'), 'utf8')) as {
  version: string;
};

/** Standard output is for the program's own words. What people typed stays out: some type a password where none belongs. */
export function openLog({ logLevel }: Config): Logger {
  return pino(
    { level: logLevel, redact: ['err.parameters', 'err.*.parameters'] },
    pino.destination({ dest: 2, sync: true }),
  );
}

type Step = (sayNoMs: number) => Promise<void> | void;
type OnStop = (step: Step) => void;

/**
 * Starts what the role asks for. What has been started is stopped again, in reverse, by `stop`, or when starting fails or is
 * given up by the signal.
 */
export async function startApp(config: Config, givenUp = new AbortController().signal): Promise<App> {
  const log = openLog(config);
  const undo: Step[] = [];
  const stop = async (sayNoMs = 0) => {
    for (const step of undo.splice(0).reverse()) {
      try {
        await step(sayNoMs);
      } catch (error) {
        log.error({ err: error }, 'a part did not stop as it should'); // the others are stopped all the same
      }
    }
  };
  const onStop: OnStop = (step) => {
    undo.push(step);
    givenUp.throwIfAborted();
  };
  try {
    const app = await assemble(config, log, onStop, givenUp);
    givenUp.throwIfAborted();
    return { ...app, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function assemble(config: Config, log: Logger, onStop: OnStop, givenUp: AbortSignal): Promise<Omit<App, 'stop'>> {
  const folder = await dataFolder(config, onStop);
  const urls = config.database ?? (await embeddedDatabase(config, log, onStop));
  await waitForDatabase(urls.url, log, givenUp);
  await prepareSchema(config, urls, log, givenUp);
  const auditKeys = await auditKeysOf(config, folder);
  const joined = { url: null, accounts: [], databaseUrl: urls.url, db: null, engine: null, auditKeys };
  if (config.role === 'migrate') return joined;

  // A worker alone has nobody who waits.
  const bound = config.role === 'worker' ? {} : { requestMs: config.limits.requestTimeoutSeconds * 1000 };
  const db = await createDataSource(urls.url, config.databasePoolSize, bound).initialize();
  onStop(() => db.destroy());
  const audit = startAudit(db, auditKeys, log, onStop);
  const services: Services = {
    db,
    audit,
    auditKeys,
    users: new Users(db, audit),
    snapshots: new Snapshots(db, audit),
    deletion: new SnapshotDeletion(db, audit),
  };
  const engine = config.role === 'api' ? null : await openEngine(config, onStop);
  let stopWorker = async () => {};
  if (engine) {
    const worker = await startWorker(
      { db, engine, audit, log: (level, what, message) => log[level](what, message) },
      {
        url: urls.url,
        concurrency: config.workerConcurrency,
        observeIntervalSeconds: config.observeIntervalSeconds,
        deletion: services.deletion,
      },
    );
    let stopped: Promise<void> | undefined;
    stopWorker = () => (stopped ??= worker.stop());
    onStop(stopWorker);
  }
  const accounts = config.demo ? await demo(config, services, engine) : [];
  if (config.role === 'worker') return { ...joined, accounts, db, engine };
  const url = await serve(config, urls.url, services, folder, accounts, log, onStop);
  // What is in flight and what is worked on end side by side: there are ten seconds for both.
  onStop(() => void stopWorker().catch(() => undefined));
  return { ...joined, url, accounts, db, engine };
}

interface Services {
  db: DataSource;
  audit: Audit;
  auditKeys: AuditKeys | null;
  users: Users;
  snapshots: Snapshots;
  deletion: SnapshotDeletion;
}

async function serve(
  config: Config,
  url: string,
  { db, audit, auditKeys, users, snapshots, deletion }: Services,
  folder: Secrets | null,
  accounts: DemoAccount[],
  log: Logger,
  onStop: OnStop,
): Promise<string> {
  const tokens = new Tokens({
    key: await signingKey(config, folder),
    previous: previousKeys(config),
    issuer: config.jwtIssuer,
    audience: config.jwtAudience,
  });
  const about = {
    version,
    supportContact: config.supportContact,
    limits: config.limits,
    externalIssuer: config.oidc?.issuer ?? null,
    rates: config,
  };
  const resolvers = new Map<unknown, object>([
    [ApiInfoResolver, new ApiInfoResolver(new Engines(db), about)],
    [AuditResolver, new AuditResolver(() => verifyAudit(db, auditKeys))],
    [OperationResolver, new OperationResolver(new Operations(db, audit))],
    [
      SessionResolver,
      new SessionResolver(new Sessions(db, tokens, audit), new OwnAccount(db, audit), new SignInLimit(db)),
    ],
    [ApiTokenResolver, new ApiTokenResolver(new ApiTokens(db, audit))],
    [SnapshotResolver, new SnapshotResolver(snapshots, deletion)],
    [UserResolver, new UserResolver(users)],
  ]);
  // Resolvers that need nothing are made by the framework.
  const schema = createSchema({ get: (type) => resolvers.get(type) ?? new (type as new () => object)() });
  const events = new Events(url, (error) => log.warn({ err: error }, 'the connection that listens was lost'));
  await events.start();
  onStop(() => events.stop());
  const authorizer = new Authorizer(schema, config.supportContact);
  const report: Surroundings['report'] = (level, what, message) => log[level](what, message);
  const holders = new ApiTokenHolders(db, (error) => log.warn({ err: error }, 'the use of API tokens was not noted'));
  const onTrouble = (error: Error) => log.warn({ err: error }, 'the identity provider could not be asked for its keys');
  const external = config.oidc && new ExternalUsers(config.oidc, { db, audit, actors: { current: (who) => actors.current(who) }, correlationId, onTrouble }); // prettier-ignore
  external?.start();
  const actors: Actors = new Actors(db, tokens, external ? [holders, external] : [holders]);
  const requestTimeoutMs = config.limits.requestTimeoutSeconds * 1000;
  const shared = { db, audit, events, authorizer, report, requestTimeoutMs, actors };
  const usage = new Usage();
  usage.share(db);
  onStop(() => usage.stop());
  const rates = new RateLimits(config, usage, report);
  const onLoopback = ['127.0.0.1', '::1', 'localhost'].includes(config.host);
  const server = await startServer(schema, openGate(schema, shared, rates, config), shared, {
    host: config.host,
    port: config.port,
    limits: config.limits,
    corsOrigins: config.corsOrigins,
    demoAccounts: onLoopback ? accounts : [],
    report,
    trustProxy: config.trustProxy,
    rates,
  });
  onStop(server.stop);
  return server.url;
}

function openGate(schema: GraphQLSchema, shared: Surroundings, rates: RateLimits, config: Config): Gate {
  try {
    return new Gate(schema, shared, rates, config);
  } catch (error) {
    throw error instanceof UntrustedDocuments ? new ConfigError(error.faults) : error;
  }
}

interface Secrets {
  secret: (name: string) => Promise<Buffer>;
}

/** Made and locked only when something lives there. */
async function dataFolder(config: Config, onStop: OnStop): Promise<Secrets | null> {
  const ownsEngine = !config.incus && (config.role === 'all' || config.role === 'worker');
  if (config.database && !ownsEngine && (config.jwt ?? config.role === 'migrate') && !config.demo) return null;
  const { openDataFolder } = rooms.dataFolder();
  const folder = await openDataFolder(config.dataFolder);
  onStop(() => folder.close());
  return folder;
}

async function embeddedDatabase(config: Config, log: Logger, onStop: OnStop) {
  const { startPostgres } = rooms.postgres();
  const postgres = await startPostgres(config.dataFolder, (line) => log.info(line));
  onStop(() => postgres.stop());
  return postgres;
}

async function openEngine(config: Config, onStop: OnStop): Promise<Engine> {
  const engine = config.incus
    ? await rooms.incus().connectIncus(config.incus)
    : await rooms.local().openLocalEngine(join(config.dataFolder, 'engine'));
  onStop(() => engine.close());
  return engine;
}

async function demo(config: Config, services: Services, engine: Engine | null): Promise<DemoAccount[]> {
  const { ensureDemoAccounts, seedLocalEngine } = rooms.demo();
  const credentials = await ensureDemoAccounts(services, config.dataFolder);
  if (engine?.kind === 'local') await seedLocalEngine(services, engine as LocalEngine, config.dataFolder);
  return Object.entries(credentials).map(([name, account]) => ({ name, ...account }));
}

async function signingKey({ jwt }: Config, folder: Secrets | null) {
  if (jwt && 'secret' in jwt) return { secret: jwt.secret };
  if (jwt) return { privateKey: readFileSync(jwt.privateKeyFile), publicKey: readFileSync(jwt.publicKeyFile) };
  if (!folder) throw new Error('no data folder to keep a signing key in');
  return { secret: await folder.secret('jwt') };
}

function previousKeys({ jwtPrevious: { secrets, publicKeyFiles } }: Config) {
  return [
    ...secrets.map((secret) => ({ secret })),
    ...publicKeyFiles.map((file) => ({ publicKey: readFileSync(file) })),
  ];
}

/** Tries for half a minute; says why it waits. */
export async function waitForDatabase(url: string, log: Logger, givenUp?: AbortSignal): Promise<void> {
  const deadline = Date.now() + PATIENCE_SECONDS * 1000;
  for (;;) {
    const client = new Client({ connectionString: url, connectionTimeoutMillis: 5000 });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.end();
      return;
    } catch (error) {
      const { host, port, database } = client;
      const sentence = `The database ${database ?? ''} at ${host}:${port} cannot be reached: ${(error as Error).message || String(error)}`;
      if (Date.now() > deadline) throw new DatabaseUnavailable(sentence, { cause: error });
      log.warn(`${sentence} Trying again.`);
      await sleep(1000, undefined, { signal: givenUp });
    }
  }
}

async function prepareSchema(
  config: Config,
  urls: { url: string; migrationUrl: string },
  log: Logger,
  givenUp: AbortSignal,
): Promise<void> {
  if (config.role === 'all' || config.role === 'migrate') {
    const { applied, warning } = await migrate(urls, () => installQueue(urls.url));
    if (applied.length > 0) log.info({ applied }, 'the database schema was brought up to date');
    if (warning) log.warn(warning);
  } else if (!(await waitForSchema(urls.url, PATIENCE_SECONDS, givenUp))) {
    throw new DatabaseUnavailable(
      'The database has no schema of this version. Run a process with --role migrate first.',
    );
  }
}
