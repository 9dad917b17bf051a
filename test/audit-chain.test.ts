/** Whatever is done to the audit log in the database by hand is found, and said where. */
import { randomBytes } from 'node:crypto';
import { Client } from 'pg';
import type { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { auditKeysOf } from '../src/auditing';
import { readConfig } from '../src/config';
import { createDataSource } from '../src/db/data-source';
import { Audit, bySystem } from '../src/services/audit';
import { AuditKeys, BEGINNING } from '../src/services/audit-keys';
import { AuditSealer } from '../src/services/audit-sealer';
import { sealedPages, verifyAudit, type SealedRow } from '../src/services/audit-verification';
import { createDatabase, type TestDatabase } from './support/database';

const secret = randomBytes(24).toString('hex');
const keys = new AuditKeys(secret);

let database: TestDatabase;
let db: DataSource;
let owner: Client;
let said: { level: string; message: string }[];
beforeEach(async () => {
  database = await createDatabase();
  db = await createDataSource(database.url, 4).initialize();
  owner = new Client({ connectionString: database.migrationUrl });
  await owner.connect();
  said = [];
});
afterEach(async () => {
  await owner.end();
  await db.destroy();
  await database.drop();
});

const sealer = (by = keys) => new AuditSealer(db, by, (level, _, message) => said.push({ level, message }));

/** Entries that are sealed; with a checkpoint at the end unless told otherwise. */
async function written(
  count: number,
  { by = keys, sign = true }: { by?: AuditKeys | null; sign?: boolean } = {},
): Promise<void> {
  const audit = new Audit(by);
  for (let i = 1; i <= count; i += 1) {
    const resource = { type: 'Snapshot', id: uuidv7(), name: `snapshot-${i}` };
    await audit.record(db, bySystem(uuidv7()), { action: 'updateSnapshot', resource, changes: [{ field: 'description', before: null, after: `${i}` }] }); // prettier-ignore
  }
  await sealer(by ?? keys).seal(sign);
}

/** As somebody does who owns the database. */
async function byHand(statement: string, values: unknown[] = []): Promise<void> {
  await owner.query('alter table audit_events disable trigger user');
  await owner.query('alter table audit_checkpoints disable trigger user');
  const { rowCount } = await owner.query(statement, values);
  expect(rowCount).toBeGreaterThan(0);
  await owner.query('alter table audit_events enable trigger user');
  await owner.query('alter table audit_checkpoints enable trigger user');
}

async function rows(): Promise<SealedRow[]> {
  const all: SealedRow[] = [];
  for await (const page of sealedPages(db, 0)) all.push(...page);
  return all;
}

const strangers = new AuditKeys('of somebody who owns the database, and no key of ours');

/** Gives the rows positions without gaps again, and hashes that follow from one another: all but the key is known. */
async function chainAnew(): Promise<void> {
  const found = await rows();
  await byHand('update audit_events set position = -position where position is not null');
  let hash: Buffer = BEGINNING;
  for (const [at, row] of found.entries()) {
    hash = strangers.link(hash, row);
    await byHand('update audit_events set position = $2, hash = $3 where id = $1', [row.id, at + 1, hash]);
  }
}

const verdict = async (by = keys) => (await verifyAudit(db, by)).firstBad;
const idAt = async (position: number) => (await rows())[position - 1]?.id;

test('a log that nobody has touched is intact, and says how far it was checked and signed', async () => {
  await written(5);
  const report = await verifyAudit(db, keys);
  expect(report).toMatchObject({ intact: true, firstBad: null, checked: 5, unsigned: 0, unsealed: 0 });
  expect(report.checkpoint).toMatchObject({ position: 5, keyId: keys.id });
  expect((await rows()).map(({ position }) => position)).toEqual([1, 2, 3, 4, 5]);
});

test('an empty log is intact', async () => {
  expect(await verifyAudit(db, keys)).toMatchObject({ intact: true, checked: 0, checkpoint: null });
});

describe('found, and said where:', () => {
  beforeEach(() => written(6));

  test.each([
    ['a name', `resource_name = 'another'`],
    ['who did it', `actor_id = gen_random_uuid()`],
    ['when', `created_at = created_at - interval '1 ms'`],
    ['what came of it', `outcome = 'REFUSED'`],
    ['a change, to what reads alike', `changes = replace(changes::text, ',', ' ,')::json`],
    ['the signature', `mac = sha256('guessed')`],
    ['the id', `id = gen_random_uuid()`],
    ['a text that moved to the next column', `client = address || 'x', address = ''`],
  ])('one entry edited: %s', async (_, change) => {
    await byHand(
      `update audit_events set ${change} where position = 3`.replace('address ||', "coalesce(address, '') ||"),
    );
    expect(await verdict()).toEqual({ fault: 'EDITED', id: await idAt(3), position: 3 });
  });

  test('one entry edited, with the chain made anew', async () => {
    await byHand(`update audit_events set resource_name = 'another' where position = 3`);
    await chainAnew();
    expect(await verdict()).toEqual({ fault: 'CHAIN_BROKEN', id: await idAt(1), position: 1 });
  });

  test('the last entry edited', async () => {
    await byHand(`update audit_events set resource_name = 'another' where position = 6`);
    expect(await verdict()).toEqual({ fault: 'EDITED', id: await idAt(6), position: 6 });
  });

  test('a signature taken away', async () => {
    await byHand(`update audit_events set mac = null, key_id = null where position = 3`);
    expect(await verdict()).toEqual({ fault: 'EDITED', id: await idAt(3), position: 3 });
  });

  test('one removed', async () => {
    await byHand('delete from audit_events where position = 3');
    expect(await verdict()).toEqual({ fault: 'REMOVED', id: null, position: 3 });
  });

  test('one removed, with the others moved up', async () => {
    await byHand('delete from audit_events where position = 3');
    for (const position of [4, 5, 6])
      await byHand('update audit_events set position = position - 1 where position = $1', [position]);
    expect(await verdict()).toEqual({ fault: 'REMOVED', id: await idAt(3), position: 3 });
  });

  test('one removed, with the others moved up, the chain made anew and no checkpoint left behind it', async () => {
    await written(2);
    await byHand('delete from audit_events where position = 3');
    await byHand('delete from audit_checkpoints');
    await chainAnew();
    expect(await verdict()).toEqual({ fault: 'CHAIN_BROKEN', id: await idAt(1), position: 1 });
  });

  test('the first removed', async () => {
    await byHand('delete from audit_events where position = 1');
    expect(await verdict()).toEqual({ fault: 'REMOVED', id: null, position: 1 });
  });

  test('the end removed', async () => {
    await byHand('delete from audit_events where position > 4');
    expect(await verdict()).toEqual({ fault: 'REMOVED', id: null, position: 5 });
  });

  test('the end removed, and others written in its place', async () => {
    await byHand('delete from audit_events where position > 4');
    await written(3);
    expect(await verdict()).toEqual({ fault: 'REMOVED', id: null, position: 6 });
  });

  test('everything removed', async () => {
    await byHand('delete from audit_events');
    expect(await verdict()).toEqual({ fault: 'REMOVED', id: null, position: 1 });
  });

  const COPY = `insert into audit_events
    select (jsonb_populate_record(e, jsonb_build_object('id', gen_random_uuid(), 'position', $1::text))).* from audit_events e where position = 2`;

  test('one inserted that waits for its place: the sealer gives it none', async () => {
    await byHand(COPY.replace('$1::text', "null, 'hash', null"));
    await sealer().seal();
    expect(said).toContainEqual({ level: 'error', message: expect.stringMatching(/not written by this program/) });
    expect(await verdict()).toMatchObject({ fault: 'INSERTED', id: expect.any(String), position: null });
    await written(1);
    expect((await rows()).at(-1)?.position).toBe(7);
  });

  test('one inserted in the middle, the others moved down', async () => {
    for (const position of [6, 5, 4])
      await byHand('update audit_events set position = position + 1 where position = $1', [position]);
    await byHand(COPY, ['4']);
    expect(await verdict()).toEqual({ fault: 'INSERTED', id: await idAt(4), position: 4 });
  });

  test('one inserted at the end', async () => {
    await byHand(COPY, ['7']);
    expect(await verdict()).toEqual({ fault: 'INSERTED', id: await idAt(7), position: 7 });
  });

  test('one inserted without a signature', async () => {
    await byHand(COPY.replace('$1::text', `null, 'hash', null, 'mac', null, 'key_id', null`));
    await sealer().seal();
    expect(await verdict()).toMatchObject({ fault: 'UNSIGNED', id: expect.any(String), position: 7 });
  });

  test('two that changed places', async () => {
    await byHand('update audit_events set position = -position where position in (3, 4)');
    await byHand('update audit_events set position = 7 + position where position < 0');
    expect(await verdict()).toMatchObject({ id: await idAt(3), position: 3 });
  });

  test('a hash edited', async () => {
    await byHand(`update audit_events set hash = sha256('guessed') where position = 3`);
    expect(await verdict()).toEqual({ fault: 'CHAIN_BROKEN', id: await idAt(3), position: 3 });
  });

  test.each([`hash = sha256('guessed')`, `created_at = created_at - interval '1 ms'`, `signature = sha256('guessed')`])(
    'a checkpoint edited: %s',
    async (change) => {
      await byHand(`update audit_checkpoints set ${change}`);
      expect(await verdict()).toEqual({ fault: 'CHECKPOINT_EDITED', id: null, position: 6 });
    },
  );

  test('the end removed under a process that saw it: the log of that process says so as well', async () => {
    const running = sealer();
    await new Audit(keys).record(db, bySystem('a'), { action: 'a' });
    await running.seal();
    await byHand('delete from audit_events where position > 4');
    await new Audit(keys).record(db, bySystem('b'), { action: 'b' });
    await running.seal();
    expect(said).toContainEqual({ level: 'error', message: expect.stringMatching(/end of the audit log was/) });
  });
});

describe('who has the database but not the key', () => {
  test.each(['database.url', 'migrationUrl'] as const)(
    'can neither change nor remove an entry as: %s',
    async (role) => {
      await written(2);
      const client = new Client({ connectionString: role === 'migrationUrl' ? database.migrationUrl : database.url });
      await client.connect();
      for (const statement of [
        `update audit_events set resource_name = 'another'`,
        `update audit_events set resource_name = 'another' where false`,
        'update audit_events set position = 9, hash = null',
        `update audit_events set position = position + 10, hash = sha256('x')`,
        `update audit_events set hash = sha256('x')`,
        'delete from audit_events',
        'truncate audit_events',
        `insert into audit_events (id, created_at, action, outcome, changes, correlation_id, position) values (gen_random_uuid(), now(), 'x', 'FAILED', '[]', 'x', 77)`,
        `update audit_checkpoints set hash = sha256('x')`,
        'delete from audit_checkpoints',
        'truncate audit_checkpoints',
      ]) {
        await expect(client.query(statement)).rejects.toMatchObject({ code: '42501' });
      }
      await client.end();
      expect(await verifyAudit(db, keys)).toMatchObject({ intact: true, checked: 2 });
    },
  );
});

test('what is rolled back leaves no entry, and no gap', async () => {
  await written(1);
  const failing = db.transaction(async (tx) => {
    await new Audit(keys).record(tx, bySystem('x'), { action: 'x' });
    await sealer().seal(); // sees nothing of it
    throw new Error('half-way');
  });
  await expect(failing).rejects.toThrow('half-way');
  await written(1);
  expect(await verifyAudit(db, keys)).toMatchObject({ intact: true, checked: 2, unsealed: 0 });
});

test('an entry whose transaction commits after later ones were sealed gets the next place', async () => {
  await db.transaction(async (tx) => {
    await new Audit(keys).record(tx, bySystem('late'), { action: 'late' });
    await written(2);
  });
  await sealer().seal();
  const found = await rows();
  expect(found.map(({ action }) => action)).toEqual(['updateSnapshot', 'updateSnapshot', 'late']);
  expect(await verifyAudit(db, keys)).toMatchObject({ intact: true, checked: 3 });
});

test('a sealer that dies half-way has sealed nothing, and the next goes on', async () => {
  const dying = new AuditSealer(db, keys, () => {
    throw new Error('killed'); // at the checkpoint, which is the last of its transaction
  });
  await new Audit(keys).record(db, bySystem('x'), { action: 'x' }, { action: 'y' });
  await expect(dying.seal()).rejects.toThrow('killed');
  expect(await verifyAudit(db, keys)).toMatchObject({ checked: 2, unsealed: 2, checkpoint: null });
  await sealer().seal();
  expect(await verifyAudit(db, keys)).toMatchObject({ intact: true, checked: 2, unsealed: 0 });
});

test('two processes that seal at once make one chain', async () => {
  const other = await createDataSource(database.url, 4).initialize();
  const rival = new AuditSealer(other, keys, (level, _, message) => said.push({ level, message }));
  const ours = sealer();
  for (let round = 0; round < 20; round += 1) {
    const entries = Array.from({ length: 7 }, () => ({ action: 'x' }));
    await new Audit(keys).record(db, bySystem(`${round}`), ...entries);
    await Promise.all([ours.seal(), rival.seal(), new Audit(keys).record(other, bySystem('z'), { action: 'z' })]);
  }
  await ours.seal(true);
  await other.destroy();
  expect(await verifyAudit(db, keys)).toMatchObject({ intact: true, checked: 160, unsealed: 0 });
  expect(said.filter(({ level }) => level === 'error')).toEqual([]);
});

describe('keys', () => {
  test('after a change of the secret the old entries are still good, and new ones are signed by the new', async () => {
    await written(2);
    const next = new AuditKeys('another secret, of more than 32 characters', [secret]);
    await written(2, { by: next });
    expect(await verifyAudit(db, next)).toMatchObject({ intact: true, checked: 4 });
    expect((await rows()).map(({ keyId }) => keyId)).toEqual([keys.id, keys.id, next.id, next.id]);
  });

  test('an entry by a key that is not known is left to those who know it, and named', async () => {
    await written(1);
    const next = new AuditKeys('another secret, of more than 32 characters', [secret]);
    await new Audit(next).record(db, bySystem('x'), { action: 'x' });
    await sealer().seal();
    expect(await verifyAudit(db, keys)).toMatchObject({
      firstBad: { fault: 'UNKNOWN_KEY', position: null },
      unsealed: 1,
    });
    await sealer(next).seal(true);
    expect(await verdict()).toMatchObject({ fault: 'UNKNOWN_KEY', position: 2 });
    expect(await verdict(next)).toBeNull();
  });

  test('entries of a process without a key are sealed and named, and hide nothing that is worse', async () => {
    await written(1, { by: null });
    await written(3);
    expect(await verifyAudit(db, keys)).toMatchObject({ intact: false, checked: 4, unsigned: 1, firstBad: { fault: 'UNSIGNED', position: 1 } }); // prettier-ignore
    await byHand('delete from audit_events where position = 3');
    expect(await verdict()).toMatchObject({ fault: 'REMOVED', position: 3 });
  });

  test('the same secret gives the same key, another another', () => {
    expect(new AuditKeys(secret).id).toBe(keys.id);
    expect(new AuditKeys(`${secret}.`).id).not.toBe(keys.id);
  });
});

test('what is told goes in as it stands, without secrets', async () => {
  const awkward = 'a\0b \ud800 ‮ "quoted" \\ ö';
  await new Audit(keys).record(
    db,
    { actor: null, origin: { address: awkward, client: awkward }, correlationId: 'x' },
    {
      action: 'setUserPassword',
      resource: { type: 'User', id: uuidv7(), name: awkward },
      changes: [
        { field: 'password', before: 'old one', after: 'new one' },
        {
          field: 'settings',
          before: null,
          after: { tokenHash: 'secret one', size: 1e21, text: awkward, at: new Date(0) },
        },
      ],
    },
  );
  await sealer().seal();
  expect(await verifyAudit(db, keys)).toMatchObject({ intact: true, checked: 1 });
  const [row] = await rows();
  expect(row?.resourceName).toBe('a\ufffdb \ufffd ‮ "quoted" \\ ö');
  expect(JSON.parse(row?.changes ?? '')).toEqual([
    { field: 'password', before: '[redacted]', after: '[redacted]' },
    { field: 'settings', before: null, after: { tokenHash: '[redacted]', size: 1e21, text: awkward, at: '1970-01-01T00:00:00.000Z' } }, // prettier-ignore
  ]);
});

test('a long log is read page by page', async () => {
  const entries = Array.from({ length: 500 }, () => ({ action: 'x' }));
  for (let i = 0; i < 5; i += 1) await new Audit(keys).record(db, bySystem('x'), ...entries);
  await sealer().seal(true);
  const sizes: number[] = [];
  for await (const page of sealedPages(db, 100)) sizes.push(page.length);
  expect(sizes).toEqual([500, 500, 500, 500, 400]);
  expect(await verifyAudit(db, keys)).toMatchObject({ intact: true, checked: 2500 });
});

describe('the key of a process', () => {
  const DATABASE_URL = 'postgres://keyframe:x@db.test/keyframe';
  const folder = { secret: () => Promise.resolve(Buffer.alloc(32, 7)) };
  const idOf = async (role: 'all' | 'api' | 'worker', env: Record<string, string>, from: typeof folder | null = null) =>
    (await auditKeysOf(readConfig(role, { DATABASE_URL, ...env }), from))?.id ?? null;
  const ours = 'a'.repeat(40);
  const tokens = 't'.repeat(40);

  test('is AUDIT_SECRET, or else derived from what signs access tokens, or else kept in the data folder', async () => {
    const ofTokens = new AuditKeys(tokens).id;
    expect(await idOf('api', { AUDIT_SECRET: ours, JWT_SECRET: tokens })).toBe(new AuditKeys(ours).id);
    expect(await idOf('api', { JWT_SECRET: tokens })).toBe(ofTokens);
    expect(await idOf('worker', { JWT_SECRET: tokens })).toBe(ofTokens);
    expect(await idOf('all', {}, folder)).toBe(new AuditKeys('07'.repeat(32)).id);
    // What a worker keeps no other process knows.
    expect(await idOf('worker', {}, folder)).toBeNull();
  });

  test('accepts what was signed with any of AUDIT_PREVIOUS_SECRETS', async () => {
    const config = readConfig('api', { DATABASE_URL, JWT_SECRET: tokens, AUDIT_SECRET: ours, AUDIT_PREVIOUS_SECRETS: `${tokens}, ${secret}` }); // prettier-ignore
    const known = await auditKeysOf(config, null);
    expect(known?.ids).toEqual([ours, tokens, secret].map((each) => new AuditKeys(each).id));
  });
});
