/**
 * The table of access for callers whose standing is not what their role says: every root field, over every transport. Another
 * kind of caller (an API token, an external identity) is a line in STANDINGS: who it is, and what each row answers to it, as
 * `like('operations')` for the cells of that column, with what differs named after it.
 */
import { buildClientSchema, getIntrospectionQuery, type GraphQLSchema } from 'graphql';
import { sign } from 'jsonwebtoken';
import { decode } from 'jsonwebtoken';
import { overSse, overWebSocket } from './support/access-streams';
import { rootRows, type CallerName, type Cell, type RootRow } from './support/access-table';
import { documentOf, leavesOf, typeOfRow } from './support/access-walk';
import { allRows, startWorld, told, type World } from './support/access-world';
import { TestClient, type GraphqlResponse } from './support/app';
import { uuidOf } from './support/rows';

const SECRET = 'a secret that only this test and its app know';

let world: World;
let schema: GraphQLSchema;

interface Standing {
  caller: () => Promise<TestClient>;
  cell: (row: RootRow) => Cell;
}

/** The cells of a column of the table, but for these fields. */
const like = (caller: CallerName, but: Partial<Record<string, Cell>> = {}) => (row: RootRow): Cell => but[row.field] ?? row.cells[caller]; // prettier-ignore

/** What is open to everyone answers, and nothing else. */
const shutOut = like('anonymous');

/** What an account with a one-time password may do before it has one of its own. */
const FIRST_STEPS = new Set(['viewer', 'changePassword', 'signOut']);

const STANDINGS: Record<string, Standing> = {
  'an account that was locked since': {
    caller: () => since('locked', (id) => `mutation { updateUser(input: { userId: "${id}", status: LOCKED }) { userErrors { code } } }`),
    cell: shutOut,
  },
  'an account that was removed since': {
    caller: () => since('removed', (id) => `mutation { removeUser(input: { userId: "${id}" }) { userErrors { code } } }`),
    cell: shutOut,
  },
  'an access token that has expired': {
    caller: async () => {
      const { header, payload } = decode((await world.app.as('ops')).token ?? '', { complete: true }) ?? {};
      const past = Math.floor(Date.now() / 1000) - 700;
      const token = sign({ ...(payload as object), iat: past, exp: past + 600 }, SECRET, { keyid: header?.kid ?? '' });
      return new TestClient(world.app.url, token, null);
    },
    cell: shutOut,
  },
  'a session that was ended': {
    caller: async () => {
      const client = await world.app.as('ops');
      await client.query('mutation { signOut { userErrors { code } } }');
      return client;
    },
    cell: shutOut,
  },
  'a session whose time is over': {
    caller: async () => {
      const client = await account('overdue', 'ADMIN');
      const { viewer } = await client.query('{ viewer { id } }');
      await world.app.db.query('update sessions set expires_at = now() where user_id = $1', [uuidOf(viewer.id)]);
      return client;
    },
    cell: shutOut,
  },
  'an account with a one-time password': {
    caller: () => account('invited', 'ADMIN', false),
    cell: (row) => (row.cells.anonymous !== '401' || FIRST_STEPS.has(row.field) ? 'answer' : '403'),
  },
  'an administrator of whom USER was made since': {
    caller: () => since('demoted', (id) => `mutation { updateUser(input: { userId: "${id}", role: USER }) { userErrors { code } } }`),
    cell: like('stranger', { viewer: 'answer' }),
  },
}; // prettier-ignore

async function account(name: string, role: string, own = true): Promise<TestClient> {
  const email = `${name}@keyframe.test`;
  const { createUser } = await world.callers.admin.query(`mutation { createUser(input: { email: "${email}", role: ${role} }) { oneTimePassword } }`); // prettier-ignore
  const client = await world.app.as(email, createUser.oneTimePassword);
  if (!own) return client;
  const change = 'mutation ($current: String!) { changePassword(input: { currentPassword: $current, newPassword: "a password of somebodys own" }) { userErrors { code } } }';
  await client.query(change, { current: createUser.oneTimePassword });
  return client;
} // prettier-ignore

/** An administrator to whom something was done after they had signed in. */
async function since(name: string, deed: (id: string) => string): Promise<TestClient> {
  const client = await account(name, 'ADMIN');
  const { viewer } = await client.query('{ viewer { id } }');
  await world.callers.admin.query(deed(viewer.id));
  return client;
}

type Ask = (client: TestClient, document: string) => Promise<Pick<GraphqlResponse, 'data' | 'errors'> & { status?: number }>; // prettier-ignore

const TRANSPORTS: Record<string, Ask> = {
  HTTP: (client, document) => client.send(document),
  WebSocket: async (client, document) => {
    const { events, refused } = await overWebSocket(client, document);
    return { data: undefined, ...events[0], ...(refused.length > 0 && { errors: refused }) };
  },
  'server-sent events': async (client, document) => ({ data: undefined, ...(await overSse(client, document)).events[0] }),
}; // prettier-ignore

/** Whoever may do nothing may try to sign in: that alone leaves a trace, by which the next tries are counted. */
async function rowsOfOthers(): Promise<Record<string, string>> {
  const rows = await allRows(world.app);
  return Object.fromEntries(Object.entries(rows).filter(([table]) => table !== 'public.failed_tries'));
}

const CODES: Partial<Record<Cell, string>> = { '401': 'UNAUTHENTICATED', '403': 'FORBIDDEN' };

function selectionBelow(row: RootRow): string {
  const type = typeOfRow(schema, row);
  if (type === 'Event') return '{ change nodeId }';
  if (type.endsWith('Payload')) return '{ userErrors { code message field } }';
  return type.endsWith('Connection') ? '{ totalCount nodes { id } }' : leavesOf(schema, type);
}

describe.each(Object.entries(STANDINGS))('%s', (_, { caller, cell }) => {
  let client: TestClient;
  // A world for each: all of them together fail to sign in, and come with bad tokens, more often than one address may.
  beforeAll(async () => {
    world = await startWorld({ JWT_SECRET: SECRET });
    schema = buildClientSchema(await world.app.anonymous.query(getIntrospectionQuery()));
    client = await caller();
  });
  afterAll(() => world.app.stop());

  test.each(Object.entries(TRANSPORTS))(
    'is answered as the table says over %s',
    async (transport, ask) => {
      const before = await rowsOfOthers();
      const wrong: unknown[] = [];
      // Whoever signs out is somebody else afterwards.
      for (const row of rootRows.filter(({ field }) => field !== 'signOut' || cell === shutOut)) {
        if (row.kind === 'Subscription' && transport === 'HTTP') continue;
        const expected = cell(row);
        const document = (values: World['real']) => documentOf(row, selectionBelow(row), values);
        const answer = await ask(client, document(row.kind === 'Mutation' ? world.missing : world.real));
        const codes = answer.errors?.map(({ extensions }) => extensions['code']);
        const shown = world.secrets.some((secret) => JSON.stringify(answer).includes(secret));
        const code = CODES[expected];
        const same = expected !== 'hidden' || JSON.stringify(told(answer as never)) === JSON.stringify(told((await ask(client, document(world.missing))) as never)); // prettier-ignore
        const asExpected = code ? codes?.length === 1 && codes[0] === code && !answer.data : codes === undefined;
        if (!asExpected || !same || shown !== (expected === 'seen')) wrong.push({ field: row.field, expected, answer });
      }
      expect(wrong).toEqual([]);
      if (cell === shutOut) expect(await rowsOfOthers()).toEqual(before);
    },
    120_000,
  );
});
