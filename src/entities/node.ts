import { Field, ID, InterfaceType } from 'type-graphql';

/** Anything with a global id. The id itself is a resolver's: clients never see a bare UUID. */
@InterfaceType({
  description: 'Anything that can be fetched again by its opaque, global id.',
  resolveType: (value: { __typename: string }) => value.__typename,
})
export abstract class Node {
  readonly __typename: string;

  @Field(() => ID, { description: 'Opaque, global id.' })
  id: string;
}
