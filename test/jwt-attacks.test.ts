/** What is no good access token lets nobody in, over any transport, and all of it is answered in the same words. */
import { request } from 'node:http';
import { createClient } from 'graphql-ws';
import { BAD_TOKENS_PER_MINUTE } from '../src/auth/sign-in-limit';
import { told } from './support/access-world';
import { somewhere, socketWith } from './support/addresses';
import { TestClient } from './support/app';
import { attacksOn } from './support/jwt-attacks';
import { forged, startTargets, type Target } from './support/jwt-forge';
import { until } from './support/until';

const CLOSED = '{ viewer { id } }';
const OPEN = '{ apiInfo { version } }';

let targets: Target[];
beforeAll(async () => {
  targets = await startTargets();
});
afterAll(async () => {
  for (const target of [...targets].reverse()) await target.stop();
});

/** One query over one transport with this text for its authorization; from an address of its own, unless one is given. */
type Ask = (
  url: string,
  authorization: string,
  query: string,
  from?: Record<string, string>,
) => Promise<{ data?: any; errors?: any }>;

const overHttp: Ask = (url, authorization, query, from = somewhere()) =>
  new TestClient(url, null, null).send(query, {}, { authorization, ...from });

const overEvents: Ask = async (url, authorization, query, from = somewhere()) => {
  const headers = { 'content-type': 'application/json', accept: 'text/event-stream', authorization, ...from };
  const response = await fetch(`${url}/graphql`, { method: 'POST', headers, body: JSON.stringify({ query }) });
  const text = await response.text();
  // What is too much is refused by its status, before there is a stream.
  return JSON.parse(response.ok ? (/^data: (.+)$/m.exec(text)?.[1] ?? '{}') : text) as object;
};

const overSocket: Ask = (url, authorization, query, from) => overSocketWith(url, { authorization }, query, from);

const TRANSPORTS = { HTTP: overHttp, WebSocket: overSocket, 'server-sent events': overEvents };

const REFUSAL = {
  message:
    'The token is not good: it has expired or was revoked, its session has ended, or it is not ours. Sign in again.',
  path: ['viewer'],
  extensions: { code: 'UNAUTHENTICATED', correlationId: '…' },
};

describe.each(['HS256', 'RS256', 'ES256'])('where tokens are signed with %s', (name) => {
  let target: Target;
  let attacks: [string, string][];
  beforeAll(() => {
    const found = targets.find((each) => each.name === name);
    if (!found) throw new Error(`nothing runs with ${name}`);
    target = found;
    const others = targets.filter((each) => each !== target);
    const strangers = others.map((other): [string, string] => [`a token of an installation with ${other.name}`, `Bearer ${other.good}`]); // prettier-ignore
    attacks = [...Object.entries(attacksOn(target)), ...strangers];
  });

  describe.each(Object.entries(TRANSPORTS))('over %s', (_, ask) => {
    test('a token made by hand as ours are made is good, so that each attack fails for its fault alone', async () => {
      for (const authorization of [`Bearer ${target.good}`, `bearer ${forged(target)}`, `BEARER ${forged(target)}`]) {
        const answer = await ask(target.url, authorization, CLOSED);
        expect([answer.data?.viewer.id, answer.errors]).toEqual([expect.any(String), undefined]);
      }
    });

    test('no attack is let in, all are refused in the same words, and what is open stays open to them', async () => {
      expect(attacks.length).toBeGreaterThan(200);
      const wrong: unknown[] = [];
      for (const [attack, authorization] of attacks) {
        const closed = told((await ask(target.url, authorization, CLOSED)) as never) as { status?: number };
        const { status = 401, ...answer } = closed;
        const open = await ask(target.url, authorization, OPEN);
        if (!sameText([status, answer], [401, { errors: [REFUSAL] }])) wrong.push([attack, closed]);
        if (!open.data?.apiInfo.version || open.errors) wrong.push([attack, open]);
      }
      expect(wrong).toEqual([]);
    }, 60_000);
  });

  test('a token of 100,000 characters is refused, and does no harm', async () => {
    const long = `Bearer ${'x'.repeat(100_000)}`;
    // Node refuses such headers before anybody could read them.
    for (const accept of ['application/json', 'text/event-stream']) {
      const response = await fetch(`${target.url}/graphql`, { method: 'POST', headers: { authorization: long, accept }, body: '{}' });
      expect(response.status).toBe(431);
    }
    expect(told((await overSocket(target.url, long, CLOSED)) as never)).toEqual({ errors: [REFUSAL] });
    expect((await overHttp(target.url, `Bearer ${target.good}`, CLOSED)).data.viewer.id).toEqual(expect.any(String));
  }); // prettier-ignore

  test('a token that stands anywhere but in the header is none', async () => {
    const { url, good } = target;
    const body = JSON.stringify({ query: CLOSED, access_token: good, authorization: `Bearer ${good}`, extensions: { authorization: `Bearer ${good}` } }); // prettier-ignore
    const places: [string, Record<string, string>][] = [
      [`?access_token=${good}`, {}],
      [`?authorization=Bearer%20${good}`, {}],
      ['', { cookie: `access_token=${good}; authorization=Bearer ${good}` }],
      ['', { 'x-access-token': good }],
      ['', { 'proxy-authorization': `Bearer ${good}` }],
      ['', { 'x-authorization': `Bearer ${good}`, 'x-forwarded-authorization': `Bearer ${good}` }],
    ];
    for (const [search, more] of places) {
      const response = await fetch(`${url}/graphql${search}`, { method: 'POST', headers: { 'content-type': 'application/json', ...more }, body }); // prettier-ignore
      expect([response.status, ((await response.json()) as any).errors[0].extensions.code]).toEqual([401, 'UNAUTHENTICATED']); // prettier-ignore
    }
    for (const connectionParams of [{ token: good }, { authorization: { Bearer: good } }, { authorization: [`Bearer ${good}`] }, { headers: { authorization: `Bearer ${good}` } }]) {
      expect(await overSocketWith(url, connectionParams)).toMatchObject({ errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] }); // prettier-ignore
    }
  }); // prettier-ignore

  test('bad tokens are refused as too many when one address has sent enough of them, on every transport, and good ones are not', async () => {
    const home = somewhere();
    const { url, good } = target;
    const refusedAsBad = async () => (await overHttp(url, 'Bearer x', CLOSED, home)).errors[0].extensions.code === 'UNAUTHENTICATED'; // prettier-ignore
    let looked = 0;
    while (looked < 2 * BAD_TOKENS_PER_MINUTE && (await refusedAsBad())) looked += 1;
    expect(looked).toBeGreaterThanOrEqual(BAD_TOKENS_PER_MINUTE);
    expect(looked).toBeLessThan(1.1 * BAD_TOKENS_PER_MINUTE); // a minute may have begun meanwhile
    for (const ask of Object.values(TRANSPORTS)) {
      // As time goes by there is room for one more now and then, which the next one takes.
      await until(async () => (await ask(url, 'Bearer x', CLOSED, home)).errors[0].extensions.code === 'RATE_LIMITED');
      expect((await ask(url, `Bearer ${good}`, CLOSED, home)).data.viewer.id).toEqual(expect.any(String));
      // What is open to everyone takes no notice of tokens.
      expect((await ask(url, 'Bearer x', OPEN, home)).data.apiInfo.version).toEqual(expect.any(String)); // prettier-ignore
      expect(await ask(url, 'Bearer x', CLOSED)).toMatchObject({ errors: [{ extensions: { code: 'UNAUTHENTICATED' } }] }); // prettier-ignore
    }
  }, 60_000);

  test('a good token behind a bad one, in a header of its own, is not read', async () => {
    const { url, good } = target;
    expect(await statusWith(url, [`Bearer ${good}`])).toBe(200);
    for (const headers of [['Bearer garbage', `Bearer ${good}`], ['Basic eDp5', `Bearer ${good}`], ['Bearer', `Bearer ${good}`]]) {
      expect(await statusWith(url, headers)).toBe(401);
    }
  }); // prettier-ignore
});

function sameText(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

async function overSocketWith(
  url: string,
  connectionParams: Record<string, unknown>,
  query = CLOSED,
  from: Record<string, string> = somewhere(),
): Promise<object> {
  const socket = createClient({ url: `${url.replace('http', 'ws')}/graphql`, webSocketImpl: socketWith(from), retryAttempts: 0, connectionParams }); // prettier-ignore
  try {
    return await new Promise((resolve) => {
      socket.subscribe({ query }, { next: resolve, error: (errors) => resolve({ errors }), complete: () => undefined }); // prettier-ignore
    });
  } finally {
    await socket.dispose();
  }
}

/** The status of one request with several headers of the name Authorization, which `fetch` would join. */
function statusWith(url: string, authorization: string[]): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const headers = ['host', new URL(url).host, 'content-type', 'application/json', ...Object.entries(somewhere()).flat(), ...authorization.flatMap((value) => ['authorization', value])]; // prettier-ignore
    const asked = request(`${url}/graphql`, { method: 'POST', headers }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode));
    });
    asked.on('error', reject);
    asked.end(JSON.stringify({ query: CLOSED }));
  });
}
