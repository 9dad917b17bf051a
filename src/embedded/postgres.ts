// Part of the room `embedded/`, which can be taken away: nothing here is loaded when DATABASE_URL is set.
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { openCluster, type Cluster } from './cluster';
import { prepareRoles } from './roles';
import { EmbeddedPostgresError } from './runner';
import { adopt, end, launch, type Server } from './server';

export { EmbeddedPostgresError } from './runner';

const FIRST_START_MS = 15_000;
const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;
const STEADY_MS = 30_000;

/** A PostgreSQL of our own, kept running until it is stopped. */
export interface EmbeddedPostgres {
  /** For the serving role, which is neither owner nor superuser. */
  readonly url: string;
  /** For the role that owns the database and migrates it. */
  readonly migrationUrl: string;
  stop(): Promise<void>;
}

/** Serves the database kept in a data folder, which must be ours (`openDataFolder`), and makes it at the first start. */
export async function startPostgres(
  dataFolder: string,
  log: (line: string) => void,
  extraSettings: Record<string, string> = {},
): Promise<EmbeddedPostgres> {
  const cluster = await openCluster(dataFolder, log);
  const adopted = await adopt(cluster);
  if (adopted !== undefined) log(`embedded Postgres: going on with process ${adopted.pid}, which was left running`);
  const server = adopted ?? (await firstLaunch(cluster, extraSettings));
  try {
    const addresses = await prepareRoles(cluster, server.port);
    const supervisor = new Supervisor(cluster, server, extraSettings, log);
    return { ...addresses, stop: () => supervisor.stop() };
  } catch (error) {
    await end(server);
    throw error;
  }
}

/** A port may be taken between our look and the server's; backends of a killed server may need a moment to end. */
async function firstLaunch(cluster: Cluster, extraSettings: Record<string, string>): Promise<Server> {
  const deadline = Date.now() + FIRST_START_MS;
  for (;;) {
    try {
      return await launch(cluster, await freePort(), extraSettings, new AbortController().signal);
    } catch (error) {
      const passing =
        error instanceof EmbeddedPostgresError && /could not bind|shared memory block|TCP\/IP/.test(error.message);
      if (!passing || Date.now() > deadline) throw error;
      await sleep(FIRST_PAUSE_MS);
    }
  }
}

/**
 * Below the range from which systems give ports to outgoing connections: while the server is down, a client's own
 * connection attempt could otherwise be given the server's port, connect to itself, and keep the server from coming back.
 */
async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(15_000, 32_000);
    const probe = createServer();
    probe.listen(port, '127.0.0.1');
    const free = await once(probe, 'listening').then(
      () => true,
      () => false,
    );
    if (free) await new Promise((closed) => probe.close(closed));
    if (free) return port;
  }
}

/** Brings the server back on its port, so that the addresses given out stay true, until told to stop. */
class Supervisor {
  private readonly stopped = new AbortController();
  private readonly watching: Promise<void>;
  private pauseMs = 0;

  constructor(
    private readonly cluster: Cluster,
    private server: Server,
    private readonly extraSettings: Record<string, string>,
    private readonly log: (line: string) => void,
  ) {
    this.watching = this.watch();
  }

  async stop(): Promise<void> {
    this.stopped.abort();
    await end(this.server);
    await this.watching;
    await end(this.server); // one that came back while we were stopping
  }

  private isStopping(): boolean {
    return this.stopped.signal.aborted;
  }

  private async watch(): Promise<void> {
    while (!this.isStopping()) {
      const since = Date.now();
      await this.server.gone;
      if (this.isStopping()) return;
      if (Date.now() - since > STEADY_MS) this.pauseMs = 0;
      this.log(`embedded Postgres: process ${this.server.pid} ended unasked, starting it again`);
      await this.bringBack();
    }
  }

  private async bringBack(): Promise<void> {
    const { signal } = this.stopped;
    while (!this.isStopping()) {
      try {
        await sleep(this.pauseMs, undefined, { signal });
        this.pauseMs = Math.min(Math.max(this.pauseMs * 2, FIRST_PAUSE_MS), LONGEST_PAUSE_MS);
        this.server = await launch(this.cluster, this.server.port, this.extraSettings, signal);
        this.log(`embedded Postgres: back as process ${this.server.pid}`);
        return;
      } catch (error) {
        if (!this.isStopping())
          this.log(`embedded Postgres: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }
}
