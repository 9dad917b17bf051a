import { buildSchema, parse, type OperationDefinitionNode } from 'graphql';
import { session } from '../../src/auth/actor';
import { Authorizer } from '../../src/auth/authorize';
import { Role, UserStatus } from '../../src/entities/enums';

const RULES = `
  enum Role { USER OPERATIONS ADMIN SUPERUSER }
  directive @auth(requires: [Role!]!) repeatable on FIELD_DEFINITION
  directive @public on FIELD_DEFINITION
  directive @session on FIELD_DEFINITION
`;
const ADMIN = '@auth(requires: [ADMIN])';

const start = (sdl: string) => new Authorizer(buildSchema(RULES + sdl), 'Write to help@keyframe.test');

/** What the server refuses to start with, and what one document may cost. */
export function describeRules(): void {
  describe('the server does not start', () => {
    test.each([
      ['a query without a rule', `type Query { a: Int }`, 'Query.a carries neither @auth nor @public'],
      ['a mutation without a rule', `type Query { a: Int @public } type Mutation { b: Int }`, 'Mutation.b carries neither'],
      ['a subscription without a rule', `type Query { a: Int @public } type Subscription { c: Int }`, 'Subscription.c carries neither'],
      ['roots by other names without a rule', `schema { query: Q } type Q { a: Int }`, 'Q.a carries neither'],
      ['both rules on one field', `type Query { a: Int @public ${ADMIN} }`, 'Query.a carries more than one'],
      ['two rules of a kind', `type Query { a: Int ${ADMIN} @auth(requires: [USER, ADMIN]) }`, 'Query.a carries more than one'],
      ['a role that nobody has', `type Query { a: Int @auth(requires: [SUPERUSER, ADMIN]) }`, 'Query.a requires an unknown role: SUPERUSER'],
      ['a rule without ADMIN', `type Query { a: Int @auth(requires: [USER, OPERATIONS]) }`, 'Query.a does not list ADMIN'],
      ['a rule for no one', `type Query { a: Int @auth(requires: []) }`, 'Query.a does not list ADMIN'],
      ['a nested rule without ADMIN', `type Query { t: T @public } type T { a: Int @auth(requires: [USER]) }`, 'T.a does not list ADMIN'],
      ['a field for people alone that is open', `type Query { a: Int @public @session }`, 'Query.a carries @session without @auth'],
      ['a field for people alone that names no role', `type Query { t: T @public } type T { a: Int @session }`, 'T.a carries @session without @auth'],
    ])('with %s', (_, sdl, message) => {
      expect(() => start(sdl)).toThrow(message);
    }); // prettier-ignore

    test('and says all that is wrong at once', () => {
      expect(() => start('type Query { a: Int, b: Int @auth(requires: [USER]) }')).toThrow(/Query\.a [^]*Query\.b /);
    });

    test('unless each root field has one good rule; other fields need none', () => {
      expect(() =>
        start(`type Query { a: T @public, b: T ${ADMIN} } type T { c: Int, d: Int ${ADMIN} }`),
      ).not.toThrow();
    });
  });

  describe('a document that is refused', () => {
    const authorizer = start(`type Query { t: T @public } type T { t: T, secret: Int ${ADMIN} }`);
    const actor = { userId: '', credential: session(''), role: Role.USER, status: UserStatus.ACTIVE };
    const pathsOf = (text: string) => {
      const document = parse(text);
      const [operation] = document.definitions as OperationDefinitionNode[];
      if (!operation) throw new Error('no operation');
      return authorizer
        .authorize(document, operation, {}, { actor, badToken: false })
        .map(({ path }) => path?.join('.'));
    };
    const doubling = (spread: (next: string) => string, leaf: string, start = '...F0') =>
      `{ t { ${start} } } ${Array.from({ length: 40 }, (_, i) => `fragment F${i} on T { ${spread(`...F${i + 1}`)} }`).join(' ')} fragment F40 on T { ${leaf} }`;

    test('costs no powers of two, however its fragments spread each other', () => {
      expect(pathsOf(doubling((next) => `${next} ${next}`, 't { t { secret } }'))).toEqual(['t.t.t.secret']);
      expect(pathsOf(doubling((next) => `a: t { ${next} } b: t { ${next} }`, 'secret'))).toHaveLength(100);
      expect(pathsOf(doubling((next) => `a: t { ${next} } b: t { ${next} }`, '__typename'))).toEqual([]);
    });

    test('says of a fragment at each place where it is spread what is refused there, once', () => {
      const fragments = 'fragment A on T { ...B } fragment B on T { secret }';
      expect(pathsOf(`{ t { ...B ...A x: t { ...A ...B secret } y: t { ...A } } } ${fragments}`)).toEqual(['t.secret', 't.x.secret', 't.y.secret']); // prettier-ignore
    });
  });
}
