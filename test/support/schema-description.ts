/** Our schema in words, read from the catalogs: what a migration made, with all that an ORM does not compare. */
import type { DataSource } from 'typeorm';

/** A line per column, constraint, index, policy, trigger, right and function, in one order on every Postgres. */
export async function describeSchema(db: DataSource, servingRole: string): Promise<string> {
  const rows = await db.query<{ line: string }[]>(DESCRIBE, [servingRole]);
  return `${rows.map(({ line }) => line).join('\n')}\n`;
}

const DESCRIBE = `
with tables as (
  select oid, relname::text as name, relrowsecurity as secured from pg_class
  where relnamespace = 'public'::regnamespace and relkind = 'r' and relname <> 'schema_migrations'
), lines as (
  select t.name, 1 as part, format('%s.%s %s%s%s%s', t.name, a.attname, format_type(a.atttypid, a.atttypmod),
      case when a.attnotnull then ' not null' else '' end,
      coalesce(' collate ' || nullif(c.collname, 'default'), ''),
      coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')) as line
  from tables t
  join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
  left join pg_collation c on c.oid = a.attcollation
  left join pg_attrdef d on d.adrelid = t.oid and d.adnum = a.attnum
  union all
  -- Postgres 18 lists "not null" as a constraint of its own; it stands with the column already.
  select t.name, 2, format('%s constraint %s %s', t.name, conname, pg_get_constraintdef(c.oid))
  from tables t join pg_constraint c on c.conrelid = t.oid where contype <> 'n'
  union all
  select t.name, 3, format('%s %s', t.name, regexp_replace(pg_get_indexdef(i.indexrelid), ' ON public\\.', ' ON '))
  from tables t join pg_index i on i.indrelid = t.oid
  union all
  select t.name, 4, format('%s policy %s %s %s %s', t.name, p.polname, p.polcmd, pg_get_expr(p.polqual, p.polrelid),
      pg_get_expr(p.polwithcheck, p.polrelid))
  from tables t join pg_policy p on p.polrelid = t.oid
  union all
  select t.name, 5, format('%s trigger %s', t.name, pg_get_triggerdef(g.oid))
  from tables t join pg_trigger g on g.tgrelid = t.oid and not g.tgisinternal
  union all
  select t.name, 6, format('%s row security %s, serving role may %s', t.name, t.secured,
      (select string_agg(p, ', ' order by p) from unnest(array['select', 'insert', 'update', 'delete', 'truncate']) p
       where has_table_privilege($1, t.oid, p)))
  from tables t
  union all
  select 'function ' || proname, 7, format('function %s %s', proname, regexp_replace(btrim(prosrc), '\\s+', ' ', 'g'))
  from pg_proc where pronamespace = 'public'::regnamespace
)
select line from lines order by name collate "C", part, line collate "C"`;
