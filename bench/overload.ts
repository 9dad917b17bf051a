// Ten times the load that one process can take, from another process, for as long as is asked:
// `node -r @swc-node/register bench/overload.ts [SECONDS=600] [TIMES=10]`.
import 'reflect-metadata';
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'pg';
import { Tokens } from '../src/auth/tokens';
import { Role } from '../src/entities/enums';
import { toGlobalId } from '../src/resolvers/global-id';
import { graphqlRequest, Histogram, Load } from './http-load';
import { insertInstances, median, onPostgres, firstOperator, startProcess, timed } from './support';

const SECONDS = Number(process.argv[2] ?? 600);
const TIMES = Number(process.argv[3] ?? 10);
/** So many requests may be without an answer; what is due beyond that is not sent, and said. */
const CONNECTIONS = 1000;
const MEASURE_SECONDS = Math.min(10, Math.max(3, SECONDS / 6));
const REPORT_SECONDS = 10;
/** From here on memory should not grow any more. */
const SETTLED_SECONDS = 120;

const READ = `query ($id: ID!) { instance(id: $id) { name status type viewerPermissions { createSnapshot { allowed message } }
  snapshots(first: 25) { totalCount nodes { id name createdAt status stateful } } } }`;

type Request = () => Buffer;

/** Requests a second when so many callers each wait for their answer before they ask again. */
async function closedLoop(url: URL, request: Request, callers: number): Promise<number> {
  let served = 0;
  const until = performance.now() + MEASURE_SECONDS * 1000;
  await new Promise<void>((done) => {
    let open = callers;
    const load = new Load(url, callers, (status) => {
      if (status === 200) served += 1;
      if (performance.now() < until) load.send(request());
      else if (--open === 0) {
        load.close();
        done();
      }
    });
    for (let i = 0; i < callers; i += 1) load.send(request());
  });
  return served / MEASURE_SECONDS;
}

class Tally {
  sent = 0;
  unsent = 0;
  broken = 0;
  readonly served = new Histogram();
  readonly refused = new Histogram();

  add(status: number, ms: number): void {
    if (status === 200) this.served.add(ms);
    else if (status === 503) this.refused.add(ms);
    else this.broken += 1;
  }

  line(seconds: number): string {
    const rate = (count: number) => `${(count / seconds).toFixed(0)}/s`;
    const times = (of: Histogram) => `p50 ${of.quantile(0.5)} p99 ${of.quantile(0.99)} ms`;
    return `offered ${rate(this.sent)} (not sent ${rate(this.unsent)}), served ${rate(this.served.count)} ${times(this.served)}, refused ${rate(this.refused.count)} ${times(this.refused)}, broken ${this.broken}`;
  }
}

/** Arrivals at a steady rate, whatever becomes of them. */
async function openLoop(url: URL, request: Request, perSecond: number, everyTen: (tally: Tally) => Promise<void>) {
  const total = new Tally();
  let part = new Tally();
  const load = new Load(url, CONNECTIONS, (status, ms) => {
    total.add(status, ms);
    part.add(status, ms);
  });
  await load.open();
  const start = performance.now();
  let due = 0;
  let nextReport = REPORT_SECONDS * 1000;
  for (let elapsed = 0; elapsed < SECONDS * 1000; elapsed = performance.now() - start) {
    for (; due < (elapsed / 1000) * perSecond; due += 1) {
      const sent = load.send(request());
      for (const tally of [total, part]) tally[sent ? 'sent' : 'unsent'] += 1;
    }
    if (elapsed >= nextReport) {
      nextReport += REPORT_SECONDS * 1000;
      await everyTen(part);
      part = new Tally();
    }
    await sleep(1);
  }
  load.close();
  return total;
}

/** Milliseconds until reads, one at a time, are served again, and as fast as without load, twenty times in a row. */
async function untilNormal(url: URL, request: Request, normalMs: number): Promise<number> {
  const start = performance.now();
  let [good, since] = [0, 0];
  while (good < 20 && performance.now() - start < 30_000) {
    const sentAt = performance.now() - start;
    const ms = await timeOfOne(url, request);
    good = ms !== null && ms < Math.max(5 * normalMs, 50) ? good + 1 : 0;
    if (good === 1) since = sentAt;
    await sleep(20);
  }
  return good < 20 ? Infinity : since;
}

/** Null when it was not served. */
async function timeOfOne(url: URL, request: Request): Promise<number | null> {
  let status = 0;
  const ms = await timed(
    () =>
      new Promise<void>((done) => {
        const load = new Load(url, 1, (answered) => {
          status = answered;
          load.close();
          done();
        });
        load.send(request());
      }),
  );
  return status === 200 ? ms : null;
}

async function residentMb(pid: number): Promise<number> {
  return Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

/** Least squares, in MB a minute. */
function slope(points: [minutes: number, mb: number][]): number {
  const mean = (of: number[]) => of.reduce((sum, each) => sum + each, 0) / of.length;
  const [x, y] = [mean(points.map(([at]) => at)), mean(points.map(([, mb]) => mb))];
  const above = points.reduce((sum, [at, mb]) => sum + (at - x) * (mb - y), 0);
  return above / points.reduce((sum, [at]) => sum + (at - x) ** 2, 0);
}

/** A token lives for ten minutes at most, so a new one is signed now and then for the same session. */
function reader(url: URL, token: string, secret: string, id: string): Request {
  const tokens = new Tokens({ key: { secret }, issuer: 'keyframe', audience: 'keyframe' });
  const claims = tokens.verifyAccess(token);
  if (!claims) throw new Error('the token is none of this secret');
  let [bytes, until]: [Buffer, number] = [Buffer.alloc(0), 0];
  return () => {
    if (performance.now() > until) {
      bytes = graphqlRequest(url, tokens.signAccess(claims, Role.OPERATIONS).token, READ, { id });
      until = performance.now() + 120_000;
    }
    return bytes;
  };
}

void onPostgres(async ({ postgres, env, start }) => {
  const token = await firstOperator(start);
  const pool = new Pool({ connectionString: postgres.url, max: 1 });
  const [instance = ''] = await insertInstances(pool, 50, 25);
  await pool.query('analyze instances, snapshots').finally(() => pool.end());

  const api = await startProcess(env, 'api');
  try {
    const url = new URL(api.url);
    const request = reader(url, token, env.JWT_SECRET ?? '', toGlobalId('Instance', instance));
    await closedLoop(url, request, 8); // warm
    const single: number[] = [];
    for (let i = 0; i < 50; i += 1) single.push((await timeOfOne(url, request)) ?? NaN);
    const normal = Math.max(await closedLoop(url, request, 8), await closedLoop(url, request, 32));
    console.log(
      `overload: one process serves ${normal.toFixed(0)} reads/s; a single one takes ${median(single).toFixed(1)} ms`,
    );

    const memory: [number, number][] = [];
    const began = performance.now();
    const total = await openLoop(url, request, TIMES * normal, async (tally) => {
      const at = (performance.now() - began) / 1000;
      const mb = await residentMb(api.pid);
      if (at > Math.min(SETTLED_SECONDS, SECONDS / 2)) memory.push([at / 60, mb]);
      console.log(`${at.toFixed(0).padStart(4)} s: ${tally.line(REPORT_SECONDS)}, ${mb.toFixed(0)} MB`);
    });
    const back = await untilNormal(url, request, median(single));
    const said = (fits: boolean) => (fits ? 'within' : 'BEYOND');
    const ratio = total.served.count / SECONDS / normal;
    const p99 = total.served.quantile(0.99);
    console.log(`overload: ${total.line(SECONDS)}`);
    console.log(`overload: really offered ${(total.sent / SECONDS / normal).toFixed(1)} times what it can take`);
    console.log(`overload: served/normal ${ratio.toFixed(2)} (at least 0.5): ${said(ratio >= 0.5)}`);
    console.log(`overload: p99 of accepted reads ${p99} ms (below 1000): ${said(p99 < 1000)}`);
    console.log(`overload: memory ${memory.length > 2 ? slope(memory).toFixed(2) : '?'} MB a minute once settled`);
    console.log(`overload: normal again ${back.toFixed(0)} ms after the end (at most 2000): ${said(back <= 2000)}`);
  } finally {
    await api.end();
  }
});
