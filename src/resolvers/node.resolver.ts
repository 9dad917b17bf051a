/** Anything by its global id. */
import { Arg, Ctx, ID, Query, Resolver } from 'type-graphql';
import { Auth } from '../auth/directives';
import { Role } from '../entities/enums';
import { Node } from '../entities/node';
import { RequestError } from '../errors';
import { API_TOKENS, AUDIT_EVENTS, INSTANCES, OPERATIONS, SNAPSHOTS, USERS, type Listing } from '../read/lists';
import { noteAuditRead } from './audit-reads';
import type { Context } from './context';
import { parseGlobalId } from './global-id';

export const MAX_NODE_IDS = 100;

const LISTINGS = new Map<string, Listing<Node>>([
  ['User', USERS],
  ['Instance', INSTANCES],
  ['Snapshot', SNAPSHOTS],
  ['Operation', OPERATIONS],
  ['AuditEvent', AUDIT_EVENTS],
  ['ApiToken', API_TOKENS],
]);

@Resolver()
export class NodeResolver {
  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Query(() => Node, {
    nullable: true,
    description: 'Whatever bears this id; null when it is hidden, missing or malformed.',
  })
  async node(
    @Ctx() context: Context,
    @Arg('id', () => ID, { description: 'Its id.' }) id: string,
  ): Promise<Node | null> {
    const found = await find(context, id);
    if (isEntry(found)) await noteAuditRead(context, 'node');
    return found;
  }

  @Auth(Role.USER, Role.OPERATIONS, Role.ADMIN)
  @Query(() => [Node], {
    nullable: 'items',
    description: 'As `node`, for at most 100 ids, in their order; more are BAD_USER_INPUT.',
  })
  async nodes(
    @Ctx() context: Context,
    @Arg('ids', () => [ID], { description: 'Their ids.' }) ids: string[],
  ): Promise<(Node | null)[]> {
    if (ids.length > MAX_NODE_IDS)
      throw new RequestError('BAD_USER_INPUT', `Ask for at most ${MAX_NODE_IDS} ids at once.`);
    const found = await Promise.all(ids.map((id) => find(context, id)));
    if (found.some(isEntry)) await noteAuditRead(context, 'nodes');
    return found;
  }
}

const isEntry = (node: Node | null) => node?.__typename === 'AuditEvent';

/** What bears a global id, as far as it may be seen. */
export async function find({ reads }: Context, globalId: string): Promise<Node | null> {
  const parsed = parseGlobalId(globalId);
  const listing = parsed && LISTINGS.get(parsed.type);
  return listing ? reads.byId(listing, parsed.id) : null;
}
