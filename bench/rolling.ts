// Two API processes behind a balancer, and a worker, restarted in turn under load: no request may be lost, and no update.
// `node -r @swc-node/register bench/rolling.ts [SECONDS=40]`.
import 'reflect-metadata';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'pg';
import { toGlobalId } from '../src/resolvers/global-id';
import { openFleet } from '../test/support/incus-fleet';
import { Histogram } from './http-load';
import { onPostgres, firstOperator, post, startProcess, type Process } from './support';

const SECONDS = Number(process.argv[2] ?? 40);
const READERS = 8;
const WRITERS = 2;
/** Enough for each mutation to find one that is not busy; an act of the engine takes so long. */
const INSTANCES = 3000;
const ACT_MS = 20;
const PAUSE_MS = { reader: 5, writer: 50 };
const ASK_EVERY_MS = 250;

const FOLLOWERS = 3;
const EVENTS = `subscription ($after: String) { events(after: $after) { cursor change nodeId } }`;
const READ = `query ($id: ID!) { instance(id: $id) { name snapshots(first: 25) { nodes { id name status } } } }`;
const CREATE = `mutation ($input: CreateSnapshotInput!) { createSnapshot(input: $input) { operation { id } userErrors { code } } }`;

/** As plain as a balancer can be: asks for readiness now and then, sends each request once, and repeats none. */
class Balancer {
  private readonly backends = new Map<string, boolean>();
  private turn = 0;
  private readonly server = createServer((request, response) => this.forward(request, response));
  private readonly asking = setInterval(() => void this.ask(), ASK_EVERY_MS);

  async listen(): Promise<string> {
    await new Promise<void>((done) => this.server.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async add(url: string): Promise<void> {
    this.backends.set(url, false);
    while (!this.backends.get(url)) await this.ask().then(() => sleep(20));
  }

  remove(url: string): void {
    this.backends.delete(url);
  }

  close(): void {
    clearInterval(this.asking);
    this.server.close();
    this.server.closeAllConnections();
  }

  private async ask(): Promise<void> {
    for (const url of this.backends.keys()) {
      const ready = await fetch(`${url}/health/ready`).then(({ ok }) => ok, () => false); // prettier-ignore
      if (this.backends.has(url)) this.backends.set(url, ready);
    }
  }

  private forward(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const ready = [...this.backends].filter(([, isReady]) => isReady).map(([url]) => url);
    const url = ready[this.turn++ % ready.length];
    const fail = () => (outgoing.headersSent ? outgoing.destroy() : outgoing.writeHead(502).end());
    if (!url) return void fail();
    const { method = 'GET', headers, url: path } = incoming;
    const forwarded = httpRequest(`${url}${path}`, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
      answer.on('close', () => answer.complete || outgoing.destroy()); // an event stream that was broken off
    });
    forwarded.on('error', fail);
    incoming.pipe(forwarded);
  }
}

/** Asks one request after another, and counts those without the answer they should have. */
async function caller(
  ask: () => Promise<unknown>,
  isOver: () => boolean,
  pauseMs: number,
  latencies: Histogram,
  failures: string[],
) {
  while (!isOver()) {
    const since = performance.now();
    const why = await ask().then(() => null, String);
    latencies.add(performance.now() - since);
    if (why !== null) failures.push(why);
    await sleep(pauseMs);
  }
}

/** Keeps an event stream through the balancer, and goes on from its last cursor wherever one breaks off. */
class Follower {
  /** Places of the events that were told. */
  readonly told = new Set<string>();
  repeated = 0;
  broken = 0;
  first: string | null = null;
  private after: string | null = null;
  private readonly ending = new AbortController();
  private readonly following: Promise<void>;

  constructor(
    private readonly url: string,
    private readonly token: string,
  ) {
    this.following = this.follow();
  }

  end(): Promise<void> {
    this.ending.abort();
    return this.following;
  }

  private async follow(): Promise<void> {
    while (!this.ending.signal.aborted) {
      await this.stream().catch(() => undefined);
      this.broken += 1;
      await sleep(50);
    }
  }

  private async stream(): Promise<void> {
    const response = await fetch(`${this.url}/graphql`, {
      method: 'POST',
      signal: this.ending.signal,
      headers: {
        'content-type': 'application/json',
        accept: 'text/event-stream',
        authorization: `Bearer ${this.token}`,
      },
      body: JSON.stringify({ query: EVENTS, variables: { after: this.after } }),
    });
    let text = '';
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk as Uint8Array).toString();
      const messages = text.split('\n\n');
      text = messages.pop() ?? '';
      for (const message of messages) this.hear(message);
    }
  }

  private hear(message: string): void {
    const event = JSON.parse(/^data: ?(.+)$/m.exec(message)?.[1] ?? '{}').data?.events;
    if (!event) return;
    this.after = event.cursor;
    this.first ??= placeOf(event.cursor);
    if (event.change === 'CAUGHT_UP') return;
    const place = placeOf(event.cursor);
    if (this.told.has(place)) this.repeated += 1;
    this.told.add(place);
  }
}

/** A cursor is opaque to clients; a bench may look into it to compare it with the log. */
function placeOf(cursor: string): string {
  const [, xact, seq] = JSON.parse(Buffer.from(cursor, 'base64url').toString()) as string[];
  return `${xact}/${seq}`;
}

void onPostgres(async ({ postgres, env, start }) => {
  const token = await firstOperator(start);
  const pool = new Pool({ connectionString: postgres.url, max: 1 });
  const fleet = await openFleet(INSTANCES, ACT_MS);
  const withEngine = { ...env, INCUS_SOCKET: fleet.fake.socket };
  let worker = await startProcess(withEngine, 'worker');
  const write: string[] = [];
  while (write.length < INSTANCES) {
    await sleep(200);
    const { rows } = await pool.query<{ id: string }>('select id from instances');
    write.splice(0, write.length, ...rows.map(({ id }) => id));
  }
  await pool.end();
  const read = write.pop() ?? '';
  const startApi = async (): Promise<Process> => {
    const api = await startProcess(env, 'api');
    await balancer.add(api.url);
    return api;
  };
  const balancer = new Balancer();
  const url = await balancer.listen();
  const apis = [await startApi(), await startApi()];
  const until = performance.now() + SECONDS * 1000;
  let restarts = 0;
  const isOver = () => performance.now() > until && restarts >= apis.length;
  const [reads, writes] = [new Histogram(), new Histogram()];
  const failures: string[] = [];
  const sent = async (query: string, variables: object, fits: (data: any) => boolean) => {
    const { data, errors } = await post(url, token, query, variables);
    if (!fits(data)) throw new Error(JSON.stringify(errors ?? data));
  };
  const reading = () => sent(READ, { id: toGlobalId('Instance', read) }, (data) => data?.instance?.name);
  const writing = () => {
    const input = { instanceId: toGlobalId('Instance', write.pop() ?? ''), name: 'rolling' };
    return sent(CREATE, { input }, (data) => data?.createSnapshot.operation);
  };
  const followers = Array.from({ length: FOLLOWERS }, () => new Follower(url, token));
  const callers = [
    ...Array.from({ length: READERS }, () => caller(reading, isOver, PAUSE_MS.reader, reads, failures)),
    ...Array.from({ length: WRITERS }, () => caller(writing, isOver, PAUSE_MS.writer, writes, failures)),
  ];
  for (const [index, api] of apis.entries()) {
    await sleep(2000);
    const since = performance.now();
    const code = await api.end();
    console.log(
      `rolling: process ${index + 1} ended with ${code} after ${((performance.now() - since) / 1000).toFixed(1)} s`,
    );
    balancer.remove(api.url);
    apis[index] = await startApi();
    restarts += 1;
  }
  const workerCode = await worker.end();
  worker = await startProcess(withEngine, 'worker');
  console.log(`rolling: the worker ended with ${workerCode}`);
  await Promise.all(callers);
  const missed = await missedBy(followers, postgres.url);
  const line = (name: string, of: Histogram) =>
    `${of.count} ${name} (p50 ${of.quantile(0.5)}, p99 ${of.quantile(0.99)} ms)`;
  for (const why of new Set(failures)) console.log(`rolling: ${why}`);
  console.log(`rolling: ${line('reads', reads)}, ${line('mutations', writes)}, ${restarts} restarts`);
  console.log(
    `rolling: ${failures.length} failed requests (must be 0): ${failures.length === 0 ? 'within' : 'BEYOND'}`,
  );
  for (const { told, repeated, broken } of followers)
    console.log(
      `rolling: a follower was told ${told.size} events, ${repeated} of them twice, and reconnected ${broken} times`,
    );
  console.log(`rolling: ${missed} lost updates (must be 0): ${missed === 0 ? 'within' : 'BEYOND'}`);
  balancer.close();
  for (const each of [...apis, worker]) await each.end('SIGINT');
  await fleet.close();
});

/** How many events of the log some follower was not told, once all work has ended. */
async function missedBy(followers: Follower[], connectionString: string): Promise<number> {
  const pool = new Pool({ connectionString, max: 1 });
  const log = async () => {
    const { rows } = await pool.query<{ place: string }>(
      `select xact || '/' || seq as place from events where user_id is null`,
    );
    return rows.map(({ place }) => place);
  };
  const isAfter = (place: string, first: string | null) => {
    const [[x, s], [fx, fs]] = [place, first ?? '0/0'].map((each) => each.split('/').map(Number)) as [
      number[],
      number[],
    ];
    return (x ?? 0) > (fx ?? 0) || (x === fx && (s ?? 0) > (fs ?? 0));
  };
  const missing = async () => {
    const all = await log();
    return followers.flatMap(({ told, first }) => all.filter((place) => isAfter(place, first) && !told.has(place)))
      .length;
  };
  // The last ones are on their way.
  for (let n = 0; n < 100 && (await missing()) > 0; n += 1) await sleep(100);
  const count = await missing();
  await Promise.all(followers.map((each) => each.end()));
  await pool.end();
  return count;
}
