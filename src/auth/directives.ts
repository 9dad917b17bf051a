/** `@auth`, `@public` and `@session`, as decorators on fields and as definitions in the schema. The printed rule is the enforced one. */
import { DirectiveLocation, GraphQLDirective, GraphQLList, GraphQLNonNull, type GraphQLEnumType } from 'graphql';
import { Directive } from 'type-graphql';
import type { Role } from '../entities/enums';

/** Only these roles may select the field; none of them includes another. */
export const Auth = (...requires: Role[]): PropertyDecorator & MethodDecorator =>
  Directive(`@auth(requires: [${requires.join(', ')}])`);

/** Anyone may select the field, signed in or not. */
export const Public = (): PropertyDecorator & MethodDecorator => Directive('@public');

/** Only with a session: never with an API token, which cannot make, end or outlive another credential. */
export const SessionOnly = (): PropertyDecorator & MethodDecorator => Directive('@session');

/** `role` is the schema's own enum type: a second one of that name would break it. */
export function authDirectives(role: GraphQLEnumType): GraphQLDirective[] {
  return [
    new GraphQLDirective({
      name: 'auth',
      description:
        'Only callers with one of these roles may select the field; anyone else is refused before execution.',
      locations: [DirectiveLocation.FIELD_DEFINITION],
      args: {
        requires: {
          type: new GraphQLNonNull(new GraphQLList(new GraphQLNonNull(role))),
          description: 'Every role that may; there is no hidden hierarchy.',
        },
      },
    }),
    new GraphQLDirective({
      name: 'public',
      description: 'Anyone may select the field, signed in or not.',
      locations: [DirectiveLocation.FIELD_DEFINITION],
    }),
    new GraphQLDirective({
      name: 'session',
      description:
        'Only with the session of a person who has signed in; with an API token it is refused, whatever its role.',
      locations: [DirectiveLocation.FIELD_DEFINITION],
    }),
  ];
}
