import { startTestApp, type TestApp, type TestClient } from './support/app';

let app: TestApp;
let ops: TestClient;
let alice: TestClient;

beforeAll(async () => {
  app = await startTestApp();
  ops = await app.as('ops');
  alice = await app.as('alice');
});
afterAll(() => app.stop());

const MODERN = 'application/graphql-response+json';
const CLASSIC = 'application/json';

interface Answer {
  status: number;
  type: string | null;
  body: any;
}

/** A request as it is: `body` is sent untouched when it is text. */
async function call(path: string, options: { method?: string; accept?: string; as?: TestClient; headers?: object; body?: unknown } = {}): Promise<Answer> {
  const { method = 'POST', accept = MODERN, as = app.anonymous, headers = {}, body } = options;
  const response = await fetch(`${app.url}${path}`, {
    method,
    redirect: 'manual',
    headers: {
      accept,
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...(as.token && { authorization: `Bearer ${as.token}` }),
      ...headers,
    },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const type = response.headers.get('content-type');
  return { status: response.status, type, body: type?.includes('json') ? JSON.parse(text) : text };
} // prettier-ignore

const codesOf = ({ body }: Answer) => body.errors?.map((error: any) => error.extensions.code) ?? [];

const CREATE = 'mutation { createSnapshot(input: { instanceId: "x", name: "x" }) { userErrors { code } } }';
const SUBSCRIBE = 'subscription { operationUpdated(id: "x") { id } }';
const who: Record<string, () => TestClient> = { nobody: () => app.anonymous, ops: () => ops, alice: () => alice, stranger: () => Object.assign(Object.create(ops), { token: 'not.a.token' }) }; // prettier-ignore

/** Who sends what; the code of the answer; its status with the modern media type, and with the classic one. */
const STATUSES: [string, keyof typeof who, object, string | null, number, number][] = [
  ['a good query', 'ops', { query: '{ viewer { id } }' }, null, 200, 200],
  ['no token', 'nobody', { query: '{ viewer { id } }' }, 'UNAUTHENTICATED', 401, 401],
  ['a bad token', 'stranger', { query: '{ viewer { id } }' }, 'UNAUTHENTICATED', 401, 401],
  ['a bad token where none is needed', 'stranger', { query: '{ apiInfo { version } }' }, null, 200, 200],
  ['a role too low', 'alice', { query: CREATE }, 'FORBIDDEN', 403, 200],
  ['no GraphQL', 'ops', { query: '{ viewer { id ' }, 'GRAPHQL_PARSE_FAILED', 400, 200],
  ['an empty document', 'ops', { query: ' # nothing' }, 'GRAPHQL_PARSE_FAILED', 400, 200],
  ['an unknown field', 'ops', { query: '{ viewer { idd } }' }, 'GRAPHQL_VALIDATION_FAILED', 400, 200],
  ['a literal of another type', 'ops', { query: '{ instances(first: "x") { totalCount } }' }, 'GRAPHQL_VALIDATION_FAILED', 400, 200],
  ['a literal that is no time', 'ops', { query: '{ instances(filter: { createdAt: { lt: "soon" } }) { totalCount } }' }, 'GRAPHQL_VALIDATION_FAILED', 400, 200],
  ['a literal enum value that is none', 'ops', { query: '{ instances(filter: { status: { eq: RUNING } }) { totalCount } }' }, 'GRAPHQL_VALIDATION_FAILED', 400, 200],
  ['an unknown operationName', 'ops', { query: 'query A { viewer { id } }', operationName: 'B' }, 'OPERATION_RESOLUTION_FAILURE', 400, 200],
  ['no operationName where one is needed', 'ops', { query: 'query A { viewer { id } } query B { viewer { id } }' }, 'OPERATION_RESOLUTION_FAILURE', 400, 200],
  ['a variable of another type', 'ops', { query: 'query ($n: Int) { instances(first: $n) { totalCount } }', variables: { n: 'x' } }, 'BAD_USER_INPUT', 400, 200],
  ['a missing variable', 'ops', { query: 'query ($id: ID!) { node(id: $id) { id } }' }, 'BAD_USER_INPUT', 400, 200],
  ['an unknown field in a variable', 'ops', { query: 'query ($f: InstanceFilter) { instances(filter: $f) { totalCount } }', variables: { f: { nam: {} } } }, 'BAD_USER_INPUT', 400, 200],
  ['a page size out of bounds', 'ops', { query: '{ viewer { id } instance(name: "web-1") { snapshots(first: 0) { totalCount } } }' }, 'BAD_USER_INPUT', 200, 200],
  ['no query', 'ops', { variables: {} }, 'BAD_REQUEST', 400, 400],
  ['a query that is no text', 'ops', { query: 7 }, 'BAD_REQUEST', 400, 400],
  ['variables that are no object', 'ops', { query: '{ viewer { id } }', variables: 'x' }, 'BAD_REQUEST', 400, 400],
  ['a batch', 'ops', [{ query: '{ viewer { id } }' }, { query: '{ viewer { id } }' }], 'BAD_REQUEST', 400, 400],
  ['a subscription in a plain request', 'ops', { query: SUBSCRIBE }, 'BAD_REQUEST', 400, 400],
  ['a persisted query', 'ops', { extensions: { persistedQuery: { version: 1, sha256Hash: 'a'.repeat(64) } } }, 'PERSISTED_QUERY_NOT_ALLOWED', 200, 200],
]; // prettier-ignore

test.each(STATUSES)('the status of %s (by %s)', async (_, person, body, code, modern, classic) => {
  for (const [accept, status] of [[MODERN, modern], [CLASSIC, classic]] as const) {
    const answer = await call('/graphql', { accept, as: who[person]?.() ?? ops, body });
    expect([accept, answer.status, codesOf(answer)[0] ?? null]).toEqual([accept, status, code]);
    expect(answer.type).toContain(accept);
    for (const error of answer.body.errors ?? []) {
      expect(error.extensions.correlationId).toMatch(/^[0-9a-f-]{36}$/);
      expect(error.message).not.toMatch(/did you mean/i);
    }
  }
}); // prettier-ignore

test.each([
  ['{"query": ', CLASSIC, 400],
  ['', CLASSIC, 400],
  ['null', CLASSIC, 400],
  ['"text"', CLASSIC, 400],
  ['{"query":"{ viewer { id } }"}', 'text/plain', 400],
  ['{"query":"{ viewer { id } }"}', 'application/x-www-form-urlencoded', 415],
])('a body that is no request (%s as %s) is refused in the shape of GraphQL', async (body, type, status) => {
  const answer = await call('/graphql', { as: ops, body, headers: { 'content-type': type } });
  expect([answer.status, codesOf(answer)]).toEqual([status, ['BAD_REQUEST']]);
  expect(answer.body.errors[0].extensions.correlationId).toEqual(expect.any(String));
});

test('a body beyond the published limit is refused with 413, one just below it is read', async () => {
  const { apiInfo } = await app.anonymous.query('{ apiInfo { limits { maxBodyBytes } } }');
  const padded = (bytes: number) => {
    const body = JSON.stringify({ query: '{ apiInfo { version } }', operationName: null });
    return body.padEnd(bytes, ' ');
  };
  expect(await call('/graphql', { body: padded(apiInfo.limits.maxBodyBytes) })).toMatchObject({ status: 200 });
  const answer = await call('/graphql', { body: padded(Number(apiInfo.limits.maxBodyBytes) + 1) });
  expect([answer.status, codesOf(answer)]).toEqual([413, ['BAD_REQUEST']]);
});

test('a refused field of many leaves no data, and says which roles may and whom to ask', async () => {
  const query = CREATE.replace('{', '{ signOut { userErrors { code } } a:');
  const { body } = await call('/graphql', { as: alice, body: { query } });
  expect(body).not.toHaveProperty('data');
  expect(body.errors[0]).toMatchObject({ path: ['a'], extensions: { requiredRoles: ['OPERATIONS', 'ADMIN'], contact: 'Write to help@keyframe.test' } }); // prettier-ignore
  expect(await call('/graphql', { as: alice, body: { query: '{ viewer { id } }' } })).toMatchObject({ status: 200 });
});

describe('GET', () => {
  const get = (query: string, headers: object = {}, as = ops) =>
    call(`/graphql?query=${encodeURIComponent(query)}`, { method: 'GET', as, headers });
  const PREFLIGHT = { 'apollo-require-preflight': 'true' };

  test('a query needs the preflight header', async () => {
    expect(await get('{ viewer { id } }', PREFLIGHT)).toMatchObject({ status: 200, body: { data: { viewer: {} } } });
    const refused = await get('{ viewer { id } }');
    expect([refused.status, codesOf(refused)]).toEqual([400, ['BAD_REQUEST']]);
    expect(await get('{ viewer { id } }', PREFLIGHT, app.anonymous)).toMatchObject({ status: 401 });
  });

  test('a mutation is refused and not executed, a subscription too', async () => {
    const refused = await get('mutation { signOut { userErrors { code } } }', PREFLIGHT);
    expect([refused.status, codesOf(refused)]).toEqual([405, ['BAD_REQUEST']]);
    expect(await get('{ viewer { id } }', PREFLIGHT)).toMatchObject({ status: 200 });
    expect((await get(SUBSCRIBE, PREFLIGHT)).status).toBeGreaterThanOrEqual(400);
  });

  test.each(['PUT', 'DELETE', 'PATCH'])('%s is no way to ask', async (method) => {
    expect((await call('/graphql', { method, as: ops, body: { query: '{ viewer { id } }' } })).status).toBeGreaterThanOrEqual(404); // prettier-ignore
  });
});

test('a browser is led to GraphiQL; health and metrics answer without a token', async () => {
  for (const path of ['/', '/graphql']) {
    const response = await fetch(`${app.url}${path}`, { redirect: 'manual', headers: { accept: 'text/html' } });
    expect([path, response.status, response.headers.get('location')]).toEqual([path, 302, '/graphiql']);
  }
  const get = (path: string) => call(path, { method: 'GET', accept: '*/*' });
  expect(await get('/health/live')).toMatchObject({ status: 200, body: { status: 'live' } });
  expect(await get('/health/ready')).toMatchObject({ status: 200, body: { status: 'ready' } });
  const metrics = await get('/metrics');
  expect(metrics).toMatchObject({ status: 200, type: expect.stringContaining('text/plain') });
  expect(metrics.body).toContain('keyframe_operations_unfinished{status="QUEUED"} 0');
  expect(metrics.body).toContain('process_cpu_seconds_total');
  const nowhere = await get('/nowhere');
  expect(nowhere.status).toBe(404);
  expect(JSON.stringify(nowhere.body)).not.toContain('node_modules');
});
