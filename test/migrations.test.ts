import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { createDataSource } from '../src/db/data-source';
import { migrate } from '../src/db/migrate';
import { installQueue } from '../src/worker/worker';
import { createDatabase, type TestDatabase } from './support/database';
import { describeSchema } from './support/schema-description';

const FILE = join(__dirname, '../src/db/schema.txt');

// A single role owns everything, and the program warns of it.
const separate = process.env.KEYFRAME_TEST_DATABASE_URL !== process.env.KEYFRAME_TEST_MIGRATION_URL;

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase({ empty: true });
  await migrate(database, () => installQueue(database.url));
});
afterAll(() => database.drop());

test('entities ask for nothing that the migrations have not made', async () => {
  const db = await createDataSource(database.migrationUrl, 2).initialize();
  const { upQueries } = await db.driver.createSchemaBuilder().log();
  await db.destroy();
  expect(upQueries.map(({ query }) => query)).toEqual([]);
});

// With UPDATE_SCHEMA_TXT=1 the description is written instead, for the commit of a migration.
test('the migrations make what src/db/schema.txt describes, with all that an ORM does not compare', async () => {
  const db = await createDataSource(database.migrationUrl, 2).initialize();
  const described = await describeSchema(db, new URL(database.url).username);
  await db.destroy();
  if (process.env.UPDATE_SCHEMA_TXT === '1') writeFileSync(FILE, described);
  // A role that owns the tables has every right on them: there is nothing to hold.
  const held = (text: string) => text.split('\n').filter((line) => separate || !line.includes('serving role may'));
  expect(held(described)).toEqual(held(readFileSync(FILE, 'utf8')));
});

test('migrating again changes nothing, also by two processes at once', async () => {
  const again = () => migrate(database, () => installQueue(database.url));
  const reports = await Promise.all([again(), again()]);
  expect(reports.map(({ applied }) => applied)).toEqual([[], []]);
});

(separate ? test : test.skip)(
  'the serving role can neither change the schema nor write the list of migrations',
  async () => {
    const serving = new Client({ connectionString: database.url });
    await serving.connect();
    for (const statement of [
      'create table more ()',
      'alter table snapshots add more int',
      'delete from schema_migrations',
      'create schema more',
    ]) {
      await expect(serving.query(statement)).rejects.toThrow(/permission denied|must be owner/);
    }
    await serving.end();
  },
);
