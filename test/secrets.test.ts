/** Nothing that the API answers to anybody holds a setting of the installation or a secret of it. */
import { readFile } from 'node:fs/promises';
import { getIntrospectionQuery } from 'graphql';
import { createSchema } from '../src/schema';
import { rootRows } from './support/access-table';
import { documentOf, leavesOf, typeOfRow } from './support/access-walk';
import { startWorld, type World } from './support/access-world';

const SECRET = 'the-secret-with-which-tokens-are-signed-here';

let world: World;
let secrets: string[];
beforeAll(async () => {
  world = await startWorld({ JWT_SECRET: SECRET });
  const { app } = world;
  const url = new URL(app.database.url);
  const hashes: { secret: string }[] = await app.db.query(
    // Sessions of the demo data have no refresh token.
    `select password_hash as secret from users
     union all select encode(refresh_token_hash, 'hex') from sessions where refresh_token_hash <> ''
     union all select encode(family_hash, 'hex') from sessions where family_hash is not null
     union all select encode(secret_hash, 'hex') from api_tokens`,
  );
  if (!hashes.some(({ secret }) => secret.startsWith('$argon2'))) throw new Error('no passwords were found');
  const passwords = JSON.parse(await readFile(`${app.folder}/demo-credentials.json`, 'utf8').catch(() => '{}')) as Record<string, { password: string }>; // prettier-ignore
  secrets = [
    SECRET, app.folder, process.cwd(), url.href, url.pathname.slice(1), ...(url.password ? [url.password] : []),
    ...hashes.map(({ secret }) => secret), ...Object.values(passwords).map(({ password }) => password),
    'JWT_SECRET', 'DATABASE_URL', 'KEYFRAME_DATA_DIR', 'password_hash', 'refresh_token_hash', 'argon2',
  ]; // prettier-ignore
});
afterAll(() => world.app.stop());

const schema = createSchema();

/** What every caller may ask, and what goes wrong in every way. */
const documents = (): string[] => [
  getIntrospectionQuery(),
  '{ apiInfo { version administratorContact engine { kind capabilities available } limits { maxBodyBytes maxPageSize } } }',
  '{ __type(name: "User") { fields { name description } } nothing }',
  '{',
  '{ viewer { passwordHash } }',
  'query ($id: ID!) { node(id: $id) { id } }',
  'mutation { signIn(input: { email: "admin@keyframe.test", password: "wrong" }) { accessToken userErrors { message remediation } } }',
  'mutation { createUser(input: { email: "admin@keyframe.test", role: ADMIN }) { oneTimePassword userErrors { message remediation } } }',
  ...rootRows
    .filter(({ kind }) => kind === 'Query')
    .map((row) => {
      const type = typeOfRow(schema, row);
      const node = schema.getType(type.replace('Connection', ''));
      return documentOf(row, type.endsWith('Connection') ? `{ nodes ${leavesOf(schema, node?.name ?? type)} }` : leavesOf(schema, type), world.real); // prettier-ignore
    }),
];

test('no answer, error or description holds a secret or a setting, whoever asks', async () => {
  expect(secrets.every((secret) => secret.length > 3)).toBe(true);
  const told: unknown[] = [];
  for (const [caller, client] of Object.entries(world.callers)) {
    for (const document of documents()) {
      const text = JSON.stringify(await client.send(document));
      for (const secret of secrets) if (text.includes(secret)) told.push([caller, document.slice(0, 80), secret]);
    }
  }
  expect(told).toEqual([]);
});

test('a failure within is told by its id alone', async () => {
  const broken = jest.spyOn(world.app.db, 'query').mockRejectedValue(new Error(`no connection to ${world.app.database.url} with ${SECRET}`)); // prettier-ignore
  try {
    for (const accept of ['application/json', 'application/graphql-response+json', 'text/event-stream']) {
      const headers = { 'content-type': 'application/json', accept, authorization: `Bearer ${world.callers.admin.token ?? ''}` }; // prettier-ignore
      const response = await fetch(`${world.app.url}/graphql`, { method: 'POST', headers, body: '{"query":"{ viewer { id } }"}' }); // prettier-ignore
      const text = await response.text();
      expect(text).toContain('INTERNAL_SERVER_ERROR');
      for (const secret of [...secrets, 'no connection', '.ts:', ' at ']) expect(text).not.toContain(secret);
    }
  } finally {
    broken.mockRestore();
  }
});
