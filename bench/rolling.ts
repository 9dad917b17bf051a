// Two API processes behind a balancer, restarted in turn under load: no request may be lost.
// `node -r @swc-node/register bench/rolling.ts [SECONDS=40]`.
import 'reflect-metadata';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'pg';
import { toGlobalId } from '../src/resolvers/global-id';
import { Histogram } from './http-load';
import { insertInstances, onPostgres, operatorToken, post, startProcess, type Process } from './support';

const SECONDS = Number(process.argv[2] ?? 40);
const READERS = 8;
const WRITERS = 2;
const ASK_EVERY_MS = 250;

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
    });
    forwarded.on('error', fail);
    incoming.pipe(forwarded);
  }
}

/** Asks one request after another, and counts those without the answer they should have. */
async function caller(ask: () => Promise<unknown>, isOver: () => boolean, latencies: Histogram, failures: string[]) {
  while (!isOver()) {
    const since = performance.now();
    const why = await ask().then(() => null, String);
    latencies.add(performance.now() - since);
    if (why !== null) failures.push(why);
    await sleep(5);
  }
}

void onPostgres(async ({ postgres, env, start }) => {
  await (await start('migrate')).stop();
  const first = await start('api');
  const token = await operatorToken(first);
  await first.stop();
  const pool = new Pool({ connectionString: postgres.url, max: 1 });
  const [read = '', ...write] = await insertInstances(pool, 5000, 5);
  await pool.end();

  const worker = await startProcess(env, 'worker');
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
  // Subscribers belong here: callers that keep a stream through the balancer, and resume it where it broke off.
  const callers = [
    ...Array.from({ length: READERS }, () => caller(reading, isOver, reads, failures)),
    ...Array.from({ length: WRITERS }, () => caller(writing, isOver, writes, failures)),
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
  await Promise.all(callers);
  const line = (name: string, of: Histogram) =>
    `${of.count} ${name} (p50 ${of.quantile(0.5)}, p99 ${of.quantile(0.99)} ms)`;
  for (const why of new Set(failures)) console.log(`rolling: ${why}`);
  console.log(`rolling: ${line('reads', reads)}, ${line('mutations', writes)}, ${restarts} restarts`);
  console.log(
    `rolling: ${failures.length} failed requests (must be 0): ${failures.length === 0 ? 'within' : 'BEYOND'}`,
  );
  balancer.close();
  for (const each of [...apis, worker]) await each.end('SIGINT');
});
