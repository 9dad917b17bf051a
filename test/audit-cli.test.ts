/** The audit log at the shell, and processes that have no key. */
import { Client } from 'pg';
import { createDataSource } from '../src/db/data-source';
import { Audit, bySystem } from '../src/services/audit';
import { AuditKeys } from '../src/services/audit-keys';
import { AuditSealer } from '../src/services/audit-sealer';
import { cleanUp, freshDatabase, freshFolder, startProgram } from './support/program';
import { until } from './support/until';

jest.setTimeout(180_000);
afterEach(cleanUp);

const AUDIT_SECRET = 'a secret of more than thirty-two characters';
const keys = new AuditKeys(AUDIT_SECRET);

async function withEntries(count: number): Promise<Awaited<ReturnType<typeof freshDatabase>>> {
  const urls = await freshDatabase();
  const db = await createDataSource(urls.DATABASE_URL, 2).initialize();
  const entries = Array.from({ length: count }, (_, at) => ({
    action: `act-${at + 1}`,
    changes: [{ field: 'name', before: 'a', after: 'b\n' }],
  }));
  await new Audit(keys).record(db, bySystem('an id'), ...entries);
  await new AuditSealer(db, keys, () => undefined).seal(true);
  await db.destroy();
  return urls;
}

const linesOf = (text: string) => text.trimEnd().split('\n').map((line) => JSON.parse(line)); // prettier-ignore

test('audit export prints a line of JSON for each entry, oldest first, from where one likes', async () => {
  const urls = await withEntries(5);
  const all = startProgram(urls, 'audit', 'export');
  expect(await all.exit).toBe(0);
  const entries = linesOf(all.stdout());
  expect(entries.map(({ position }) => position)).toEqual([1, 2, 3, 4, 5]);
  expect(entries[0]).toMatchObject({
    action: expect.stringMatching(/^act-/),
    changes: [{ field: 'name', before: 'a', after: 'b\n' }],
    correlationId: 'an id',
    keyId: keys.id,
    mac: expect.stringMatching(/^[0-9a-f]{64}$/),
    hash: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
  const rest = startProgram(urls, 'audit', 'export', '--after', '3');
  expect(await rest.exit).toBe(0);
  expect(linesOf(rest.stdout())).toEqual(entries.slice(3));
  const wrong = startProgram(urls, 'audit', 'export', '--after', 'tuesday');
  expect(await wrong.exit).toBe(1);
  expect(wrong.stderr()).toContain('whole number');
});

test('audit verify says what it found by its exit code too, and that it needs a key', async () => {
  const urls = await withEntries(3);
  const good = startProgram({ ...urls, AUDIT_SECRET }, 'audit', 'verify');
  expect(await good.exit).toBe(0);
  expect(JSON.parse(good.stdout())).toMatchObject({ intact: true, checked: 3, newestCheckpoint: { position: 3 } });
  const owner = new Client({ connectionString: urls.DATABASE_MIGRATION_URL });
  await owner.connect();
  await owner.query('alter table audit_events disable trigger user');
  await owner.query('delete from audit_events where position = 2');
  await owner.end();
  const next = {
    AUDIT_SECRET: 'another secret of more than thirty-two characters',
    AUDIT_PREVIOUS_SECRETS: AUDIT_SECRET,
  };
  const bad = startProgram({ ...urls, ...next }, 'audit', 'verify');
  expect(await bad.exit).toBe(1);
  expect(JSON.parse(bad.stdout())).toMatchObject({ intact: false, firstBad: { fault: 'REMOVED', position: 2 } });
  const keyless = startProgram(urls, 'audit', 'verify');
  expect(await keyless.exit).toBe(78);
  expect(keyless.stderr()).toContain('AUDIT_SECRET');
});

test('a worker without any key says at its start that it writes unsigned; with the key it seals', async () => {
  const urls = await freshDatabase();
  const env = { ...urls, KEYFRAME_DATA_DIR: await freshFolder() };
  const keyless = startProgram(env, '--role', 'worker');
  await until(() => keyless.stderr().includes('audit log unsigned'), 60_000, 'the warning');
  expect((await keyless.end()).code).toBe(0);
  const db = await createDataSource(urls.DATABASE_URL, 2).initialize();
  await new Audit(keys).record(db, bySystem('an id'), { action: 'x' });
  const worker = startProgram({ ...env, AUDIT_SECRET }, '--role', 'worker');
  await until(
    async () => (await db.query('select from audit_events where position = 1')).length > 0,
    60_000,
    'the seal',
  );
  await db.destroy();
  expect((await worker.end()).code).toBe(0);
  expect(worker.stderr()).not.toContain('unsigned');
  expect(worker.stderr()).toContain('the audit log was signed up to here');
});
