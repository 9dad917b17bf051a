/** The log: a line is what we wrote, whatever anybody sends; and what is secret is in none. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { Client } from 'pg';
import { TestClient } from './support/app';
import { besidesLog, cleanUp, demoAccounts, freshDatabase, freshFolder, startProgram } from './support/program';

afterAll(cleanUp);

const SIGN_IN = 'mutation ($email: String!, $password: String!) { signIn(input: { email: $email, password: $password }) { accessToken refreshToken userErrors { code } } }'; // prettier-ignore
const FORGED = '{"level":60,"time":1,"pid":1,"msg":"forged"}';

/** A request as bytes: no client of ours would send such headers. */
async function sendRaw(url: string, headers: string, body: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const fixed = `Host: x\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close`;
  socket.write(`POST /graphql HTTP/1.1\r\n${fixed}\r\n${headers}\r\n\r\n`, 'latin1');
  socket.write(body);
  let answer = '';
  socket.on('data', (data) => (answer += data.toString()));
  socket.on('error', () => undefined);
  await once(socket, 'close');
  return answer;
}

test('no line of the log can be forged, and none tells a password, a token, or what was typed where a secret may be', async () => {
  const folder = await freshFolder();
  const database = await freshDatabase();
  const program = startProgram({
    ...database,
    KEYFRAME_DATA_DIR: folder,
    KEYFRAME_DEMO: '1',
    LOG_LEVEL: 'trace',
    TRUST_PROXY: '1',
    JWT_SECRET: 'a secret that signs tokens and is told to nobody',
  });
  const url = await program.ready();
  const { ops } = await demoAccounts(folder);
  const anonymous = new TestClient(url, null, null);
  const typed = [
    'a wrong password, typed',
    'a password in the wrong place',
    'kfp_no-token-of-ours',
    'no.refresh.token',
  ];
  const [wrong = '', misplaced = '', badToken = '', badRefresh = ''] = typed;

  const { data } = await anonymous.send(SIGN_IN, ops);
  const { accessToken, refreshToken } = data.signIn;
  const session = new TestClient(url, accessToken, null);
  await session.send('{ viewer { id } }');
  await session.send('{ viewer { unknown } }');
  await session.send(`query Name${'x'.repeat(50)} { node(id: "x") { id } }`);
  await session.send('mutation { removeUser(input: { userId: "x" }) { userErrors { code } } }');
  await anonymous.send(SIGN_IN, { email: ops?.email, password: wrong });
  await anonymous.send(SIGN_IN, { email: misplaced, password: wrong });
  await new TestClient(url, badToken, null).send('{ viewer { id } }');
  const refresh = 'mutation ($token: String!) { refreshSession(input: { refreshToken: $token }) { accessToken refreshToken } }'; // prettier-ignore
  await anonymous.send(refresh, { token: badRefresh });
  const renewed = (await anonymous.send(refresh, { token: refreshToken })).data.refreshSession;

  const lines = [`\n${FORGED}`, `\r\n${FORGED}`, `\u001b[2J${FORGED}`, `\u009b2J\u0085${FORGED}`];
  for (const line of lines) {
    const body = JSON.stringify({ query: SIGN_IN, variables: { email: `x${line}`, password: line } });
    for (const header of ['User-Agent', 'X-Forwarded-For', 'Authorization'])
      await sendRaw(url, `${header}: x${line}`, body);
    await session.send(`query Forged { viewer { id } } ${line}`);
    await session.send('{ viewer { id } }', { [line]: line });
  }

  // A fault of ours that has the statement's values at hand.
  const owner = new Client({ connectionString: database.DATABASE_MIGRATION_URL });
  await owner.connect();
  await owner.query('alter table users rename to users_away');
  expect((await anonymous.send(SIGN_IN, { email: misplaced, password: wrong })).status).toBe(500);
  await owner.query('alter table users_away rename to users');
  await owner.end();
  await program.end();

  const log = program.stderr();
  expect(besidesLog(program)).toBe('');
  const entries = log.trimEnd().split('\n').map((line) => JSON.parse(line)); // prettier-ignore
  expect(entries.filter(({ code }) => code).length).toBeGreaterThan(5);
  expect(entries.filter(({ pid }) => pid !== program.pid)).toEqual([]);
  expect(entries.some(({ err }) => err?.message.includes('"users" does not exist'))).toBe(true);
  expect(log.replaceAll('\n', '')).not.toMatch(/\p{Cc}/u);
  const secrets = [ops?.password, accessToken, refreshToken, renewed.accessToken, renewed.refreshToken, 'told to nobody', ...typed]; // prettier-ignore
  for (const secret of secrets) {
    expect(secret).toBeTruthy();
    expect(log).not.toContain(secret);
    expect(log).not.toContain(String(secret).split('.').pop());
  }
  expect(log).not.toMatch(/bearer|argon2/i);
}, 180_000);
