/** What makes the audit log evident of tampering: a signature on each row, and a chain over all of them. */
import { createHash, createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';

/** Everything that an entry says, as it is signed. `changes` is the text that stands in the row. */
export interface SignedEntry {
  id: string;
  createdAt: Date;
  actorId: string | null;
  actorRole: string | null;
  credentialKind: string | null;
  credentialId: string | null;
  address: string | null;
  client: string | null;
  action: string;
  outcome: string;
  code: string | null;
  resourceType: string | null;
  resourceId: string | null;
  resourceName: string | null;
  changes: string;
  correlationId: string;
}

/** An entry with its signature, as the row is. */
export interface SignedRow extends SignedEntry {
  keyId: string | null;
  mac: Buffer | null;
}

/** GOOD: by a key we know. UNSIGNED: by a process without one. UNKNOWN: by a key that we do not know. */
export type Judgement = 'GOOD' | 'UNSIGNED' | 'UNKNOWN' | 'WRONG';

/** The hash before the first entry. */
export const BEGINNING = Buffer.alloc(32);

/** The key that signs, and the older ones whose signatures are still accepted. */
export class AuditKeys {
  readonly id: string;
  private readonly known = new Map<string, Buffer>();

  constructor(secret: string, previous: readonly string[] = []) {
    const ids = [secret, ...previous].map((each) => {
      // Of its own for this purpose: what is signed with the same secret elsewhere says nothing here.
      const key = Buffer.from(hkdfSync('sha256', each, '', 'keyframe audit log', 32));
      const id = createHash('sha256').update('key id ').update(key).digest('base64url').slice(0, 12);
      this.known.set(id, key);
      return id;
    });
    this.id = ids[0] ?? '';
  }

  /** The ids of all keys whose signatures can be judged. */
  get ids(): string[] {
    return [...this.known.keys()];
  }

  sign(text: string): Buffer {
    return this.hmac(this.id, text) ?? BEGINNING;
  }

  judge(keyId: string | null, text: string, signature: Buffer | null): Judgement {
    if (keyId === null && signature === null) return 'UNSIGNED';
    const right = this.hmac(keyId ?? '', text);
    if (!right) return keyId === null ? 'WRONG' : 'UNKNOWN';
    return signature?.length === right.length && timingSafeEqual(signature, right) ? 'GOOD' : 'WRONG';
  }

  /**
   * The hash at an entry: of the hash before it, and of all that stands in the row. By the row's key, so that nobody without it
   * can close the chain over a gap.
   */
  link(before: Buffer, row: SignedRow): Buffer {
    const key = this.known.get(row.keyId ?? '');
    const hash = key ? createHmac('sha256', key) : createHash('sha256');
    hash.update(before).update(textOf(row));
    if (row.mac) hash.update(row.mac);
    return hash.digest();
  }

  judgeRow(row: SignedRow): Judgement {
    return this.judge(row.keyId, textOf(row), row.mac);
  }

  private hmac(id: string, text: string): Buffer | undefined {
    const key = this.known.get(id);
    return key && createHmac('sha256', key).update(text).digest();
  }
}

/** One text for one entry: a list, so that nothing can move from one column into the next. */
export function textOf(entry: SignedEntry & { keyId: string | null }): string {
  return JSON.stringify([
    'keyframe audit entry 1',
    entry.keyId,
    entry.id,
    entry.createdAt.toISOString(),
    entry.actorId,
    entry.actorRole,
    entry.credentialKind,
    entry.credentialId,
    entry.address,
    entry.client,
    entry.action,
    entry.outcome,
    entry.code,
    entry.resourceType,
    entry.resourceId,
    entry.resourceName,
    entry.changes,
    entry.correlationId,
  ]);
}

/** What a checkpoint's signature is over. */
export function checkpointText(point: { position: number; hash: Buffer; createdAt: Date; keyId: string }): string {
  const { position, hash, createdAt, keyId } = point;
  return JSON.stringify([
    'keyframe audit checkpoint 1',
    keyId,
    position,
    hash.toString('hex'),
    createdAt.toISOString(),
  ]);
}
