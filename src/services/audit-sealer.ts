/**
 * Seals what has been written: gives each entry its place in the chain, after its commit, so that mutations never wait for
 * one another. One process at a time, whichever gets the lock; and now and then a signed checkpoint, which stands in the
 * process's log as well.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource, EntityManager } from 'typeorm';
import { BEGINNING, checkpointText, type AuditKeys, type SignedRow } from './audit-keys';

const EVERY_MS = 1000;
const BATCH = 500;
/** A checkpoint is due after so many entries, or so long after the last one when there is anything new. */
const CHECKPOINT = { entries: 1000, ms: 60_000 };
const STOP_WITHIN_MS = 1000;
/** Any number that is ours alone. Who holds it seals. */
export const SEALER_LOCK = 7_165_201_011;

type Log = (level: 'info' | 'warn' | 'error', what: object, message: string) => void;

interface Head {
  position: number;
  hash: Buffer;
}

/** The end of the chain, and of what is signed. */
interface State {
  position: number | null;
  hash: Buffer | null;
  signedTo: number | null;
  signedAt: Date | null;
  due: boolean;
}

export class AuditSealer {
  private readonly stopping = new AbortController();
  private running: Promise<void> = Promise.resolve();
  /** Entries that nobody with a key has written. They are left out, and named by verification. */
  private readonly refused = new Set<string>();
  /** The end of the chain as this process last saw it, which can only move on. */
  private seen: Head = { position: 0, hash: BEGINNING };

  constructor(
    private readonly db: DataSource,
    private readonly keys: AuditKeys,
    private readonly log: Log,
  ) {}

  start(): void {
    this.running = this.keepSealing();
  }

  /** Seals what is left, and signs the end; not for longer than a database that is away is worth. */
  async stop(): Promise<void> {
    this.stopping.abort();
    const last = this.running.then(() => this.seal(true)).catch((error: unknown) => this.failed(error));
    await Promise.race([last, sleep(STOP_WITHIN_MS, undefined, { ref: false })]);
  }

  /** Seals all there is to seal, unless another process is at it; `sign` asks for a checkpoint in any case. */
  async seal(sign = false): Promise<void> {
    for (;;) {
      const state = await this.look(this.db);
      if (!state.due && !this.isCheckpointDue(state, sign)) return;
      const sealed = await this.db.transaction((tx) => this.sealBatch(tx, sign));
      if (!sealed) return;
      this.seen = sealed.head; // not before it is committed
      if (sealed.count < BATCH) return;
    }
  }

  private async keepSealing(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      await this.seal().catch((error: unknown) => this.failed(error));
      await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  private failed(error: unknown): void {
    this.log('warn', { err: error }, 'the audit log could not be sealed just now');
  }

  private async look(db: DataSource | EntityManager): Promise<State> {
    const [state] = await db.query<State[]>(LOOK, [[...this.refused], this.keys.ids]);
    if (!state) throw new Error('a look without an answer');
    return state;
  }

  /** Gives the end of the chain and how many entries were looked at; null while another process is at it. */
  private async sealBatch(tx: EntityManager, sign: boolean): Promise<{ head: Head; count: number } | null> {
    const [lock] = await tx.query<{ ours: boolean }[]>('select pg_try_advisory_xact_lock($1) as ours', [SEALER_LOCK]);
    if (!lock?.ours) return null;
    // Looked at anew: whoever had the lock before may have gone on.
    const state = await this.look(tx);
    let head = { position: state.position ?? 0, hash: state.hash ?? BEGINNING };
    this.compare(head);
    const links: { id: string; position: number; hash: Buffer }[] = [];
    const rows = await tx.query<SignedRow[]>(UNSEALED, [[...this.refused], this.keys.ids]);
    for (const row of rows) {
      if (this.keys.judgeRow(row) === 'WRONG') {
        this.refused.add(row.id);
        this.log('error', { entry: row.id }, 'an entry of the audit log was not written by this program, or changed');
        continue;
      }
      head = { position: head.position + 1, hash: this.keys.link(head.hash, row) };
      links.push({ id: row.id, ...head });
    }
    if (links.length > 0) {
      const columns = [links.map(({ id }) => id), links.map((l) => l.position), links.map(({ hash }) => hash)];
      await tx.query(SEAL, columns);
    }
    if (this.isCheckpointDue({ ...state, position: head.position }, sign)) await this.checkpoint(tx, head);
    return { head, count: rows.length };
  }

  private isCheckpointDue({ position, signedTo, signedAt }: State, sign: boolean): boolean {
    const news = (position ?? 0) - (signedTo ?? 0);
    if (news <= 0) return false;
    return sign || news >= CHECKPOINT.entries || Date.now() - (signedAt?.getTime() ?? 0) >= CHECKPOINT.ms;
  }

  private async checkpoint(tx: EntityManager, head: Head): Promise<void> {
    const point = { ...head, createdAt: new Date(), keyId: this.keys.id };
    const signature = this.keys.sign(checkpointText(point));
    await tx.query(CHECK, [point.position, point.hash, point.createdAt, point.keyId, signature]);
    const { position, keyId } = point;
    this.log(
      'info',
      { position, hash: point.hash.toString('hex'), keyId, signature: signature.toString('hex') },
      'the audit log was signed up to here',
    );
  }

  /** What the database shows cannot be less than what it showed before. */
  private compare(head: Head): void {
    const { position, hash } = this.seen;
    if (head.position > position || (head.position === position && head.hash.equals(hash))) return;
    const found = { position: head.position, expected: position };
    this.log('error', found, 'the end of the audit log was changed or taken away: verify it');
  }
}

const TO_SEAL = 'position is null and id <> all($1::uuid[]) and (key_id is null or key_id = any($2))';

const LOOK = `
select head.position::float8 as position, head.hash, point.position::float8 as "signedTo", point.created_at as "signedAt",
  exists (select from audit_events where ${TO_SEAL}) as due
from (select) one
left join lateral (select position, hash from audit_events where position is not null order by position desc limit 1) head on true
left join lateral (select position, created_at from audit_checkpoints order by position desc limit 1) point on true`;

/** The columns of an entry as it was signed; the alias is the table's. */
export const SIGNED_COLUMNS = `id, created_at as "createdAt", actor_id as "actorId", actor_role as "actorRole",
  credential_kind as "credentialKind", credential_id as "credentialId", address, client, action, outcome, code,
  resource_type as "resourceType", resource_id as "resourceId", resource_name as "resourceName", changes::text as changes,
  correlation_id as "correlationId", key_id as "keyId", mac`;

const UNSEALED = `select ${SIGNED_COLUMNS} from audit_events where ${TO_SEAL} order by created_at, id limit ${BATCH}`;

const SEAL = `
update audit_events e set position = link.position, hash = link.hash
from unnest($1::uuid[], $2::bigint[], $3::bytea[]) link(id, position, hash) where e.id = link.id`;

const CHECK = `
insert into audit_checkpoints (position, hash, created_at, key_id, signature) values ($1, $2, $3, $4, $5)
on conflict (position) do nothing`;
