/** Ids as clients know them: opaque, and good for any type. Inside is the type and the row's UUID. */

export type NodeType = 'User' | 'Instance' | 'Snapshot' | 'Operation' | 'Engine' | 'InstanceAssignment' | 'ApiToken';

const GLOBAL_ID = /^(\w+):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;

export function toGlobalId(type: NodeType, id: string): string {
  return Buffer.from(`${type}:${id}`).toString('base64url');
}

/** Type and UUID; null when this is no id of ours. */
export function parseGlobalId(globalId: string): { type: string; id: string } | null {
  const text = Buffer.from(globalId, 'base64url');
  // Decoding passes over what is no base64, so that many texts would name the same row.
  if (text.toString('base64url') !== globalId) return null;
  const [, type, id] = GLOBAL_ID.exec(text.toString()) ?? [];
  return type && id ? { type, id } : null;
}

/** The UUID of an id of this type; null for a malformed id and for one of another type, which answer as if missing. */
export function idOf(type: NodeType, globalId: string): string | null {
  const parsed = parseGlobalId(globalId);
  return parsed?.type === type ? parsed.id : null;
}
