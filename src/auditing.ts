/** With which key a process signs the audit log, and whether it seals it. */
import { createHash, createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { DataSource } from 'typeorm';
import type { Config } from './config';
import { Audit } from './services/audit';
import { AuditKeys } from './services/audit-keys';
import { AuditSealer } from './services/audit-sealer';

/** Where secrets are kept that were made once. */
interface Secrets {
  secret: (name: string) => Promise<Buffer>;
}

/** The keys of this process; null when it has none. The secret is a text, so that it can be given as one of AUDIT_PREVIOUS_SECRETS when another follows. */
export async function auditKeysOf(
  { auditSecret, auditPreviousSecrets, jwt, jwtPrevious, role, dataFolder }: Config,
  folder: Secrets | null,
): Promise<AuditKeys | null> {
  const ofTokens = () => {
    if (!jwt || 'secret' in jwt) return jwt?.secret;
    const key = createPrivateKey(readFileSync(jwt.privateKeyFile)).export({ type: 'pkcs8', format: 'der' });
    return createHash('sha256').update(key).digest('hex');
  };
  // Each worker has a folder of its own, whose secrets no other process knows.
  const ofFolder = async () => {
    if (role === 'worker') return null;
    return folder ? (await folder.secret('audit')).toString('hex') : keptIn(join(dataFolder, 'secrets', 'audit'));
  };
  const secret = auditSecret ?? ofTokens() ?? (await ofFolder());
  // What signed access tokens before may have signed entries as well.
  return secret ? new AuditKeys(secret, [...auditPreviousSecrets, ...jwtPrevious.secrets]) : null;
}

/** A secret that the running service has made, for whoever works beside it at the shell. */
function keptIn(path: string): string | null {
  try {
    return readFileSync(path).toString('hex');
  } catch {
    return null;
  }
}

/** What writes to the audit log. Every process that has a key seals as well, one at a time. */
export function startAudit(
  db: DataSource,
  keys: AuditKeys | null,
  log: Logger,
  onStop: (step: () => Promise<void>) => void,
): Audit {
  if (keys) {
    const sealer = new AuditSealer(db, keys, (level, what, message) => log[level](what, message));
    sealer.start();
    onStop(() => sealer.stop());
  } else {
    log.warn(
      'This process writes to the audit log unsigned; set AUDIT_SECRET, or give it the key of the access tokens.',
    );
  }
  return new Audit(keys);
}
