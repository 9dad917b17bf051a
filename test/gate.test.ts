/** Whatever a document, its variables or its sender ask too much of is refused before it costs anything, on every transport. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getIntrospectionQuery } from 'graphql';
import { ConfigError } from '../src/config';
import { DEFAULT_TABS } from '../src/graphiql/tabs';
import { startTestApp, type TestApp, type TestClient } from './support/app';
import { ABUSES, ASK, TRANSPORTS } from './support/refused';

let app: TestApp;
let ops: TestClient;
beforeAll(async () => {
  app = await startTestApp();
  ops = await app.as('ops');
});
afterAll(() => app.stop());

const codesOf = ({ errors = [] }: { errors?: { extensions: Record<string, any> }[] | undefined }) =>
  errors.map(({ extensions }) => extensions.code);

describe.each(TRANSPORTS)('over %s', (transport) => {
  const ask = ASK[transport];

  test.each(Object.entries(ABUSES))('%s: refused, in a sentence', async (_, [query, says, code = 'QUERY_TOO_COMPLEX']) => {
    const { data, errors = [] } = await ask(ops, query);
    expect(data).toBeUndefined();
    expect(errors[0]?.message).toMatch(says);
    expect(errors[0]?.extensions.code).toMatch(new RegExp(`^(${code})$`));
    expect(errors[0]?.extensions.correlationId).toMatch(/^[0-9a-f-]{36}$/);
  }); // prettier-ignore

  test.each([
    ['depth', { filter: nested(20) }, /depth of a variable/],
    ['length', { filter: { name: { in: Array.from({ length: 1001 }, () => 'x') } } }, /length of a list/],
    ['bytes', { filter: { name: { eq: 'x'.repeat(70_000) } } }, /length of the variables/],
  ])('variables of too much %s are refused', async (_, variables, says) => {
    const query = 'query ($filter: InstanceFilter) { instances(filter: $filter) { totalCount } }';
    const outcome = await ask(ops, query, variables);
    expect([codesOf(outcome), outcome.errors?.[0]?.message]).toEqual([
      ['QUERY_TOO_COMPLEX'],
      expect.stringMatching(says),
    ]);
  });

  test('no error guesses at what was meant', async () => {
    const { errors } = await ask(ops, '{ viewer { rol } }');
    expect(codesOf({ errors })).toEqual(['GRAPHQL_VALIDATION_FAILED']);
    expect(JSON.stringify(errors)).not.toMatch(/did you mean/i);
  });
});

describe('what is ours fits', () => {
  const examples = ['README.md', 'docs/snapshots.md'].flatMap((file) =>
    [...readFileSync(join(__dirname, '..', file), 'utf8').matchAll(/```graphql\n([\s\S]+?)```/g)].map(([, text]) => text),
  );
  const introspection = getIntrospectionQuery({
    descriptions: true,
    specifiedByUrl: true,
    directiveIsRepeatable: true,
    schemaDescription: true,
    inputValueDeprecation: true,
    oneOf: true,
  });

  test.each([...examples, ...DEFAULT_TABS.map(({ query }) => query), introspection])('%s', async (query = '') => {
    expect(codesOf(await ops.send(query))).not.toContain('QUERY_TOO_COMPLEX');
  });

  test('introspection is answered', async () => {
    expect((await app.anonymous.query(introspection)).__schema.types.length).toBeGreaterThan(50);
  });
}); // prettier-ignore

describe('the cost of an operation', () => {
  const costOf = async (query: string, variables: object = {}) => {
    const answer: any = await ops.send(query, variables);
    return answer.extensions?.cost ?? codesOf(answer);
  };
  const limit = 25_000;

  test.each<[string, object, number]>([
    ['{ apiInfo { version } }', {}, 0],
    ['{ viewer { id } }', {}, 1],
    ['{ instances { nodes { id } } }', {}, 26],
    ['{ instances(first: 7) { nodes { id } totalCount pageInfo { hasNextPage } } }', {}, 9],
    ['{ instances(last: 7) { edges { node { id } } } }', {}, 8],
    ['query ($n: Int) { instances(first: $n) { nodes { id } } }', { n: 3 }, 4],
    ['query ($n: Int) { instances(first: $n) { nodes { id } } }', {}, 26],
    ['query ($n: Int = 4) { instances(first: $n) { nodes { id } } }', {}, 5],
    ['{ instances(first: 10) { nodes { snapshots(first: 5) { nodes { id } } } } }', {}, 1 + 10 * (1 + 1 + 5)],
    ['query ($n: Int!) { ...I } fragment I on Query { instances(first: $n) { ...C } } fragment C on InstanceConnection { nodes { latestSnapshot { id } } }', { n: 6 }, 1 + 6 * 2],
    ['query ($ids: [ID!]!) { nodes(ids: $ids) { id } }', { ids: ['a', 'b'] }, 2],
    ['{ nodes(ids: ["a", "b", "c"]) { ... on Instance { latestSnapshot { id } } } }', {}, 6],
  ])('%s %j is %d', async (query, variables, requested) => {
    expect(await costOf(query, variables)).toEqual({ requested, limit });
  });

  test('is one more than is allowed, and says both numbers', async () => {
    const query = 'query ($n: Int!) { instances(first: 100) { nodes { snapshots(first: $n) { nodes { createdBy { id } instance { id } } } } } }';
    expect(await costOf(query, { n: 10 })).toEqual({ requested: 3201, limit });
    const { status, errors } = await ops.send(query, { n: 100 });
    expect([status, errors?.[0]?.extensions.code]).toEqual([400, 'QUERY_TOO_COMPLEX']);
    expect(errors?.[0]?.message).toContain('30201');
    expect(errors?.[0]?.message).toContain('25000');
  });
}); // prettier-ignore

describe('settings', () => {
  const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
  const VIEWER = '{ viewer { role } }';
  const file = join(tmpdir(), `keyframe-trusted-${process.pid}.json`);
  const trust = (documents: Record<string, string>) => writeFile(file, JSON.stringify(documents));

  test('introspection can be switched off; __typename stays', async () => {
    const other = await startTestApp({ env: { INTROSPECTION: '0' } });
    try {
      for (const transport of TRANSPORTS)
        for (const query of ['{ __schema { types { name } } }', '{ __type(name: "User") { name } }', '{ ...F } fragment F on Query { s: __schema { types { name } } }'])
          expect(codesOf(await ASK[transport](other.anonymous, query))).toEqual(['GRAPHQL_VALIDATION_FAILED']);
      expect(await other.anonymous.query('{ __typename }')).toEqual({ __typename: 'Query' });
    } finally {
      await other.stop();
    }
  }); // prettier-ignore

  describe.each([false, true])('trusted documents, alone: %s', (alone) => {
    let other: TestApp;
    let alice: TestClient;
    const signIn = 'mutation ($email: String!, $password: String!) { signIn(input: { email: $email, password: $password }) { accessToken refreshToken userErrors { code } } }'; // prettier-ignore
    beforeAll(async () => {
      await trust({ [sha256(VIEWER)]: VIEWER, [sha256(signIn)]: signIn });
      other = await startTestApp({ env: { TRUSTED_DOCUMENTS: file, TRUSTED_DOCUMENTS_ONLY: alone ? '1' : '0' } });
      alice = await other.as('alice');
    });
    afterAll(() => other.stop());
    const post = async (body: object, search = '') => {
      const response = await fetch(`${other.url}/graphql${search}`, {
        method: search ? 'GET' : 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${alice.token}`, 'apollo-require-preflight': '1' },
        ...(!search && { body: JSON.stringify(body) }),
      });
      return (await response.json()) as any;
    }; // prettier-ignore
    const persisted = (hash: string) => ({ extensions: { persistedQuery: { version: 1, sha256Hash: hash } } });

    test('one is asked for by its hash, in either form, by POST and GET', async () => {
      const hash = sha256(VIEWER);
      const expected = { data: { viewer: { role: 'USER' } }, extensions: { cost: { requested: 1, limit: 25_000 } } };
      expect(await post(persisted(hash))).toEqual(expected);
      expect(await post({ documentId: `sha256:${hash}` })).toEqual(expected);
      expect(await post({ query: VIEWER, ...persisted(hash) })).toEqual(expected);
      expect(await post({}, `?documentId=sha256:${hash}`)).toEqual(expected);
      expect(await post({}, `?extensions=${encodeURIComponent(JSON.stringify(persisted(hash).extensions))}`)).toEqual(expected); // prettier-ignore
      const stream = async (body: object | null, search = '') => {
        const headers = { 'content-type': 'application/json', accept: 'text/event-stream', authorization: `Bearer ${alice.token}` };
        const response = await fetch(`${other.url}/graphql${search}`, body ? { method: 'POST', headers, body: JSON.stringify(body) } : { headers });
        return JSON.parse(/^data: (.+)$/m.exec(await response.text())?.[1] ?? '{}');
      }; // prettier-ignore
      const asked = [
        await stream(persisted(hash)),
        await stream({ documentId: `sha256:${hash}` }),
        await stream(null, `?of=what?&documentId=sha256:${hash}`),
        await stream(null, `?extensions=${encodeURIComponent(JSON.stringify(persisted(hash).extensions))}`),
      ];
      expect(asked).toEqual(asked.map(() => ({ data: expected.data })));
      expect(codesOf(await stream({ documentId: 'x' }))).toEqual(['BAD_REQUEST']);
      const socket = alice.socket();
      const { value } = await socket.iterate({ query: '', ...persisted(hash) }).next();
      await socket.dispose();
      expect(value).toEqual({ data: expected.data });
    });

    test('what is not among them is refused by its hash, and as a text when nothing else is answered', async () => {
      expect(codesOf(await post(persisted('a'.repeat(64))))).toEqual(['PERSISTED_QUERY_NOT_FOUND']);
      expect(codesOf(await post({ documentId: 'x' }))).toEqual(['BAD_REQUEST']);
      expect(codesOf(await post({ query: '{ viewer { id } }', ...persisted(sha256(VIEWER)) }))).toEqual([
        'BAD_REQUEST',
      ]);
      for (const transport of TRANSPORTS) {
        const free = await ASK[transport](alice, '{ viewer { id } }');
        expect([transport, codesOf(free)]).toEqual([transport, alone ? ['PERSISTED_QUERY_NOT_ALLOWED'] : []]);
        expect(codesOf(await ASK[transport](alice, VIEWER))).toEqual([]);
      }
    });
  });

  test('trusted documents that are no good are named at start, all of them', async () => {
    const bad = '{ nothing }';
    await trust({ [sha256(bad)]: bad, [sha256(VIEWER)]: bad });
    const error: unknown = await startTestApp({ env: { TRUSTED_DOCUMENTS: file } }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ConfigError);
    const faults = (error as ConfigError).faults;
    expect(faults).toEqual([expect.stringContaining('Cannot query field'), expect.stringContaining('another SHA-256')]);
  });
});

function nested(depth: number): object {
  return depth === 0 ? {} : { not: nested(depth - 1) };
}
