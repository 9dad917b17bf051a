/** A worker without a queue: a database and a local engine, and operations that are run when a test says so. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import type { DataSource, EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { createDataSource } from '../../src/db/data-source';
import { findRow } from '../../src/db/rows';
import { inTransaction } from '../../src/db/transaction';
import type { InstanceFacts } from '../../src/engine/engine';
import { OperationKind } from '../../src/entities/enums';
import { Instance } from '../../src/entities/instance';
import { Operation, type OperationInput } from '../../src/entities/operation';
import { Snapshot } from '../../src/entities/snapshot';
import { Audit } from '../../src/services/audit';
import { accept, beginStep, claim } from '../../src/services/operations';
import { databaseTime, recordLook, type Look } from '../../src/worker/observation';
import { runOperation, type Parts } from '../../src/worker/run';
import { createDatabase, type TestDatabase } from './database';
import type { At } from './engine-contract';
import { localUnderTest, signal, type LocalUnderTest } from './local-engine';

/** The job that the bench's operations belong to. */
export const JOB = 'job';

export class WorkerBench {
  private constructor(
    readonly db: DataSource,
    readonly local: LocalUnderTest,
    readonly parts: Parts,
    private readonly engineId: string,
    private readonly database: TestDatabase,
    private readonly drop: () => Promise<void>,
  ) {}

  static async open(): Promise<WorkerBench> {
    const database = await createDatabase();
    const db = await createDataSource(database.url, 4).initialize();
    const local = await localUnderTest();
    const engineId = uuidv7();
    await db.query(
      `insert into engines (id, kind, name, version, capabilities, observed_at) values ($1, 'LOCAL', 'local', '1', '{}', now())`,
      [engineId],
    );
    const parts = { db, engine: local.engine, audit: new Audit(null), log: () => undefined };
    const bench = new WorkerBench(db, local, parts, engineId, database, async () => {
      await db.destroy();
      await database.drop();
      await local.close();
    });
    await bench.look();
    return bench;
  }

  close(): Promise<void> {
    return this.drop();
  }

  /** Ends every connection and lets no new one in; gives when it does again. */
  async shutDatabase(ms: number): Promise<{ over: Promise<void> }> {
    const owner = new Client({ connectionString: this.database.migrationUrl });
    await owner.connect();
    const limit = (count: number) =>
      owner.query(`alter database ${owner.database ?? ''} with connection limit ${count}`);
    await limit(0);
    const { rows } = await owner.query<{ pid: number }>('select pg_backend_pid() as pid');
    const ends = `select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and usename = current_user and pid <> $1 order by pid = pg_backend_pid()`;
    await this.db.query(ends, [rows[0]?.pid]).catch(() => undefined); // it ends itself last
    const over = sleep(ms).then(async () => {
      await limit(-1);
      await owner.end();
    });
    return { over };
  }

  async beginLook(): Promise<{ look: Look; seen: InstanceFacts[] }> {
    const look = {
      engineId: this.engineId,
      at: await databaseTime(this.db),
      atWork: new Set<string>(),
      restarted: false,
    };
    const seen: InstanceFacts[] = [];
    for await (const facts of this.local.engine.instances(signal())) seen.push(facts);
    return { look, seen };
  }

  async look(): Promise<void> {
    const { look, seen } = await this.beginLook();
    await inTransaction(this.db, (tx) => recordLook(tx, look, seen));
  }

  async instance({ name }: At): Promise<Instance> {
    const [row] = await this.db.query<{ id: string }[]>('select id from instances where name = $1', [name]);
    const found = await findRow(this.db, Instance, row?.id ?? null);
    if (!found) throw new Error(`no row of ${name}`);
    return found;
  }

  snapshot(id: string): Promise<Snapshot | null> {
    return findRow(this.db, Snapshot, id);
  }

  async operation(id: string): Promise<Operation> {
    const found = await findRow(this.db, Operation, id);
    if (!found) throw new Error('no such operation');
    return found;
  }

  /** A snapshot as a request leaves it: PENDING, and its creation accepted. */
  async pending(at: At, name: string): Promise<{ snapshotId: string; operationId: string }> {
    const { id: instanceId } = await this.instance(at);
    const snapshotId = uuidv7();
    const operationId = await inTransaction(this.db, async (tx) => {
      await tx.query(
        `insert into snapshots (id, instance_id, name, created_at, stateful, status, origin) values ($1, $2, $3, now(), false, 'PENDING', 'MANUAL')`,
        [snapshotId, instanceId, name],
      );
      return this.accept(tx, OperationKind.SNAPSHOT_CREATE, { instanceId, snapshotId, snapshotName: name });
    });
    return { snapshotId, operationId };
  }

  /** A snapshot that was taken, and is AVAILABLE. */
  async taken(at: At, name: string): Promise<string> {
    const { snapshotId, operationId } = await this.pending(at, name);
    await this.run(operationId);
    return snapshotId;
  }

  /** Accepts work on a snapshot that is there. */
  async wish(kind: OperationKind, snapshotId: string, input: OperationInput = {}): Promise<string> {
    const snapshot = await this.snapshot(snapshotId);
    if (!snapshot) throw new Error('no such snapshot');
    const { instanceId, name } = snapshot;
    const items =
      kind === OperationKind.SNAPSHOTS_DELETE
        ? [{ snapshotId, snapshotName: name, status: 'QUEUED', error: null }]
        : [];
    return inTransaction(this.db, (tx) =>
      this.accept(tx, kind, { instanceId, snapshotId, snapshotName: name, input, items }),
    );
  }

  /** Runs it to its end, as the job that it belongs to. */
  async run(operationId: string): Promise<Operation> {
    await runOperation(this.parts, operationId, JOB, signal());
    return this.operation(operationId);
  }

  /** Leaves it as a process does that dies in the step `act`, or right after it, with this change of rows already made. */
  async dieActing(
    operationId: string,
    input: OperationInput = {},
    change: (tx: EntityManager) => Promise<void> = () => Promise.resolve(),
    last: 'act' | 'verify' = 'act',
  ): Promise<void> {
    const held = await claim(this.db, operationId, JOB);
    if (!held) throw new Error('the operation was not free');
    await beginStep(this.db, held, 'check');
    await beginStep(this.db, held, 'act', { input, change });
    if (last === 'verify') await beginStep(this.db, held, 'verify');
  }

  private async accept(tx: EntityManager, kind: OperationKind, more: object): Promise<string> {
    const work = { kind, instanceId: '', actorId: null, correlationId: uuidv7(), ...more };
    return (await accept(tx, work)).id;
  }
}
