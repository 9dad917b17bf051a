import { overSse, overWebSocket } from './access-streams';
import { allRows, missingId, told, type World } from './access-world';
import type { GraphqlResponse, TestClient } from './app';
import { instanceId } from './stories';

const MUTATIONS: Record<string, (of: { instance: string; snapshot: string; operation: string }) => string> = {
  createSnapshot: ({ instance }) => `createSnapshot(input: { instanceId: "${instance}", name: "refused" }) { userErrors { message } }`,
  restoreSnapshot: ({ snapshot }) => `restoreSnapshot(input: { snapshotId: "${snapshot}" }) { userErrors { message } }`,
  deleteSnapshot: ({ snapshot }) => `deleteSnapshot(input: { snapshotId: "${snapshot}" }) { userErrors { message } }`,
  deleteSnapshots: ({ snapshot }) => `deleteSnapshots(input: { snapshotIds: ["${snapshot}"] }) { userErrors { message } }`,
  renameSnapshot: ({ snapshot }) => `renameSnapshot(input: { snapshotId: "${snapshot}", name: "refused" }) { userErrors { message } }`,
  updateSnapshot: ({ snapshot }) => `updateSnapshot(input: { snapshotId: "${snapshot}", description: "refused" }) { userErrors { message } }`,
  cancelOperation: ({ operation }) => `cancelOperation(input: { operationId: "${operation}" }) { userErrors { message } }`,
  retryOperation: ({ operation }) => `retryOperation(input: { operationId: "${operation}" }) { userErrors { message } }`,
}; // prettier-ignore

const CREATE = 'createSnapshot(input: { instanceId: "x", name: "refused" }) { replayed }';
const FORBIDDEN = {
  message: 'Only OPERATIONS and ADMIN may do this; an administrator can give you access. Write to help@keyframe.test.',
  extensions: {
    code: 'FORBIDDEN',
    requiredRoles: ['OPERATIONS', 'ADMIN'],
    contact: 'Write to help@keyframe.test',
    correlationId: '…',
  },
};
const paths = ({ errors }: GraphqlResponse) => errors?.map(({ path }) => path?.join('.'));

/** What somebody is told who may not, and that there is no way round it. */
export function describeForbidden(world: () => World): void {
  const alice = () => world().callers.assigned;
  describeRefusedMutations(world);
  describeWaysRound(alice, world);

  describe('the same on every transport', () => {
    const refused = `mutation { first: ${CREATE} second: ${CREATE} }`;
    const expected = [{ ...FORBIDDEN, path: ['first'] }, { ...FORBIDDEN, path: ['second'] }]; // prettier-ignore

    test('HTTP, WebSocket and server-sent events refuse in the same words', async () => {
      expect(told(await alice().send(refused))).toEqual({ status: 403, errors: expected });
      expect(told((await overWebSocket(alice(), refused)).refused as never)).toEqual(expected);
      const { events, completed } = await overSse(alice(), refused);
      expect(told({ events, completed } as never)).toEqual({ events: [{ errors: expected }], completed: true });
    });

    test('a refused field of a subscription refuses it before it starts', async () => {
      const query = `subscription { instanceUpdated(id: "${world().real['instance']}") { assignments { totalCount } } }`;
      const expected = [{ ...FORBIDDEN, path: ['instanceUpdated', 'assignments'] }];
      expect(told((await overWebSocket(alice(), query)).refused as never)).toEqual(expected);
      expect(told((await overSse(alice(), query)).events as never)).toEqual([{ errors: expected }]);
    });

    test('a subscription by plain HTTP is told where to go', async () => {
      const answer = await alice().send(`subscription { instanceUpdated(id: "${world().real['instance']}") { id } }`);
      expect(answer).toMatchObject({ status: 400, errors: [{ extensions: { code: 'BAD_REQUEST' } }] });
      expect(answer).not.toHaveProperty('data');
    });
  });
}

function describeRefusedMutations(world: () => World): void {
  test.each(Object.entries(MUTATIONS))(
    '%s refuses a USER in the same words for their own, another’s and a missing one, and changes nothing',
    async (field, mutation) => {
      const { app, callers, real } = world();
      const { assigned: alice, stranger: bob, operations: ops } = callers;
      const build1 = await instanceId(bob, 'build-1');
      const { snapshots } = await ops.query(
        '{ snapshots(filter: { name: { eq: "clean" } }) { nodes { id createdByOperation { id } } } }',
      );
      const [clean] = snapshots.nodes;
      const targets = [
        { instance: real['instance'] ?? '', snapshot: real['snapshot'] ?? '', operation: real['operation'] ?? '' },
        { instance: build1, snapshot: clean.id, operation: clean.createdByOperation.id },
        { instance: missingId('Instance'), snapshot: missingId('Snapshot'), operation: missingId('Operation') },
        { instance: 'malformed', snapshot: 'malformed', operation: 'malformed' },
      ];
      const before = await allRows(app);
      for (const target of targets) {
        const document = `mutation { alias: ${mutation(target)} }`;
        const answer = await alice.send(document);
        expect(told(answer)).toEqual({ status: 403, errors: [{ ...FORBIDDEN, path: ['alias'] }] });
        expect(answer.errors?.[0]?.extensions['correlationId']).toMatch(/^[0-9a-f-]{36}$/);
        const older = await alice.send(document, {}, { accept: 'application/json' });
        expect(told(older)).toEqual({ ...(told(answer) as object), status: 200 });
      }
      expect(await allRows(app)).toEqual(before);
      const { instance } = await alice.query(`{ instance(id: "${real['instance']}") { viewerPermissions { createSnapshot { allowed reason message } } } }`); // prettier-ignore
      expect(instance.viewerPermissions.createSnapshot).toEqual({ allowed: false, reason: 'FORBIDDEN', message: FORBIDDEN.message }); // prettier-ignore
      expect(Object.keys(MUTATIONS)).toContain(field);
    },
  );

  test('one refused field refuses the whole operation before any of it is done', async () => {
    const { app, callers } = world();
    const alice = await app.as('alice');
    const before = await allRows(app);
    expect(paths(await alice.send(`mutation { signOut { userErrors { code } } ${CREATE} }`))).toEqual([
      'createSnapshot',
    ]);
    expect(await allRows(app)).toEqual(before);
    expect((await alice.send('{ viewer { id } }')).status).toBe(200);
    expect(paths(await callers.assigned.send('{ viewer { id } users { totalCount } }'))).toEqual(['users']);
  });
}

function describeWaysRound(alice: () => TestClient, world: () => World): void {
  const bare = CREATE;
  test.each<[string, string, object, string[]]>([
    ['aliases', `mutation { a: ${bare} b: ${bare} }`, {}, ['a', 'b']],
    ['the same field twice', `mutation { ${bare} ${bare} }`, {}, ['createSnapshot']],
    ['a fragment', `mutation { ...F } fragment F on Mutation { ${bare} }`, {}, ['createSnapshot']],
    ['fragments in fragments', `mutation { ...F } fragment F on Mutation { ...G } fragment G on Mutation { a: ${bare} }`, {}, ['a']],
    ['an inline fragment', `mutation { ... { ... on Mutation { ${bare} } } }`, {}, ['createSnapshot']],
    ['@include that is true', `mutation ($yes: Boolean!) { ${bare.replace(') {', ') @include(if: $yes) {')} }`, { yes: true }, ['createSnapshot']],
    ['@include true by default', `mutation ($yes: Boolean = true) { ...F @include(if: $yes) } fragment F on Mutation { ${bare} }`, {}, ['createSnapshot']],
    ['@skip false by default', `mutation ($no: Boolean! = false) { ... @skip(if: $no) { ${bare} } }`, {}, ['createSnapshot']],
    ['a variable that is missing', `mutation ($no: Boolean!) { ... @skip(if: $no) { ${bare} } }`, {}, ['createSnapshot']],
    ['a variable of another type', `mutation ($no: Boolean!) { ... @skip(if: $no) { ${bare} } }`, { no: 'true' }, ['createSnapshot']],
    ['a variable that is null', `mutation ($no: Boolean = true) { ... @skip(if: $no) { ${bare} } }`, { no: null }, ['createSnapshot']],
    ['both directives', `mutation { ... @skip(if: false) @include(if: true) { ${bare} } }`, {}, ['createSnapshot']],
    ['a field below a Node', `query ($id: ID!) { node(id: $id) { ... on Instance { a: assignments { totalCount } } } }`, {}, ['node.a']],
    ['a field below one of several', `query ($id: ID!) { nodes(ids: [$id]) { ...F } } fragment F on Node { ... on Snapshot { instance { assignments { totalCount } } } }`, {}, ['nodes.instance.assignments']],
    ['a field of a missing thing', `{ instance(name: "web-0") { assignments { totalCount } } }`, {}, ['instance.assignments']],
  ])('%s cannot get round a refusal', async (_, query, variables, expected) => {
    const answer = await alice().send(query, { id: world().real['instance'], ...variables });
    expect(paths(answer)).toEqual(expected);
    expect(answer).not.toHaveProperty('data');
    expect(answer).toMatchObject({ status: 403, errors: expected.map(() => ({ extensions: { code: 'FORBIDDEN' } })) });
  }); // prettier-ignore

  test('a field that is left out is not refused', async () => {
    const query = `query ($no: Boolean = false) { __typename users @include(if: $no) { totalCount } ...F @skip(if: true) } fragment F on Query { users { totalCount } }`;
    expect(await alice().query(query)).toEqual({ __typename: 'Query' });
  });

  test('variables that are no good are told as such when nothing is refused', async () => {
    for (const variables of [{}, { id: { not: 'an id' } }]) {
      const answer = await alice().send('query ($id: ID!) { instance(id: $id) { id } }', variables);
      expect(answer).toMatchObject({ errors: [{ extensions: { code: 'BAD_USER_INPUT' } }] });
    }
  });

  test('the schema and the names of the roots are open to everyone, also with a bad token', async () => {
    const { app } = world();
    for (const headers of [{}, { authorization: 'Bearer nonsense' }]) {
      const { status, data } = await app.anonymous.send('{ __typename __schema { queryType { name } } __type(name: "User") { name } }', {}, headers); // prettier-ignore
      expect({ status, data }).toEqual({ status: 200, data: { __typename: 'Query', __schema: { queryType: { name: 'Query' } }, __type: { name: 'User' } } }); // prettier-ignore
      expect((await app.anonymous.send('mutation { __typename }', {}, headers)).data).toEqual({
        __typename: 'Mutation',
      });
    }
  });

  test('of several operations the one that is named is judged', async () => {
    const body = { query: `query Open { apiInfo { version } } mutation Closed { ${CREATE} }` };
    const run = async (operationName: string) => {
      const headers = { 'content-type': 'application/json', accept: 'application/graphql-response+json' };
      const response = await fetch(`${alice().url}/graphql`, { method: 'POST', headers, body: JSON.stringify({ ...body, operationName }) }); // prettier-ignore
      return response.status;
    };
    expect([await run('Open'), await run('Closed'), await run('Missing')]).toEqual([200, 401, 400]);
  });
}
