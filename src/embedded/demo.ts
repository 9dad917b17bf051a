/**
 * Demo accounts, and on the local engine demo data: a page of instances that shows what can happen to snapshots. This room can
 * be taken away; nothing else knows of it.
 */
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { session, type Actor, type Request } from '../auth/actor';
import { hashPassword } from '../auth/passwords';
import type { LocalEngine } from '../engine/local';
import { Role, UserStatus } from '../entities/enums';
import type { Instance } from '../entities/instance';
import type { Snapshots } from '../services/snapshots';
import type { Users } from '../services/users';
import { writeAtomically } from './files';

export interface DemoParts {
  db: DataSource;
  users: Users;
  snapshots: Snapshots;
}

type Credentials = Record<string, { email: string; password: string }>;

const ACCOUNTS = {
  admin: { email: 'admin@keyframe.test', displayName: 'Ada Admin', role: Role.ADMIN },
  ops: { email: 'ops@keyframe.test', displayName: 'Oskar Operations', role: Role.OPERATIONS },
  alice: { email: 'alice@keyframe.test', displayName: 'Alice Anders', role: Role.USER },
  bob: { email: 'bob@keyframe.test', displayName: 'Bob Brandt', role: Role.USER },
} as const;

/** Makes the accounts that are not there yet; their passwords are kept in the folder, and are the same at each start. */
export async function ensureDemoAccounts({ db, users }: DemoParts, folder: string): Promise<Credentials> {
  const file = join(folder, 'demo-credentials.json');
  const known = JSON.parse(await readFile(file, 'utf8').catch(() => '{}')) as Credentials;
  const credentials: Credentials = {};
  for (const [name, account] of Object.entries(ACCOUNTS)) {
    const password = known[name]?.password ?? randomBytes(12).toString('base64url');
    credentials[name] = { email: account.email, password };
    const [there] = await db.query<{ id: string }[]>('select id from users where email = $1 and removed_at is null', [
      account.email,
    ]);
    if (!there) await users.insert(ourselves(), account, password, UserStatus.ACTIVE);
    else if (!known[name])
      await db.query('update users set password_hash = $2 where id = $1', [there.id, await hashPassword(password)]);
  }
  await writeAtomically(file, `${JSON.stringify(credentials, null, 2)}\n`, 0o600);
  return credentials;
}

/** Fills an empty local engine. The snapshots are taken like anybody's, by operations of the demo operator. */
export async function seedLocalEngine(parts: DemoParts, engine: LocalEngine, folder: string): Promise<void> {
  const done = join(folder, 'demo-data-is-there');
  if (await readFile(done).catch(() => null)) return;
  for (const [name, options] of Object.entries(INSTANCES)) {
    if (!(await engine.findInstance({ project: 'default', name }, AbortSignal.timeout(10_000)))) {
      await engine.createInstance('default', name, options);
    }
  }
  const admin = await requestOf(parts, ACCOUNTS.admin.email);
  for (const [user, name] of ASSIGNED) await assign(parts, admin, user, name);
  const ops = await requestOf(parts, ACCOUNTS.ops.email);
  await take(parts, ops, 'web-1', { name: 'before-upgrade', description: 'Before the upgrade to version 2.' });
  await take(parts, ops, 'web-1', {
    name: 'warm-cache',
    stateful: true,
    description: 'Running, with the cache filled.',
  });
  await take(parts, ops, 'db-1', {
    name: 'asdf',
    description: 'Named in a hurry: before the new index, keep until it has proved itself.',
  });
  await take(parts, ops, 'cache-1', { name: 'weekly', description: 'Of the stopped instance.' });
  await take(parts, ops, 'shop-1', { name: 'last-good', description: 'The last one before it stopped working.' });
  await take(parts, ops, 'build-1', { name: 'clean', description: 'Fresh after setting it up.' });
  const db1 = await facts(engine, 'db-1');
  await engine.createSnapshot(
    { instance: db1, name: 'made-on-the-engine' },
    { stateful: false },
    AbortSignal.timeout(10_000),
  );
  await breakDown(engine, folder, 'shop-1');
  await writeFile(done, '');
}

const INSTANCES = {
  'web-1': { description: 'The web server: snapshots with and without memory.', running: true, stateful: true },
  'db-1': { description: 'The database, seen by alice and bob.', running: true },
  'cache-1': { description: 'Stopped.', running: false },
  'new-1': { description: 'Just made, without snapshots.', running: true },
  'shop-1': { description: 'Does not start any more; its snapshot last-good brings it back.', running: true },
  'build-1': { description: "Bob's alone.", running: true },
} as const;

const ASSIGNED = [
  ['alice', 'web-1'],
  ['alice', 'db-1'],
  ['alice', 'cache-1'],
  ['alice', 'new-1'],
  ['alice', 'shop-1'],
  ['bob', 'db-1'],
  ['bob', 'build-1'],
] as const;

async function assign(parts: DemoParts, admin: Request, account: keyof typeof ACCOUNTS, name: string): Promise<void> {
  const { userId } = await personOf(parts, ACCOUNTS[account].email);
  await parts.users.assign(admin, { userId, instanceId: (await imported(parts, name)).id });
}

async function take(
  parts: DemoParts,
  request: Request,
  instance: string,
  wish: { name: string; stateful?: boolean; description: string },
): Promise<void> {
  const { id } = await imported(parts, instance);
  const [there] = await parts.db.query<unknown[]>('select 1 from snapshots where instance_id = $1 and name = $2', [
    id,
    wish.name,
  ]);
  if (there) return;
  const { operation } = await parts.snapshots.create(request, { ...wish, instanceId: id });
  await eventually(`the demo snapshot ${wish.name}`, async () => {
    const [row] = await parts.db.query<{ done: boolean }[]>(
      'select finished_at is not null as done from operations where id = $1',
      [operation?.id],
    );
    return row?.done;
  });
}

/** The row of an instance, as soon as the observer has made it. */
function imported({ db }: DemoParts, name: string): Promise<Pick<Instance, 'id'>> {
  return eventually(`the demo instance ${name}`, async () => {
    const [row] = await db.query<{ id: string }[]>(
      `select id from instances where name = $1 and project = 'default' and status not in ('CREATING', 'DELETED')`,
      [name],
    );
    return row;
  });
}

/** Spoils the program of an instance, so that it does not start again. */
async function breakDown(engine: LocalEngine, folder: string, name: string): Promise<void> {
  const at = { project: 'default', name };
  await engine.stop(at);
  await writeFile(
    join(folder, 'engine', 'instances', 'default', name, 'rootfs', 'etc', 'app.json'),
    '{ "upgraded": tru',
  );
  await engine.start(at).catch(() => undefined);
}

async function facts(engine: LocalEngine, name: string) {
  const found = await engine.findInstance({ project: 'default', name }, AbortSignal.timeout(10_000));
  if (!found) throw new Error(`the demo instance ${name} is not there`);
  return found;
}

/** A request of somebody who is signed in for the few minutes that this may take. */
async function requestOf(parts: DemoParts, email: string): Promise<Request> {
  const person = await personOf(parts, email);
  const sessionId = uuidv7();
  await parts.db.query(
    `insert into sessions (id, user_id, refresh_token_hash, client, created_at, refreshed_at, expires_at)
     values ($1, $2, '', 'keyframe demo', now(), now(), now() + interval '10 minutes')`,
    [sessionId, person.userId],
  );
  return { ...ourselves(), actor: { ...person, credential: session(sessionId) } };
}

async function personOf({ db }: DemoParts, email: string): Promise<Omit<Actor, 'credential'>> {
  const [found] = await db.query<Omit<Actor, 'credential'>[]>(
    `select id as "userId", role, status from users where email = $1 and removed_at is null`,
    [email],
  );
  if (!found) throw new Error(`the demo account ${email} is not there`);
  return found;
}

async function eventually<T>(what: string, look: () => Promise<T | undefined | false>): Promise<T> {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline;) {
    const found = await look();
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`${what} did not come about`);
}

/** What is done at the program's own instance. */
function ourselves() {
  return { actor: null, correlationId: uuidv7(), origin: { address: null, client: 'keyframe demo' } };
}
