/** What is refused is written down: fields by their rule, before anything is done, and mutations by what they answer. */
import {
  Kind,
  type DocumentNode,
  type GraphQLError,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type SelectionSetNode,
} from 'graphql';
import type { Node } from '../entities/node';
import type { AuditEntry } from '../services/audit';
import type { Context, Surroundings } from './context';
import { parseGlobalId } from './global-id';
import { find } from './node.resolver';
import type { UserError } from './user-errors';

type Resource = NonNullable<AuditEntry['resource']>;
type Input = Record<string, unknown>;

/** How a refused request is described to the log: who asked, and where from. */
type Asked = Pick<Context, 'caller' | 'correlationId' | 'origin'>;

/**
 * Writes one entry when a signed-in caller was refused fields by their role. Strangers are not written down, who could fill
 * the table. The refusal stands, whatever becomes of the entry.
 */
export async function recordForbidden(
  { db, audit, report }: Surroundings,
  { caller: { actor }, correlationId, origin }: Asked,
  document: DocumentNode,
  operation: OperationDefinitionNode,
  errors: readonly GraphQLError[],
): Promise<void> {
  const forbidden = errors.filter(({ extensions }) => extensions.code === 'FORBIDDEN');
  if (!actor || forbidden.length === 0) return;
  const roots = rootsOf(document, operation);
  const names = forbidden.map(({ path = [] }) => roots.get(String(path[0])) ?? operation.operation);
  const entry: AuditEntry = { action: [...new Set(names)].join(' '), outcome: 'REFUSED', code: 'FORBIDDEN' };
  await audit
    .recordSparingly(db, { actor, correlationId, origin }, entry)
    .catch((error: unknown) =>
      report('error', { correlationId, userId: actor.userId, entry, err: error }, 'a refusal could not be recorded'),
    );
}

/** Makes every mutation write down what it refuses. Those by which one signs in tell of it themselves. */
export function recordRefusals(schema: GraphQLSchema): void {
  for (const field of Object.values(schema.getMutationType()?.getFields() ?? {})) {
    const { resolve, name } = field;
    if (!resolve || SIGNING_IN.has(name)) continue;
    field.resolve = async (source, args: { input?: Input }, context: Context, info) => {
      const { actor } = context.caller; // as of now: some mutations make another of the caller
      const payload = (await resolve(source, args, context, info)) as Payload;
      const refused = [
        ...(payload.userErrors ?? []).map(({ code }) => ({ code, id: idIn(args.input) })),
        ...(payload.results ?? []).flatMap(({ snapshotId, userErrors }) =>
          userErrors.map(({ code }) => ({ code, id: snapshotId })),
        ),
      ];
      if (!actor || refused.length === 0) return payload;
      const { shared, correlationId, origin } = context;
      const write = async () => {
        const entries = await Promise.all(
          refused.map(async ({ code, id }): Promise<AuditEntry> => {
            const resource = await resourceOf(context, id);
            return { action: name, outcome: 'REFUSED', code, ...(resource && { resource }) };
          }),
        );
        await shared.audit.recordSparingly(shared.db, { actor, correlationId, origin }, ...entries);
      };
      // What was accepted beside it must be told all the same.
      await write().catch((error: unknown) =>
        shared.report('error', { correlationId, action: name, err: error }, 'a refusal could not be recorded'),
      );
      return payload;
    };
  }
}

const SIGNING_IN = new Set(['signIn', 'refreshSession']);

interface Payload {
  userErrors?: UserError[];
  results?: { snapshotId: string; userErrors: UserError[] }[];
}

/** The first id of an input is of what it is about. */
function idIn(input: Input = {}): string | null {
  const [, id] =
    Object.entries(input).find(([field, value]) => field.endsWith('Id') && typeof value === 'string') ?? [];
  return typeof id === 'string' ? id : null;
}

/** By its name as well, where whoever asked may see it. */
async function resourceOf(context: Context, globalId: string | null): Promise<Resource | null> {
  const parsed = globalId === null ? null : parseGlobalId(globalId);
  if (!parsed || globalId === null) return null;
  const node = (await find(context, globalId)) as (Node & Partial<Record<string, unknown>>) | null;
  const name = node?.['name'] ?? node?.['displayName'] ?? node?.['snapshotName'];
  return { ...parsed, name: typeof name === 'string' ? name : null };
}

/** The root fields of an operation, by the names under which they answer. */
function rootsOf(document: DocumentNode, { selectionSet }: OperationDefinitionNode): Map<string, string> {
  const fragments = new Map(
    document.definitions.flatMap((node) => (node.kind === Kind.FRAGMENT_DEFINITION ? [[node.name.value, node]] : [])),
  );
  const roots = new Map<string, string>();
  const seen = new Set<string>();
  const visit = (set: SelectionSetNode) => {
    for (const selection of set.selections) {
      if (selection.kind === Kind.FIELD) roots.set((selection.alias ?? selection.name).value, selection.name.value);
      if (selection.kind === Kind.INLINE_FRAGMENT) visit(selection.selectionSet);
      if (selection.kind !== Kind.FRAGMENT_SPREAD || seen.has(selection.name.value)) continue;
      seen.add(selection.name.value);
      const fragment = fragments.get(selection.name.value);
      if (fragment) visit(fragment.selectionSet);
    }
  };
  visit(selectionSet);
  return roots;
}
