// Writes schema.graphql from the code. `--check` fails instead when the committed file differs.
import { readFileSync, writeFileSync } from 'node:fs';
import { createSchema, printSchema } from '../src/schema';

const text = printSchema(createSchema());
if (!process.argv.includes('--check')) writeFileSync('schema.graphql', text);
else if (readFileSync('schema.graphql', 'utf8') !== text) {
  console.error('schema.graphql is not what is served: run npm run schema:emit and commit it');
  process.exit(1);
}
