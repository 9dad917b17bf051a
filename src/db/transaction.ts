import type { DataSource, EntityManager } from 'typeorm';

/**
 * SQLSTATE: the transaction was chosen to give way, or what it found and refers to was removed by another one since; run
 * again as a whole, it goes on, or finds that to be gone.
 */
const GAVE_WAY = new Set(['40P01', '40001', '23503']);
const ATTEMPTS = 3;

/** Runs `work` in one transaction, and the whole of it again when another one got in its way. */
export async function inTransaction<T>(db: DataSource, work: (tx: EntityManager) => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await db.transaction(work);
    } catch (error) {
      if (attempt === ATTEMPTS || !GAVE_WAY.has((error as { code?: string }).code ?? '')) throw error;
    }
  }
}
