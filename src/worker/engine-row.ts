/** The engine's row: what it is, since when it is away, and which run of its daemon has been looked at. */
import type { DataSource } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import type { EngineFacts, EngineKind as KindOfEngine } from '../engine/engine';
import { EngineKind } from '../entities/enums';

/** Notes what the engine is; gives the row's id, and whether the engine went down unseen. */
export async function noteEngine(
  db: DataSource,
  { kind, name, version, capabilities, run }: EngineFacts,
  at: Date,
): Promise<{ id: string; restarted: boolean }> {
  const values = [uuidv7(), KINDS[kind], name, version, capabilities, at, run];
  const [row] = await db.query<{ id: string; restarted: boolean }[]>(NOTE_ENGINE, values);
  if (!row) throw new Error('the engine has no row');
  return row;
}

/** Notes since when the engine is away; null while it answers. */
export async function noteAway(db: DataSource, since: Date | null): Promise<void> {
  await db.query(NOTE_AWAY, [since && (Date.now() - since.getTime()) / 1000]);
}

/** Notes that nothing of what the engine went down over before this run has gone unseen. */
export async function noteRun(db: DataSource, run: string | null): Promise<void> {
  await db.query('update engines set run = $1', [run]);
}

const KINDS: Record<KindOfEngine, EngineKind> = {
  incus: EngineKind.INCUS,
  lxd: EngineKind.LXD,
  local: EngineKind.LOCAL,
};

/**
 * One engine per deployment: its row is the one there is. That its daemon is another tells something only when it went down
 * soon after the last look: what was taken in a longer absence of ours was most likely taken well.
 */
const NOTE_ENGINE = `
with before as (
  select coalesce(run <> $7 and coalesce(unavailable_since, now()) - observed_at < interval '5 minutes', false) as restarted
  from engines
), known as (
  update engines set kind = $2, name = $3, version = $4, capabilities = $5, observed_at = $6
  returning id
), made as (
  insert into engines (id, kind, name, version, capabilities, observed_at)
  select $1, $2, $3, $4, $5, $6 where not exists (select from known) returning id
)
select id, restarted from known, before union all select id, false from made`;

/** By the database's clock, and since when the first process saw it. */
const NOTE_AWAY = `
update engines set unavailable_since = case
  when $1::float8 is not null then coalesce(unavailable_since, now() - $1 * interval '1 second') end
where (unavailable_since is null) = ($1::float8 is not null)`;
