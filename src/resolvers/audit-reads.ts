/** Who looks into the audit log is in it as well. */
import type { Context } from './context';

const noted = new WeakSet<Context>();

/** Writes down that this operation reads the audit log, once, however many of its fields do. */
export async function noteAuditRead(context: Context, action: string): Promise<void> {
  if (noted.has(context)) return;
  noted.add(context);
  await context.shared.audit.recordSparingly(context.shared.db, context.request, { action });
}
