/** The audit log at the shell: taken along as lines of JSON, and verified. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { DataSource } from 'typeorm';
import { onDatabase } from './cli';
import { ConfigError, type Config } from './config';
import type { AuditKeys } from './services/audit-keys';
import { sealedPages, verifyAudit, type AuditReport, type SealedRow } from './services/audit-verification';

/** Writes the sealed entries behind a position, oldest first, a line each; as fast as they are taken, and no faster. */
export function exportAudit(config: Config, after: number, to: NodeJS.WritableStream): Promise<void> {
  return onDatabase(config, async (db) => {
    try {
      await pipeline(Readable.from(lines(db, after)), to, { end: false });
    } catch (error) {
      // Whoever read has seen enough.
      if ((error as NodeJS.ErrnoException).code !== 'EPIPE') throw error;
    }
  });
}

/** Whether the audit log is as it was written. */
export function verifyAuditAtShell(config: Config): Promise<AuditReport> {
  return onDatabase(config, (db, keys: AuditKeys | null) => {
    if (keys) return verifyAudit(db, keys);
    throw new ConfigError(['Without AUDIT_SECRET, or the key of the access tokens, nothing can be verified.']);
  });
}

async function* lines(db: DataSource, after: number): AsyncGenerator<string> {
  for await (const rows of sealedPages(db, after)) yield rows.map((row) => `${line(row)}\n`).join('');
}

/** As it was signed, with its place in the chain in front. */
function line({ position, hash, mac, changes, ...entry }: SealedRow): string {
  const hex = (bytes: Buffer | null) => bytes && bytes.toString('hex');
  return JSON.stringify({
    position,
    ...entry,
    changes: JSON.parse(changes) as unknown,
    mac: hex(mac),
    hash: hex(hash),
  });
}
