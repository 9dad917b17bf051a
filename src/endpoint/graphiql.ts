/** GraphiQL, from disk: nothing of the page leaves this host. */
import { join } from 'node:path';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';

export interface DemoAccount {
  name: string;
  email: string;
  password: string;
}

/** The bundle of the build; this file is one folder below both `src` and `dist`. */
const FOLDER = join(__dirname, '..', '..', 'dist', 'graphiql');

/** Monaco sets styles inline; everything else comes from here, and the page talks to this origin only. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
  "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** Serves the page at `/graphiql`. `accounts` are offered for a click: only in demo mode, only on loopback. */
export async function serveGraphiql(server: FastifyInstance, accounts: DemoAccount[]): Promise<void> {
  await server.register(async (page) => {
    page.addHook('onSend', async (_request, reply) => {
      void reply.header('content-security-policy', POLICY).header('cache-control', 'no-cache');
    });
    await page.register(fastifyStatic, { root: FOLDER, prefix: '/graphiql/', index: false, cacheControl: false });
    page.get('/graphiql', (_request, reply) => reply.sendFile('index.html'));
    page.get('/graphiql/accounts.json', () => ({ accounts }));
  });
  server.get('/', (_request, reply) => reply.redirect('/graphiql'));
}
