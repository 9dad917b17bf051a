/** Rows that time has made useless. */
import type { DataSource } from 'typeorm';

/** What was counted for limits on failed tries and on requests. */
export async function forgetOldCounts(db: DataSource): Promise<void> {
  await db.query(`delete from failed_tries where last_failed_at < now() - interval '1 hour'`);
  await db.query(`delete from request_counts where minute < extract(epoch from now()) / 60 - 5`);
}
