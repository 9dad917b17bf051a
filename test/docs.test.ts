/** What the documents say is held against the schema and the tests. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, validate } from 'graphql';
import { createSchema } from '../src/schema';

const read = (name: string) => readFileSync(join(__dirname, '../docs', name), 'utf8');
const guide = ['snapshots.md', 'api-tokens.md'].map(read).join('\n');
const schema = createSchema();

const queriesOf = (text: string) => [...text.matchAll(/```graphql\n([\s\S]+?)```/g)].map(([, query = '']) => query);
const queries = queriesOf(guide);
const proofs = [...guide.matchAll(/> Test: _(.+)_/g)].map(([, name = '']) => name);

test('every query of the guides runs on the schema', () => {
  for (const query of [...queries, ...['accounts.md', 'audit.md'].flatMap((name) => queriesOf(read(name)))])
    expect([query, validate(schema, parse(query))]).toEqual([query, []]);
});

test('every test that the guides name exists, and every query has one', () => {
  const sources = readdirSync(__dirname)
    .filter((file) => file.endsWith('.test.ts') && file !== 'docs.test.ts')
    .map((file) => readFileSync(join(__dirname, file), 'utf8'))
    .join('\n');
  expect(proofs.filter((name) => !sources.includes(name))).toEqual([]);
  expect(proofs).toHaveLength(queries.length);
});
