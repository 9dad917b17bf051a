import { DEFAULT_PROJECT, PREFERRED_NAME, type Target } from './tabs';
import type { Session } from './session';

const FIND_INSTANCE = 'query FindInstance { instances(first: 25) { nodes { id name project status } } }';

interface Found {
  instances: { nodes: (Target & { status: string })[] };
}

/** The instance for the default tabs: the demo's first one, else the first that runs, else any; null when none is visible. */
export async function findTarget(session: Session): Promise<Target | null> {
  const { data, errors } = await session.request<Found>({ query: FIND_INSTANCE });
  if (!data) throw new Error(errors?.[0]?.message ?? 'The instances cannot be listed.');
  const { nodes } = data.instances;
  const known = nodes.find(({ name, project }) => name === PREFERRED_NAME && project === DEFAULT_PROJECT);
  return known ?? nodes.find(({ status }) => status === 'RUNNING') ?? nodes[0] ?? null;
}
