/** Whether the process lives, whether it should get requests, and how it fares. */
import type { FastifyInstance } from 'fastify';
import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client';
import type { DataSource } from 'typeorm';
import type { Pressure } from './pressure';

const PATIENCE_MS = 2000;

/** Serves `/health/live`, `/health/ready` and `/metrics`; the returned function turns readiness off for good. */
export function serveHealth(server: FastifyInstance, db: DataSource, pressure: Pressure): () => void {
  let draining = false;
  const metrics = createMetrics(db, pressure);
  server.get('/health/live', () => ({ status: 'live' }));
  server.get('/health/ready', async (_request, reply) => {
    const reason = draining ? 'stopping' : (await ask(db, 'select 1')) ? null : 'the database does not answer';
    return reply.status(reason ? 503 : 200).send(reason ? { status: 'not ready', reason } : { status: 'ready' });
  });
  server.get('/metrics', async (_request, reply) => {
    return reply.type(metrics.contentType).send(await metrics.metrics());
  });
  return () => {
    draining = true;
  };
}

/** Null when the database cannot be asked, or has not answered in time: whoever looks after us is not kept waiting. */
async function ask<T>(db: DataSource, sql: string): Promise<T[] | null> {
  const late = new Promise<null>((resolve) => setTimeout(resolve, PATIENCE_MS, null).unref());
  return Promise.race([db.query<T[]>(sql).catch(() => null), late]);
}

function createMetrics(db: DataSource, pressure: Pressure): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const unfinished = new Gauge({
    name: 'keyframe_operations_unfinished',
    help: 'Operations that are queued or being worked on.',
    labelNames: ['status'],
    registers: [registry],
    async collect() {
      const rows = (await ask<{ status: string; count: number }>(db, UNFINISHED)) ?? [];
      for (const { status, count } of rows) unfinished.set({ status }, count);
    },
  });
  new Counter({
    name: 'keyframe_requests_refused_total',
    help: 'Requests refused because there was more to do than this process can.',
    registers: [registry],
    collect() {
      this.reset();
      this.inc(pressure.refused);
    },
  });
  new Gauge({
    name: 'keyframe_event_loop_delay_seconds',
    help: 'How long things wait for their turn in the event loop.',
    registers: [registry],
    collect() {
      this.set(pressure.delays().loopMs / 1000);
    },
  });
  new Gauge({
    name: 'keyframe_requests_wait_seconds',
    help: 'How long a request that came now would wait for its turn.',
    registers: [registry],
    collect() {
      this.set(pressure.delays().waitMs / 1000);
    },
  });
  return registry;
}

const UNFINISHED = `
select status, count(o.id)::int as count
from unnest(array['QUEUED', 'RUNNING']) status left join operations o using (status) group by status`;
