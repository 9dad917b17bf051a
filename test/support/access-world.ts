/** The demo data as the tests of access see it: who calls, what is looked for, and what the database was asked. */
import { randomBytes } from 'node:crypto';
import { v7 as uuidv7 } from 'uuid';
import { correlationId } from '../../src/endpoint/correlation';
import type { CallerName } from './access-table';
import type { Values } from './access-walk';
import { startTestApp, type GraphqlResponse, type TestApp, type TestClient } from './app';
import { done, instanceId } from './stories';

export interface World {
  app: TestApp;
  callers: Record<CallerName, TestClient>;
  /** web-1: assigned to alice, not to bob. */
  real: Values;
  /** The same, well-formed, of nothing. */
  missing: Values;
  /** What tells in an answer that web-1 or something below it was seen. */
  secrets: string[];
}

const globalId = (type: string, id: string) => Buffer.from(`${type}:${id}`).toString('base64url');

/** A well-formed id of nothing. */
export const missingId = (type: string) => globalId(type, uuidv7());

/** Starts the program with its demo data; the observer is quiet, so that statements are those of requests. */
export async function startWorld(env: Record<string, string> = {}): Promise<World> {
  const app = await startTestApp({ env: { OBSERVE_INTERVAL_SECONDS: '3600', ...env } });
  const [assigned, stranger, operations, admin] = await Promise.all([app.as('alice'), app.as('bob'), app.as('ops'), app.as('admin')]); // prettier-ignore
  const callers = { anonymous: app.anonymous, assigned, stranger, operations, admin };
  const instance = await instanceId(operations, 'web-1');
  const snapshotName = `kept-secret-${randomBytes(3).toString('hex')}`;
  const made = await taken(operations, instance, snapshotName);
  const { createApiToken } = await assigned.query('mutation { createApiToken(input: { name: "of alice", role: USER }) { apiToken { id } } }'); // prettier-ignore
  const [{ user, engine, assignment }] = await app.db.query(
    `select u.id as user, i.engine_id as engine, a.id as assignment from users u join instance_assignments a on a.user_id = u.id
     join instances i on i.id = a.instance_id where u.email = 'alice@keyframe.test' and i.name = 'web-1'`,
  );
  const [{ entry }] = await app.db.query(`select id as entry from audit_events where action = 'createSnapshot' and resource_name = $1`, [snapshotName]); // prettier-ignore
  const real = {
    instance, ...made, name: 'web-1', snapshotName, apiToken: createApiToken.apiToken.id as string,
    user: globalId('User', user), engine: globalId('Engine', engine), assignment: globalId('InstanceAssignment', assignment),
    entry: globalId('AuditEvent', entry),
  }; // prettier-ignore
  const missing = {
    instance: missingId('Instance'), snapshot: missingId('Snapshot'), operation: missingId('Operation'), name: 'web-0',
    snapshotName: 'kept-secret-nothing', user: missingId('User'), engine: missingId('Engine'), assignment: missingId('InstanceAssignment'),
    entry: missingId('AuditEvent'), apiToken: missingId('ApiToken'),
  }; // prettier-ignore
  return { app, callers, real, missing, secrets: [instance, made.snapshot, made.operation, 'web-1', snapshotName] };
}

async function taken(ops: TestClient, instance: string, name: string) {
  const result = await done(ops, 'createSnapshot', { instanceId: instance, name, idempotencyKey: `key of ${name}` });
  if (!result.snapshot) throw new Error('a snapshot that was taken is not there');
  return { snapshot: result.snapshot.id, operation: result.id };
}

/** Each request has an id of its own, and each look into the audit log makes it longer. */
const OF_THE_MOMENT = new Set(['correlationId', 'checkedCount', 'unsealedCount']);

/** An answer without what differs between two that say the same. */
export function told(answer: GraphqlResponse): unknown {
  return JSON.parse(JSON.stringify(answer), (key, value: unknown) => (OF_THE_MOMENT.has(key) ? '…' : value));
}

/** Statements that only requests make; a subscription's do not bear the id of one. */
const OF_READERS = /from (sessions s|api_tokens t) join users u|instance_assignments seen/;

/** The statements that requests made the program run during `work`, in order of their text, without their values. */
export async function statementsOf<T>(
  app: TestApp,
  work: () => Promise<T>,
): Promise<{ result: T; statements: string[] }> {
  const seen: string[] = [];
  const { logger } = app.db;
  const logQuery = (text: string) => {
    // Outside of a request, as in the worker of this process, each call gives another id.
    if (correlationId() === correlationId() || OF_READERS.test(text)) seen.push(text);
  };
  app.db.logger = Object.assign(Object.create(logger) as typeof logger, { logQuery });
  try {
    return { result: await work(), statements: seen.sort() };
  } finally {
    app.db.logger = logger;
  }
}

/**
 * A fingerprint of every row of every table of ours, but for the audit log, in which refusals stand, for the number of requests,
 * which they all add to, and for when the observer looked last, which it does by itself.
 */
export async function allRows(app: TestApp): Promise<Record<string, string>> {
  const tables: { name: string }[] = await app.db.query(
    `select table_schema || '.' || table_name as name from information_schema.tables
     where table_schema in ('public', 'graphile_worker') and table_type = 'BASE TABLE'
       and table_name not like 'audit%' and table_name <> 'request_counts'`,
  );
  const rows: Record<string, string> = {};
  for (const { name } of tables) {
    const [found] = await app.db.query(`select count(*) || ' ' || coalesce(md5(string_agg(row::text, ',' order by row::text)), '') as rows from ${name} t, lateral (select to_jsonb(t) - 'observed_at' as row) r`); // prettier-ignore
    rows[name] = found.rows;
  }
  return rows;
}
