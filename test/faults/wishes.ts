/** What is asked for during a run, and how: each wish under a key of its own, repeated until there is an answer. */
import { setTimeout as sleep } from 'node:timers/promises';
import { epochOf, writeEpoch } from './content';
import type { Random } from './random';
import type { Place } from './world/ground';
import type { World } from './world/world';

export type Kind = 'create' | 'restore' | 'delete' | 'deleteSeveral' | 'rename';

/** A snapshot as the laboratory knows it. */
export interface Known {
  id: string;
  name: string;
  epoch: string;
  stateful: boolean;
  /** Seen as AVAILABLE; what is not is only ever deleted. */
  good: boolean;
}

export interface Wish {
  key: string;
  kind: Kind;
  place: Place;
  /** What it is about: for a creation the one to be. */
  snapshots: Known[];
  /** The names of these at that time. */
  names: string[];
  newName: string;
  /** Also the memory, in a creation or a restore. */
  memory: boolean;
  /** The epoch in the instance when it was asked for. */
  epoch: string;
  restoresBefore: number;
  failuresBefore: number;
  /** The operation of the answer that came; null when it was refused. */
  operation: string | null;
  refusal: string | null;
  /** How often it had to be asked. */
  asked: number;
}

/** All that is known of the snapshots of a world, by place. */
export type Knowledge = Map<string, Known[]>;

const ENOUGH = 4;
const ANSWER_WITHIN_MS = 60_000;
let counter = 0;

/** A wish that makes sense for the place, of any kind. `only` narrows the kinds where that is possible. */
export function draw(random: Random, place: Place, knowledge: Knowledge, only?: Kind[]): Wish {
  const all = knowledge.get(place.name) ?? [];
  const good = all.filter((each) => each.good);
  const weights: Partial<Record<Kind, number>> =
    all.length > ENOUGH
      ? { deleteSeveral: 1 }
      : good.length === 0
        ? { create: 1 }
        : { create: 4, restore: 5, rename: 2, delete: 2, ...(all.length > 1 && { deleteSeveral: 2 }) };
  const narrowed = Object.fromEntries(Object.entries(weights).filter(([kind]) => only?.includes(kind as Kind)));
  const kind = random.weighted<Kind>(Object.keys(narrowed).length > 0 ? narrowed : weights);
  const key = `w${(counter += 1)}-${random.whole(1000, 9999)}`;
  const stateful = kind === 'create' && place.stateful && random.chance(0.5);
  const fresh = { id: '', name: `s-${key}`, epoch: key, stateful, good: false };
  const some = random.some(all, random.whole(2, all.length));
  const target: Record<Kind, () => Known[]> = {
    create: () => [fresh],
    restore: () => [random.pick(good)],
    rename: () => [random.pick(good)],
    delete: () => [random.pick(all)],
    deleteSeveral: () => some,
  };
  const snapshots = target[kind]();
  const memory = kind === 'restore' ? snapshots[0]?.stateful === true && random.chance(0.7) : stateful;
  return { key, kind, place, snapshots, names: snapshots.map(({ name }) => name), newName: `r-${key}`, memory, epoch: '', restoresBefore: 0, failuresBefore: 0, operation: null, refusal: null, asked: 0 }; // prettier-ignore
}

/** Writes what the instance is to hold at the time of the wish. */
export async function prepare(world: World, wish: Wish): Promise<void> {
  const { ground } = world;
  const root = await ground.root(wish.place);
  if (wish.kind === 'create' || wish.kind === 'restore') await writeEpoch(root, wish.key, wish.place.files);
  wish.epoch = await epochOf(root);
  wish.restoresBefore = ground.restores(wish.place);
  wish.failuresBefore = ground.failures(wish.place);
}

/** Asks, and again under the same key while no answer comes. */
export async function request(world: World, wish: Wish): Promise<void> {
  const { mutation, input } = mutationOf(world, wish);
  const type = `${mutation[0]?.toUpperCase() ?? ''}${mutation.slice(1)}Input`;
  const fields =
    mutation === 'deleteSnapshots'
      ? 'operations { id } results { userErrors { code message } }'
      : 'snapshot { id } operation { id } userErrors { code message }';
  for (const deadline = Date.now() + ANSWER_WITHIN_MS; Date.now() < deadline;) {
    wish.asked += 1;
    const answer = await world
      .client()
      .then((person) =>
        person.send(`mutation ($input: ${type}!) { ${mutation}(input: $input) { ${fields} } }`, {
          input: { ...input, idempotencyKey: wish.key },
        }),
      )
      .catch(() => null);
    const payload = answer?.data?.[mutation];
    if (!payload) {
      await sleep(200);
      continue;
    }
    const errors = payload.userErrors ?? payload.results.flatMap((each: any) => each.userErrors);
    wish.operation = payload.operation?.id ?? payload.operations?.[0]?.id ?? null;
    wish.refusal = errors[0] ? `${errors[0].code} ${errors[0].message}` : null;
    const [snapshot] = wish.snapshots;
    if (wish.kind === 'create' && snapshot) snapshot.id = payload.snapshot?.id ?? '';
    return;
  }
  wish.refusal = 'no answer';
}

function mutationOf({ ids }: World, { kind, place, snapshots, memory, newName }: Wish) {
  const [snapshot] = snapshots;
  const snapshotId = snapshot?.id;
  switch (kind) {
    case 'create':
      return {
        mutation: 'createSnapshot',
        input: { instanceId: ids.get(place.name), name: snapshot?.name, stateful: memory },
      };
    case 'restore':
      return { mutation: 'restoreSnapshot', input: { snapshotId, restoreMemory: memory } };
    case 'delete':
      return { mutation: 'deleteSnapshot', input: { snapshotId } };
    case 'deleteSeveral':
      return { mutation: 'deleteSnapshots', input: { snapshotIds: snapshots.map(({ id }) => id) } };
    case 'rename':
      return { mutation: 'renameSnapshot', input: { snapshotId, name: newName } };
  }
}

/** A wish in the words of a schedule. */
export function described({ kind, place, names, memory, newName, key }: Wish): string {
  return `${kind}${memory ? ' with memory' : ''} ${names.join(' ')}${kind === 'rename' ? ` to ${newName}` : ''} on ${place.name} [${key}]`;
}
