// What it costs to refuse what asks too much, and how others fare meanwhile:
// `node -r @swc-node/register bench/refusals.ts [ROUNDS=20] [SECONDS=5]`.
import 'reflect-metadata';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from 'graphql-ws';
import { WebSocket } from 'ws';
import { ABUSES } from '../test/support/refused';
import { graphqlRequest, Histogram, Load } from './http-load';
import { firstOperator, onPostgres, startProcess } from './support';

const ROUNDS = Number(process.argv[2] ?? 20);
const SECONDS = Number(process.argv[3] ?? 5);
const CALLERS = 4;
const BETWEEN_ATTACKS_MS = 100;

/** Whatever the limits of a document are, these are refused by their bytes. */
const HUGE: Record<string, string> = {
  'a document of 1 MB': `{ __typename } #${'x'.repeat(1_000_000)}`,
  'a body of 5 MB': `{ __typename } #${'x'.repeat(5_000_000)}`,
};
const DOCUMENTS = { ...Object.fromEntries(Object.entries(ABUSES).map(([name, [query]]) => [name, query])), ...HUGE };

type Send = (query: string) => Promise<unknown>;

/** Each over each transport. */
function transports(url: string, token: string): { HTTP: Send; 'event stream': Send; WebSocket: Send } {
  const bodies = new Map(Object.values(DOCUMENTS).map((query) => [query, Buffer.from(JSON.stringify({ query }))]));
  const overHttp = (accept: string): Send => {
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}`, accept };
    return async (query) => {
      const body = bodies.get(query) ?? '';
      // What is too long is refused while it is still being sent, which ends the connection.
      await fetch(`${url}/graphql`, { method: 'POST', headers, body }).then(
        (answer) => answer.text(),
        () => undefined,
      );
    };
  };
  const socket = createClient({
    url: `${url.replace('http', 'ws')}/graphql`,
    webSocketImpl: WebSocket,
    retryAttempts: 0,
    connectionParams: { authorization: `Bearer ${token}` },
  });
  return {
    HTTP: overHttp('application/json'),
    'event stream': overHttp('text/event-stream'),
    WebSocket: (query) =>
      socket
        .iterate({ query })
        .next()
        .catch(() => undefined),
  };
}

/** Milliseconds of CPU that a process has used; the system counts them in hundredths of a second. */
async function cpuOf(pid: number): Promise<number> {
  const [, fields = ''] = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ');
  const [user = 0, system = 0] = fields.split(' ').slice(11, 13).map(Number);
  return (user + system) * 10;
}

/** How long readers wait, each for one answer at a time, while `meanwhile` goes on. */
async function readers(url: URL, token: string, meanwhile: (go: () => boolean) => Promise<void>): Promise<Histogram> {
  const request = graphqlRequest(url, token, '{ viewer { role } }', {});
  const waits = new Histogram();
  const until = performance.now() + SECONDS * 1000;
  const go = () => performance.now() < until;
  const load = new Load(url, CALLERS, (status, ms) => {
    if (status !== 200) throw new Error(`a reader was answered ${status}`);
    waits.add(ms);
    if (go()) load.send(request);
  });
  for (let n = 0; n < CALLERS; n += 1) load.send(request);
  await meanwhile(go);
  load.close();
  return waits;
}

const rest = async (go: () => boolean) => {
  while (go()) await sleep(50);
};

void onPostgres(async ({ start, env }) => {
  const token = await firstOperator(start);
  const server = await startProcess(env, 'api');
  const ways = transports(server.url, token);
  for (const [name, query] of Object.entries(DOCUMENTS)) {
    const line: string[] = [];
    for (const [way, send] of Object.entries(ways)) {
      await send(query); // once to warm up
      const before = await cpuOf(server.pid);
      for (let round = 0; round < ROUNDS; round += 1) await send(query);
      line.push(`${way} ${(((await cpuOf(server.pid)) - before) / ROUNDS).toFixed(1)}`);
    }
    console.log(`${name.padEnd(28)} ${line.join(', ')} ms of CPU each (at most 50)`);
  }
  const url = new URL(server.url);
  await readers(url, token, rest); // once to warm up
  const calm = await readers(url, token, rest);
  const attacked = await readers(url, token, async (go) => {
    while (go())
      for (const query of Object.values(DOCUMENTS)) await Promise.all([ways.HTTP(query), sleep(BETWEEN_ATTACKS_MS)]);
  });
  const [before, during] = [calm.quantile(0.99), attacked.quantile(0.99)];
  console.log(`others wait p99 ${before} ms, and ${during} ms while all of these come again and again`);
  console.log(`ratio ${(during / before).toFixed(2)} (at most 2)`);
  await server.end();
});
