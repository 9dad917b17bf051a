import { getDirective } from '@graphql-tools/utils';
import { buildClientSchema, getIntrospectionQuery, type GraphQLSchema } from 'graphql';
import { createSchema } from '../src/schema';
import { describeForbidden } from './support/access-forbidden';
import { describePeople } from './support/access-people';
import { describeRules } from './support/access-rules';
import { overSse, overWebSocket } from './support/access-streams';
import {
  CALLERS,
  fieldRows,
  knownFields,
  rootRows,
  SESSION_ONLY,
  type CallerName,
  type RootRow,
} from './support/access-table';
import { documentOf, fieldsOf, leavesOf, queryRows, staffFields, typeOfRow, walksFrom } from './support/access-walk';
import { startWorld, statementsOf, told, type World } from './support/access-world';
import type { GraphqlResponse, TestClient } from './support/app';

let world: World;
let schema: GraphQLSchema;
beforeAll(async () => {
  world = await startWorld();
  schema = buildClientSchema(await world.app.anonymous.query(getIntrospectionQuery()));
});
afterAll(() => world.app.stop());

const ROLES = { assigned: 'USER', operations: 'OPERATIONS', admin: 'ADMIN' } as const;
/** The roles that a field below the roots requires, by who is told it. */
const RULES: Record<string, string[]> = { staff: ['OPERATIONS', 'ADMIN'], session: ['USER', 'OPERATIONS', 'ADMIN'] };
const codes = ({ errors }: GraphqlResponse) => errors?.map(({ extensions }) => extensions.code);
const title = ({ kind, field, args }: RootRow) => `${kind}.${field}(${args})`;

/** What is selected below a root field, so that an instance in its answer shows. */
function selectionBelow(row: RootRow): string {
  const type = typeOfRow(schema, row);
  if (type === 'UserConnection') return '{ totalCount nodes { id assignedInstances { totalCount nodes { id } } } }';
  if (type === 'AuditEventConnection') return '{ totalCount nodes { id resourceName } edges { cursor node { id } } }';
  if (type.endsWith('Connection')) return '{ totalCount nodes { id } edges { cursor node { id } } pageInfo { startCursor endCursor hasNextPage hasPreviousPage } }'; // prettier-ignore
  if (type === 'User') return '{ id assignedInstances { totalCount nodes { id } } }';
  if (type.endsWith('Payload')) return '{ userErrors { code message field } }';
  return leavesOf(schema, type);
}

/** What a caller is told of nothing, and, when that is all they may be told, that they are told the same of web-1. */
async function expectHidden(client: TestClient, document: (values: World['real']) => string): Promise<void> {
  const real = await statementsOf(world.app, () => client.send(document(world.real)));
  const missing = await statementsOf(world.app, () => client.send(document(world.missing)));
  expect(told(real.result)).toEqual(told(missing.result));
  expect(real.statements).toEqual(missing.statements);
  expect(real.statements).not.toEqual([]);
  expect(real.result.status).toBe(200);
  for (const secret of world.secrets) expect(JSON.stringify(real.result)).not.toContain(secret);
}

async function expectCell(row: RootRow, caller: CallerName, client: TestClient): Promise<void> {
  const document = (values: World['real']) => documentOf(row, selectionBelow(row), values);
  const cell = row.cells[caller];
  if (cell === 'hidden') return expectHidden(client, document);
  const writes = row.kind === 'Mutation' && cell === 'answer';
  const answer = await client.send(document(writes ? world.missing : world.real));
  if (cell === '401' || cell === '403') {
    expect(answer).toMatchObject({ status: Number(cell), errors: [{ path: [row.field] }] });
    expect(codes(answer)).toEqual([cell === '401' ? 'UNAUTHENTICATED' : 'FORBIDDEN']);
    expect(answer).not.toHaveProperty('data');
    return;
  }
  expect(answer).toMatchObject({ status: 200, data: { [row.field]: expect.anything() } });
  expect(answer).not.toHaveProperty('errors');
  const seen = world.secrets.some((secret) => JSON.stringify(answer).includes(secret));
  expect(seen).toBe(cell === 'seen');
}

describe('the table of access', () => {
  test('has a row for every field of the live schema, and no row for anything else', () => {
    expect(knownFields().sort()).toEqual(fieldsOf(schema).sort());
  });

  test('says what the printed directives say', () => {
    const printed = createSchema();
    const rulesOf = (type: string, name: string) => {
      const field = (printed.getType(type) as any).getFields()[name];
      return { auth: getDirective(printed, field, 'auth')?.[0]?.requires, open: getDirective(printed, field, 'public') !== undefined }; // prettier-ignore
    };
    for (const { kind, field, cells } of rootRows) {
      const open = cells.anonymous !== '401';
      const allowed = Object.entries(ROLES).filter(([caller]) => cells[caller as CallerName] !== '403').map(([, role]) => role); // prettier-ignore
      expect({ field, ...rulesOf(kind, field) }).toEqual({ field, auth: open ? undefined : allowed, open });
    }
    for (const { type, who, fields } of fieldRows) {
      for (const field of fields)
        expect({ field, ...rulesOf(type, field) }).toEqual({ field, auth: RULES[who], open: false }); // prettier-ignore
    }
  });
});

test('the fields that the table says are for people alone carry @session, and no others', () => {
  const printed = createSchema();
  const marked = fieldsOf(printed).filter((path) => {
    const [type = '', name = ''] = path.split('.');
    return getDirective(printed, (printed.getType(type) as any).getFields()[name], 'session') !== undefined;
  });
  expect(marked.sort()).toEqual([...SESSION_ONLY].sort());
});

describe.each(rootRows.filter(({ kind }) => kind !== 'Subscription').map((row) => [title(row), row] as const))(
  '%s',
  (_, row) => {
    test.each(CALLERS)(
      `what is hidden answers as what is missing, and every field as the table says, to: %s`,
      async (caller) => {
        // Signing out must not end the sessions of the tests that follow.
        const again = { assigned: 'alice', stranger: 'bob', operations: 'ops', admin: 'admin' } as const;
        const fresh = row.field === 'signOut' && caller !== 'anonymous';
        await expectCell(row, caller, fresh ? await world.app.as(again[caller]) : world.callers[caller]);
      },
    );
  },
);

describe.each(
  queryRows
    .filter(({ cells }) => cells.admin === 'seen' || cells.assigned === 'seen')
    .map((row) => [title(row), row] as const),
)('whatever lies below %s', (_, row) => {
  test.each(CALLERS)(
    'is told to those alone who may: %s',
    async (caller) => {
      const client = world.callers[caller];
      for (const { fields, document } of walksFrom(schema, row)) {
        const refused = row.cells[caller] === '403' || (caller !== 'anonymous' && isUser(caller) && fields.some((field) => staffFields.has(field))); // prettier-ignore
        if (!refused && row.cells[caller] === 'hidden') {
          await expectHidden(client, document);
          continue;
        }
        const real = await client.send(document(world.real));
        const expected = caller === 'anonymous' ? 'UNAUTHENTICATED' : refused ? 'FORBIDDEN' : undefined;
        expect([fields, new Set(codes(real))]).toEqual([fields, new Set(expected ? [expected] : [])]);
        if (expected) expect(told(await client.send(document(world.missing)))).toEqual(told(real));
      }
    },
    120_000,
  );
});

describe.each(rootRows.filter(({ kind }) => kind === 'Subscription').map((row) => [title(row), row] as const))(
  '%s',
  (_, row) => {
    test.each(CALLERS)('streams as the table says to: %s', async (caller) => {
      // What begins now tells of nothing that was before.
      const selection = row.field === 'events' ? '{ change nodeId }' : '{ id }';
      const [real, missing] = [documentOf(row, selection, world.real), documentOf(row, selection, world.missing)];
      for (const stream of [overWebSocket, overSse]) {
        const { result, statements } = await statementsOf(world.app, () => stream(world.callers[caller], real));
        const cell = row.cells[caller];
        if (cell === '401') {
          const errors = [...result.refused, ...result.events.flatMap((event) => event.errors ?? [])];
          expect(errors).toMatchObject([{ path: [row.field], extensions: { code: 'UNAUTHENTICATED' } }]);
        } else if (cell === 'answer') {
          expect(result.events).toEqual([{ data: { [row.field]: { change: 'CAUGHT_UP', nodeId: null } } }]);
        } else if (cell === 'seen') {
          expect(result.events).toEqual([{ data: { [row.field]: { id: expect.stringMatching(/./) } } }]);
        } else {
          const nothing = await statementsOf(world.app, () => stream(world.callers[caller], missing));
          expect(result).toMatchObject({ events: [], refused: [], completed: true });
          expect(nothing).toEqual({ result, statements });
        }
      }
    });
  },
);

const isUser = (caller: CallerName) => caller === 'assigned' || caller === 'stranger';

describeForbidden(() => world);
describePeople(() => world);
describeRules();
