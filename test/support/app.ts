/** The whole program in this process: real Postgres, an engine, HTTP on a free port. */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient, type Client as WsClient } from 'graphql-ws';
import type { DataSource } from 'typeorm';
import { WebSocket } from 'ws';
import { startApp } from '../../src/app';
import { readConfig } from '../../src/config';
import type { Engine } from '../../src/engine/engine';
import type { LocalEngine } from '../../src/engine/local';
import { createDatabase, type TestDatabase } from './database';

export interface GraphqlResponse<T = any> {
  status: number;
  data: T;
  errors?: { message: string; path?: (string | number)[]; extensions: Record<string, any> }[];
}

export interface TestApp {
  url: string;
  folder: string;
  database: TestDatabase;
  db: DataSource;
  engine: Engine;
  /** The engine's own console, when it is the local one. */
  local: LocalEngine;
  /** Signed in as a demo account, or with another address and password. */
  as: (account: string, password?: string) => Promise<TestClient>;
  anonymous: TestClient;
  stop: () => Promise<void>;
}

export interface TestAppOptions {
  /** Demo accounts and, on the local engine, demo data. Default true. */
  demo?: boolean;
  env?: Record<string, string>;
  /** Use this database and leave it there at the end. */
  database?: TestDatabase;
  /** Use this data folder and leave it there at the end. */
  folder?: string;
}

/** Starts it; `stop` leaves neither process nor file nor database behind. */
export async function startTestApp({ demo = true, env = {}, ...given }: TestAppOptions = {}): Promise<TestApp> {
  const database = given.database ?? (await createDatabase());
  const folder = given.folder ?? (await mkdtemp(join(tmpdir(), 'keyframe-app-')));
  const config = readConfig('all', {
    DATABASE_URL: database.url,
    DATABASE_MIGRATION_URL: database.migrationUrl,
    KEYFRAME_DATA_DIR: folder,
    KEYFRAME_DEMO: demo ? '1' : '0',
    JWT_SECRET: randomBytes(32).toString('hex'),
    SUPPORT_CONTACT: 'Write to help@keyframe.test',
    LOG_LEVEL: 'silent',
    PORT: '0',
    ...env,
  });
  const cleanUp = async () => {
    if (!given.database) await database.drop();
    if (!given.folder) await rm(folder, { recursive: true, force: true });
  };
  const app = await startApp(config).catch(async (error: unknown) => {
    await cleanUp();
    throw error;
  });
  const { url, db, engine } = app;
  if (!url || !db || !engine) throw new Error('a process of role all has all of these');
  return {
    url,
    folder,
    database,
    db,
    engine,
    local: engine as LocalEngine,
    anonymous: new TestClient(url, null, null),
    as: async (account, password) => {
      const known = app.accounts.find(({ name }) => name === account);
      return TestClient.signIn(url, known?.email ?? account, known?.password ?? password ?? '');
    },
    stop: async () => {
      await app.stop();
      await cleanUp();
    },
  };
}

export class TestClient {
  constructor(
    readonly url: string,
    readonly token: string | null,
    readonly refreshToken: string | null,
  ) {}

  static async signIn(url: string, email: string, password: string, headers = {}): Promise<TestClient> {
    const { data, errors } = await new TestClient(url, null, null).send(
      'mutation ($email: String!, $password: String!) { signIn(input: { email: $email, password: $password }) { accessToken refreshToken userErrors { code } } }',
      { email, password },
      headers,
    );
    if (!data?.signIn?.accessToken) throw new Error(`cannot sign in as ${email}: ${JSON.stringify(errors ?? data)}`);
    return new TestClient(url, data.signIn.accessToken, data.signIn.refreshToken);
  }

  /** The whole answer, with `application/graphql-response+json` unless other headers say otherwise. */
  async send<T = any>(
    query: string,
    variables: object = {},
    headers: Record<string, string> = {},
  ): Promise<GraphqlResponse<T>> {
    const response = await fetch(`${this.url}/graphql`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/graphql-response+json',
        ...(this.token && { authorization: `Bearer ${this.token}` }),
        ...headers,
      },
      body: JSON.stringify({ query, variables }),
    });
    return { status: response.status, ...((await response.json()) as object) } as GraphqlResponse<T>;
  }

  /** The data; throws when there are errors. */
  async query<T = any>(query: string, variables: object = {}): Promise<T> {
    const { data, errors } = await this.send<T>(query, variables);
    if (errors) throw new Error(JSON.stringify(errors));
    return data;
  }

  /** A WebSocket client as this person; dispose of it. */
  socket(options: { onClosed?: (event: { code: number; reason: string }) => void } = {}): WsClient {
    return createClient({
      url: `${this.url.replace('http', 'ws')}/graphql`,
      webSocketImpl: WebSocket,
      retryAttempts: 0,
      lazy: true,
      connectionParams: this.token ? { authorization: `Bearer ${this.token}` } : {},
      ...(options.onClosed && { on: { closed: options.onClosed as (event: unknown) => void } }),
    });
  }
}
