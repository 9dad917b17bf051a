/** Whatever text stands wherever a client may put one: it is refused or kept as it is, and breaks nothing. */
import { readdir } from 'node:fs/promises';
import { buildClientSchema, getIntrospectionQuery, isNonNullType, type GraphQLSchema } from 'graphql';
import { startTestApp, type GraphqlResponse, type TestApp, type TestClient } from './support/app';
import { askedWith, isTaken, positionsOf, type Fillers, type Position } from './support/hostile-positions';
import { CANARY, HOSTILE, LONG } from './support/hostile-values';
import { openFleet, type Fleet } from './support/incus-fleet';
import { buildInstance, buildOperation, buildSnapshot } from './support/rows';
import { sseAll } from './support/sse';
import { ask, done, instanceId } from './support/stories';

/** By contract any text is good there (if it is not too long), or may be a part of a text that is there. */
const FREE = new Set([
  'CreateApiTokenInput.name',
  'CreateSnapshotInput.description',
  'CreateSnapshotInput.idempotencyKey',
  'CreateUserInput.displayName',
  'DeleteSnapshotInput.idempotencyKey',
  'DeleteSnapshotsInput.idempotencyKey',
  'RenameSnapshotInput.idempotencyKey',
  'RestoreSnapshotInput.idempotencyKey',
  'RetryOperationInput.idempotencyKey',
  'StringFilter.contains',
  'UpdateSnapshotInput.description',
  'UpdateUserInput.displayName',
]);

/** They stand alone in their operation. */
const ALONE = new Set(['signIn', 'refreshSession', 'signOut', 'changePassword']);

/** With which a request may be refused as a whole; anything else is a fault of ours. */
const REFUSALS = new Set(['BAD_USER_INPUT', 'BAD_REQUEST', 'GRAPHQL_VALIDATION_FAILED', 'QUERY_TOO_COMPLEX', 'FORBIDDEN']); // prettier-ignore

/** How our insides would show: frames of a stack, paths of this machine, words of the database. */
const INSIDES = /\n\s+at |\.[jt]s:\d+|node_modules|(Type|Range|Reference)Error|QueryFailedError|typeorm|invalid input syntax|syntax error at|violates|instance_assignments|invalid byte sequence|EntityMetadata|ENOENT|EACCES|ENAMETOOLONG|EINVAL/i; // prettier-ignore

/** Long texts are to be judged where they belong, not by the length of all variables. */
const ROOM = { MAX_VARIABLES_BYTES: '200000' };

/** As many as one operation may have fields at its root. */
const BATCH = 20;

let app: TestApp;
let schema: GraphQLSchema;
let fillers: Fillers;
let clients: Record<'admin' | 'operations' | 'user', TestClient>;
let ways: Record<string, (inner: string) => string>;
beforeAll(async () => {
  app = await startTestApp({ env: { OBSERVE_INTERVAL_SECONDS: '3600', ...ROOM } });
  schema = buildClientSchema(await app.anonymous.query(getIntrospectionQuery()));
  const [admin, operations, user] = [await app.as('admin'), await app.as('ops'), await app.as('alice')];
  clients = { admin, operations, user };
  const instance = await buildInstance(app);
  const { createUser } = await admin.query('mutation { createUser(input: { email: "spare@keyframe.test", role: USER }) { user { id } } }'); // prettier-ignore
  fillers = {
    instanceId: instance, snapshotId: await buildSnapshot(app, instance), operationId: await buildOperation(app, await buildInstance(app)),
    snapshotIds: [await buildSnapshot(app, instance)], userId: createUser.user.id, name: 'web-1', email: 'spare@keyframe.test',
    password: 'not the password of anybody', currentPassword: 'not the password of anybody', newPassword: 'a new password that nobody has',
  }; // prettier-ignore
  const web1 = await instanceId(admin, 'web-1');
  ways = {
    Query: (inner) => inner,
    Mutation: (inner) => inner,
    Subscription: (inner) => inner,
    Instance: (inner) => `instance(id: "${web1}") { ${inner} }`,
    User: (inner) => `viewer { ${inner} }`,
  };
});
afterAll(() => app.stop());

/** What is wrong with an answer, whatever was asked. */
function faultsOf(answer: Pick<GraphqlResponse, 'errors'> & { status?: number }): string[] {
  const faults = (answer.errors ?? []).flatMap(({ extensions: { code, correlationId } = {} }) => [
    ...(REFUSALS.has(code as string) ? [] : [`is answered ${String(code)}`]),
    ...(/^[0-9a-f-]{36}$/.test(String(correlationId)) ? [] : ['bears no correlation id']),
  ]);
  if ((answer.status ?? 200) >= 500) faults.push(`is answered ${String(answer.status)}`);
  const text = JSON.stringify(answer);
  const shown = INSIDES.exec(text)?.[0] ?? [app.folder, process.cwd(), new URL(app.database.url).pathname.slice(1)].find((word) => text.includes(word)); // prettier-ignore
  return shown === undefined ? faults : [...faults, `shows our insides: ${shown}`];
}

/** What is wrong with how values are taken at a position. */
async function faultsAt(client: TestClient, position: Position, values: readonly unknown[]): Promise<string[]> {
  const way = ways[position.parent];
  if (!way) throw new Error(`nothing is known to lead to ${position.parent}: give it to the ways of the test`);
  const { selections, definitions, variables } = askedWith(position, values, fillers);
  const kind = position.parent === 'Mutation' || position.parent === 'Subscription' ? position.parent.toLowerCase() : 'query'; // prettier-ignore
  const query = `${kind} (${definitions}) { ${way(selections)} }`;
  const answer = kind === 'subscription' ? await overEvents(client, query, variables) : await client.send(query, variables); // prettier-ignore
  const faults = faultsOf(answer);
  const data = (answer.data ?? {}) as Record<string, object>;
  const answers = way('') === '' ? data : (Object.values(data)[0] ?? {});
  if (!FREE.has(position.rule)) {
    for (const [alias, given] of Object.entries(answers)) if (isTaken(given)) faults.push(`took ${alias}`);
  }
  return faults.map((fault) => `${position.title} ${fault} of ${JSON.stringify(values).slice(0, 600)}`);
}

async function overEvents(client: TestClient, query: string, variables: object): Promise<GraphqlResponse> {
  const events = await sseAll(client, query, variables, AbortSignal.timeout(5000));
  return events.find(({ event }) => event === 'next')?.data ?? {};
}

/**
 * An error of a list would keep from us what became of its neighbours, and one of a variable what becomes of any: they are
 * asked alone, as are passwords, which cost time. Those get some of the values; all are tried where the same code reads them.
 */
function batchesFor({ field, path, parent, scalar }: Position, values: readonly string[]): (readonly string[])[] {
  const fails = isNonNullType(field.type) && ['after', 'before'].includes(path[0] ?? '');
  const slow = /password/i.test(path.at(-1) ?? '');
  const single = fails || ALONE.has(field.name) || parent === 'Subscription' || !['String', 'ID'].includes(scalar);
  const some = (fails && parent === 'Query') || slow ? everyNth(values, 4) : values;
  const size = single ? 1 : BATCH;
  return Array.from({ length: Math.ceil(some.length / size) }, (_, at) => some.slice(at * size, (at + 1) * size));
}

/** All of them, a few at a time. */
async function faultsOfAll(jobs: (() => Promise<string[]>)[]): Promise<string[]> {
  const faults: string[] = [];
  const next = jobs.values();
  const worker = async () => {
    for (const job of next) faults.push(...(await job()));
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  return faults;
}

const jobsFor = (client: TestClient, positions: Position[], values: readonly string[]) =>
  positions.flatMap((position) => batchesFor(position, values).map((batch) => () => faultsAt(client, position, batch)));

const everyNth = (values: readonly string[], n: number) => values.filter((_, index) => index % n === 0);

test('there are enough values, and positions are found all over the schema', () => {
  expect(HOSTILE.length).toBeGreaterThan(250);
  const titles = positionsOf(schema).map(({ title }) => title);
  expect(titles).toEqual(expect.arrayContaining(['Query.node(id)', 'Query.nodes(ids)', 'Mutation.createSnapshot(input.name)', 'Instance.snapshots(filter.name.in)', 'Subscription.events(after)'])); // prettier-ignore
});

describe('every value at every position', () => {
  const walk = (scalars?: ReadonlySet<string>) => positionsOf(schema, scalars);
  const isAlone = ({ field }: Position) => ALONE.has(field.name);

  test('is refused or kept, and breaks nothing, for an administrator', async () => {
    const before = await filesOf(app.folder);
    const positions = walk().filter((position) => !isAlone(position));
    expect(await faultsOfAll(jobsFor(clients.admin, positions, HOSTILE))).toEqual([]);
    expect(await filesOf(app.folder)).toEqual(before);
    await expectNoCanary();
  }, 300_000);

  test('is refused or kept, and breaks nothing, for OPERATIONS and a USER, who may less', async () => {
    const positions = walk().filter(({ field, parent }) => parent !== 'Mutation' && field.name !== 'users');
    const some = everyNth(HOSTILE, 12);
    expect(await faultsOfAll([clients.operations, clients.user].flatMap((client) => jobsFor(client, positions, some)))).toEqual([]); // prettier-ignore
  }, 300_000);

  test('that is ten or a hundred thousand characters long is refused or kept, and breaks nothing', async () => {
    const positions = walk().filter((position) => !isAlone(position));
    const jobs = positions.flatMap((position) => LONG.map((value) => () => faultsAt(clients.admin, position, [value])));
    expect(await faultsOfAll(jobs)).toEqual([]);
  }, 300_000);

  test('is no time', async () => {
    const positions = walk(new Set(['DateTime', 'DateTimeOrDuration']));
    const faults = await faultsOfAll(jobsFor(clients.admin, positions, everyNth(HOSTILE, 6)));
    expect([positions.length > 0, faults]).toEqual([true, []]);
  }, 300_000);

  test('signs nobody in, and changes no password', async () => {
    // Each is looked at: none is refused because others failed before.
    const jobs = jobsFor(clients.user, walk().filter(isAlone), [...HOSTILE, ...LONG]).map((job) => async () => {
      await app.db.query('delete from failed_tries');
      return job();
    });
    expect(await faultsOfAll(jobs)).toEqual([]);
    expect((await clients.user.send('{ viewer { id } }')).status).toBe(200);
  }, 300_000);
});

/** Every file below a folder, by its path. */
async function filesOf(folder: string): Promise<string[]> {
  return (await readdir(folder, { recursive: true })).sort();
}

/** Where a path that was let through would have led. */
async function expectNoCanary(): Promise<void> {
  for (const folder of ['/', '/tmp', process.cwd(), `${process.cwd()}/..`, `${app.folder}/..`]) {
    expect((await readdir(folder)).filter((name) => name.includes(CANARY))).toEqual([]);
  }
}

describe('text that is kept', () => {
  /** JSON can say half a character; a text cannot hold it. */
  const whole = HOSTILE.filter((value) => !/\p{Cs}/u.test(value));

  test('is given back as it was, or refused', async () => {
    const { operations } = clients;
    const snapshotId = await buildSnapshot(app, await buildInstance(app));
    const kept: string[] = [];
    for (let at = 0; at < whole.length; at += BATCH) {
      const some = whole.slice(at, at + BATCH);
      const update = (index: number) => `a${index}: updateSnapshot(input: { snapshotId: "${snapshotId}", description: $d${index} }) { snapshot { description } userErrors { code field } }`; // prettier-ignore
      const query = `mutation (${some.map((_, index) => `$d${index}: String`).join(', ')}) { ${some.map((_, index) => update(index)).join(' ')} }`;
      const answers = await operations.query(query, Object.fromEntries(some.map((text, index) => [`d${index}`, text])));
      for (const [index, description] of some.entries()) {
        const { snapshot, userErrors } = answers[`a${index}`];
        const refused = { snapshot: null, userErrors: [{ code: 'INVALID_INPUT', field: ['description'] }] };
        expect({ snapshot, userErrors }).toEqual(description.includes('\0') ? refused : { snapshot: { description }, userErrors: [] }); // prettier-ignore
        if (snapshot) kept.push(description);
      }
    }
    expect(kept.length).toBeGreaterThan(200);
  });

  test('is the name of an API token as it was, or refused', async () => {
    const kept: string[] = [];
    for (let at = 0; at < whole.length; at += BATCH) {
      await app.db.query('update api_tokens set revoked_at = now()'); // a person may have so many only
      const some = whole.slice(at, at + BATCH);
      const create = (index: number) => `a${index}: createApiToken(input: { name: $n${index}, role: USER }) { apiToken { name } userErrors { code field } }`; // prettier-ignore
      const query = `mutation (${some.map((_, index) => `$n${index}: String!`).join(', ')}) { ${some.map((_, index) => create(index)).join(' ')} }`;
      const answers = await clients.user.query(query, Object.fromEntries(some.map((text, index) => [`n${index}`, text])));
      for (const [index, text] of some.entries()) {
        const name = text.trim();
        const isGood = name.length >= 1 && name.length <= 100 && !/[\p{C}\p{Zl}\p{Zp}]/u.test(name);
        const refused = { apiToken: null, userErrors: [{ code: 'INVALID_INPUT', field: ['name'] }] };
        expect([text, answers[`a${index}`]]).toEqual([text, isGood ? { apiToken: { name }, userErrors: [] } : refused]);
        if (isGood) kept.push(name);
      }
    }
    expect(kept.length).toBeGreaterThan(150);
  }); // prettier-ignore

  test('is found again by filters that take it for nothing but a text', async () => {
    const { admin } = clients;
    const odd = ["100%_'; --", 'a\\b', '{"$gt":""}'];
    for (const name of odd) await buildSnapshot(app, await buildInstance(app), { name });
    for (const name of [...odd, '%', '_', "';", '\\', '$gt']) {
      const query = 'query ($name: String!) { snapshots(filter: { name: { contains: $name } }) { nodes { name } } }';
      const found = (await admin.query(query, { name })).snapshots.nodes.map((node: { name: string }) => node.name);
      expect([name, found.sort()]).toEqual([name, odd.filter((each) => each.includes(name)).sort()]);
    }
  });

  test('names of accounts and addresses that deceive whoever reads them are refused', async () => {
    const deceptive = ['admin\u202e', '\u2066admin', 'a\u2028b', 'a\nb', 'a\u001b[31m', 'a\ud800', 'a\0'];
    const addresses = [...deceptive.map((local) => `${local}@x.test`), 'a\u200bb@x.test', 'a\u00adb@x.test', '<b>@x.test', 'a:b@x.test', 'a@b@c', 'a,b@x.test', '"a"@x.test', 'a@x\u202e.test']; // prettier-ignore
    const create = (input: object) => clients.admin.query('mutation ($input: CreateUserInput!) { createUser(input: $input) { user { id } userErrors { code field } } }', { input: { role: 'USER', ...input } }); // prettier-ignore
    for (const email of addresses) {
      expect([email, (await create({ email })).createUser]).toEqual([email, { user: null, userErrors: [{ code: 'INVALID_INPUT', field: ['email'] }] }]); // prettier-ignore
    }
    for (const displayName of deceptive) {
      expect([displayName, (await create({ email: 'fine@x.test', displayName })).createUser]).toEqual([displayName, { user: null, userErrors: [{ code: 'INVALID_INPUT', field: ['displayName'] }] }]); // prettier-ignore
    }
    expect((await create({ email: "o'brien+x@x.test", displayName: 'Zo\u00eb O\u2019Brien \ud83d\udc69\u200d\ud83d\ude80' })).createUser.userErrors).toEqual([]); // prettier-ignore
  });
});

describe('bytes that are no request', () => {
  const query = 'query ($id: ID!) { node(id: $id) { id } }';
  const deep = (open: string, close: string, depth: number) => open.repeat(depth) + close.repeat(depth);
  const given = (variables: string) => `{"query":${JSON.stringify(query)},"variables":${variables}}`;
  const bodies: Record<string, string | Buffer> = {
    'nothing': '', 'a null byte': '\0', 'a text': '"x"', 'a number': '1', 'null': 'null', 'a list': '[]', 'a list of requests': `[${given('{"id":"x"}')}]`,
    'half of it': given('{').slice(0, -1), 'more behind it': `${given('{"id":"x"}')}}`, 'NaN': given('{"id":NaN}'), 'a comment': given('{/**/}'), 'a tab in a text': '{"query":"\u0001"}',
    'malformed UTF-8': Buffer.concat([Buffer.from('{"query":"{ node(id: \\"'), Buffer.from([0xff, 0xfe, 0xc0, 0xaf]), Buffer.from('\\") { id } }"}')]),
    'UTF-8 that is too long': Buffer.concat([Buffer.from('{"query":"'), Buffer.from([0xc0, 0x80]), Buffer.from('"}')]),
    'UTF-8 of half a character': Buffer.concat([Buffer.from('{"query":"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"}')]),
    'UTF-8 that ends early': Buffer.concat([Buffer.from('{"query":"'), Buffer.from([0xe2, 0x82])]),
    'UTF-16': Buffer.from(given('{"id":"x"}'), 'utf16le'), 'a byte order mark': `\ufeff${given('{"id":"x"}')}x`,
    'lists in lists': deep('[', ']', 50_000), 'objects in objects': `${'{"a":'.repeat(20_000)}1${'}'.repeat(20_000)}`,
    'deep variables': given(`{"id":${deep('[', ']', 20_000)}}`), 'deep objects for a text': given(`{"id":${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}}`),
    'a list for an id': given('{"id":["x"]}'), 'an object for an id': given('{"id":{"toString":"x"}}'), 'true for an id': given('{"id":true}'), 'null for an id': given('{"id":null}'), 'a fraction for an id': given('{"id":1.5}'),
    'a huge number for an id': given('{"id":1e309}'), 'a long number for an id': given(`{"id":${'9'.repeat(5000)}}`), 'a number of small exponent': given('{"id":1e-400}'), 'no variables': given('null'), 'variables in a list': given('[]'),
    'variables of a text': given('"x"'), 'variables of a number': given('1'),
    '__proto__ for the variables': given('{"__proto__":{"id":"x"}}'), '__proto__ in the request': `{"__proto__":{"query":${JSON.stringify(query)}}}`, 'constructor in the variables': given('{"constructor":{"prototype":{"id":"x"}}}'),
    'a query of a number': '{"query":1}', 'a query in a list': '{"query":["{ __typename }"]}', 'a query of null': '{"query":null}', 'a query in an object': '{"query":{"toString":"x"}}', 'an operation of a number': '{"query":"{ __typename }","operationName":1}',
    'an operation called __proto__': '{"query":"query a { __typename }","operationName":"__proto__"}', 'extensions of a text': '{"query":"{ viewer { nothing } }","extensions":"x"}', 'fragments in a circle': '{"query":"{ ...A } fragment A on Query { ...A }"}',
    'a variable called __proto__': '{"query":"query ($__proto__: ID!) { node(id: $__proto__) { id } }","variables":{}}', 'an alias called __proto__ of nothing': '{"query":"{ __proto__: node }"}', 'a field called __proto__': '{"query":"{ __proto__ }"}', 'a field called constructor': '{"query":"{ constructor }"}',
    'a directive that is none': '{"query":"{ viewer @toString { id } }"}', 'a type that is none': '{"query":"query ($a: __proto__) { node(id: $a) { id } }"}', 'a persisted query': '{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"../../etc/passwd"}}}',
    'extensions alone': '{"extensions":{}}', 'a persisted query of null': '{"extensions":{"persistedQuery":null}}', 'a path for the id of a document': '{"documentId":"../../etc/passwd"}', 'a list for the id of a document': '{"query":"{ __typename }","documentId":["x"]}',
  }; // prettier-ignore

  test.each(Object.entries(bodies))('%s: refused on every transport, and shows nothing of our insides', async (_, body) => {
    const { token } = clients.admin;
    for (const accept of ['application/json', 'application/graphql-response+json', 'text/event-stream']) {
      const headers = { 'content-type': 'application/json', accept, authorization: `Bearer ${token}` };
      const response = await fetch(`${app.url}/graphql`, { method: 'POST', headers, body: typeof body === 'string' ? body : new Uint8Array(body) }); // prettier-ignore
      const text = await response.text();
      const data = accept.includes('stream') && response.ok ? (/^data: (.+)$/m.exec(text)?.[1] ?? '{}') : text;
      const isJson = /^[[{]/.test(data);
      expect([response.status < 500, INSIDES.exec(text), isJson || accept.includes('stream')]).toEqual([true, null, true]); // prettier-ignore
      const answer = isJson ? JSON.parse(data) : {};
      if (answer.errors) expect(faultsOf({ errors: answer.errors.filter((error: any) => !REQUEST_FAULTS.has(error.extensions?.code)) })).toEqual([]); // prettier-ignore
      expect(Object.values(answer.data ?? {}).every((value) => value === null || value === 'Query')).toBe(true);
    }
    expect(({} as any).id).toBeUndefined();
  }); // prettier-ignore

  const REQUEST_FAULTS = new Set(['GRAPHQL_PARSE_FAILED', 'OPERATION_RESOLUTION_FAILURE', 'PERSISTED_QUERY_NOT_ALLOWED', 'PERSISTED_QUERY_NOT_FOUND']); // prettier-ignore
});

describe('of what clients write, nothing reaches the engine', () => {
  let fleet: Fleet;
  let onFleet: TestApp;
  beforeAll(async () => {
    fleet = await openFleet(1, 0);
    onFleet = await startTestApp({
      env: { INCUS_SOCKET: fleet.fake.socket, OBSERVE_INTERVAL_SECONDS: '3600', ...ROOM },
    });
  });
  afterAll(async () => {
    await onFleet.stop();
    await fleet.close();
  });

  test('unless it is a name by our rule', async () => {
    const ops = await onFleet.as('ops');
    const instance = await instanceId(ops, 'i-0');
    const { snapshot } = await done(ops, 'createSnapshot', { instanceId: instance, name: 'a.good_one-1' });
    const { asked } = fleet.fake;
    expect(asked.some((call) => /^GET .*\/snapshots\/a\.good_one-1\?/.test(call))).toBe(true);
    const before = asked.length;
    for (const value of [...HOSTILE, ...LONG]) {
      const answers = await Promise.all([
        ask(ops, 'createSnapshot', { instanceId: instance, name: value }),
        ask(ops, 'renameSnapshot', { snapshotId: snapshot?.id, name: value }),
        ask(ops, 'createSnapshot', { instanceId: value, name: 'fine' }),
        ask(ops, 'restoreSnapshot', { snapshotId: value }),
        ask(ops, 'deleteSnapshot', { snapshotId: value }),
      ]);
      expect(answers.map(({ userErrors, operation }) => [userErrors[0]?.code, operation])).toEqual([...Array(2).fill(['NAME_INVALID', null]), ...Array(3).fill(['NOT_FOUND', null])]); // prettier-ignore
    }
    expect(asked.slice(before).filter((call) => !/^GET \/1\.0(\/(instances|projects|operations|events)[?/]?[\w=&?%-]*)?$/.test(call))).toEqual([]); // prettier-ignore
    expect(fleet.made).toEqual(['i-0/a.good_one-1']);
  }, 300_000);
});
