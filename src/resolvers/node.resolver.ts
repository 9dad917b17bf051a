/** Anything by its global id. */
import { Arg, Ctx, ID, Query, Resolver } from 'type-graphql';
import { Auth } from '../auth/directives';
import { Role } from '../entities/enums';
import { Node } from '../entities/node';
import { RequestError } from '../errors';
import { API_TOKENS, INSTANCES, OPERATIONS, SNAPSHOTS, USERS, type Listing } from '../read/lists';
import type { Context } from './context';
import { parseGlobalId } from './global-id';

export const MAX_NODE_IDS = 100;

const LISTINGS = new Map<string, Listing<Node>>([
  ['User', USERS],
  ['Instance', INSTANCES],
  ['Snapshot', SNAPSHOTS],
  ['Operation', OPERATIONS],
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
    return find(context, id);
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
    return Promise.all(ids.map((id) => find(context, id)));
  }
}

/** What bears a global id, as far as it may be seen. */
export async function find({ reads }: Context, globalId: string): Promise<Node | null> {
  const parsed = parseGlobalId(globalId);
  const listing = parsed && LISTINGS.get(parsed.type);
  return listing ? reads.byId(listing, parsed.id) : null;
}
