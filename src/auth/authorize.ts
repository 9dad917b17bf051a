/**
 * The one function that enforces `@auth`, `@public` and `@session`, before anything is looked up, planned, executed or subscribed,
 * on every transport. Neither resolvers nor services ask for roles.
 */
import { getDirective } from '@graphql-tools/utils';
import {
  getDirectiveValues,
  GraphQLError,
  GraphQLIncludeDirective,
  GraphQLSkipDirective,
  isAbstractType,
  isInterfaceType,
  isObjectType,
  isCompositeType,
  getNamedType,
  Kind,
  type DocumentNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  type GraphQLField,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type SelectionNode,
  type SelectionSetNode,
} from 'graphql';
import { Role, UserStatus } from '../entities/enums';
import { RequestError } from '../errors';
import type { Actor, Caller } from './actor';

type Rule = 'public' | SignedIn;

interface SignedIn {
  requires: readonly Role[];
  /** Not with an API token. */
  sessionOnly: boolean;
}

type AnyField = GraphQLField<unknown, unknown>;

/** Nobody needs more of them, and fragments that spread fragments can make a short document select without end. */
const MOST_ERRORS = 100;

/** What an account with a one-time password may do before it has a password of its own. */
const BEFORE_FIRST_PASSWORD = new Set(['viewer', 'changePassword', 'signOut']);

export class Authorizer {
  private readonly rules = new Map<AnyField, Rule>();

  /** Throws unless every root field carries exactly one rule, and every rule names known roles and ADMIN. */
  constructor(
    private readonly schema: GraphQLSchema,
    private readonly contact: string,
  ) {
    const faults: string[] = [];
    const roots = new Set([schema.getQueryType(), schema.getMutationType(), schema.getSubscriptionType()]);
    for (const type of Object.values(schema.getTypeMap())) {
      if (!isObjectType(type) && !isInterfaceType(type)) continue;
      if (type.name.startsWith('__')) continue;
      for (const field of Object.values(type.getFields())) {
        const rule = ruleOn(schema, field, `${type.name}.${field.name}`, faults);
        if (rule) this.rules.set(field, rule);
        else if (roots.has(type as never)) faults.push(`${type.name}.${field.name} carries neither @auth nor @public`);
      }
    }
    if (faults.length > 0) throw new Error(`The schema's rules of access are broken:\n  ${faults.join('\n  ')}`);
  }

  /**
   * One error per refused field, with its path; none when all may be selected. The document must be valid, the variables
   * coerced: defaults count as well.
   */
  authorize(
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Record<string, unknown>,
    caller: Caller,
  ): GraphQLError[] {
    const root = this.schema.getRootType(operation.operation);
    if (!root) return [];
    const fragments = new Map(
      document.definitions.flatMap((node) => (node.kind === Kind.FRAGMENT_DEFINITION ? [[node.name.value, node]] : [])),
    );
    const walk: Walk = {
      fragments,
      variables,
      caller,
      clean: new Set(),
      refused: new Set(),
      errors: new Map(),
      roots: [],
    };
    this.visit(walk, operation.selectionSet, root, []);
    return [...walk.errors.values(), ...notAlone(walk.roots)];
  }

  /** Why this role may not call a mutation, or null when it may: for `viewerPermissions`, by the same rules. */
  refusalOf(mutation: string, role: Role): string | null {
    const field = this.schema.getMutationType()?.getFields()[mutation];
    const rule = field && this.rules.get(field);
    if (!rule) throw new Error(`there is no mutation ${mutation}`);
    return rule === 'public' || rule.requires.includes(role) ? null : this.refusal(rule.requires);
  }

  /** Of an object that was taken from a person who was following it. */
  withdrawn(): RequestError {
    const message = `You may no longer see this; an administrator can give it back to you. ${this.contact}.`;
    return new RequestError('FORBIDDEN', message, { contact: this.contact });
  }

  /** It says which roles may and whom to ask, and nothing of what was asked for. */
  private refusal(requires: readonly Role[]): string {
    return `Only ${requires.join(' and ')} may do this; an administrator can give you access. ${this.contact}.`;
  }

  /** Whether nothing below is refused. */
  private visit(walk: Walk, set: SelectionSetNode, parent: GraphQLCompositeType, path: string[]): boolean {
    let clean = true;
    for (const selection of set.selections) {
      if (walk.errors.size >= MOST_ERRORS) return false;
      if (!included(selection, walk.variables)) continue;
      if (selection.kind === Kind.FIELD) {
        if (path.length === 0 && selection.name.value !== '__typename') walk.roots.push(selection.name.value);
        const at = [...path, selection.alias?.value ?? selection.name.value];
        for (const field of this.fieldsNamed(parent, selection.name.value)) {
          const error = this.judge(walk.caller, field, at);
          if (error) walk.errors.set(at.join('.'), error);
          if (error) clean = false;
        }
        const type = this.typeOf(parent, selection.name.value);
        if (selection.selectionSet && type && !this.visit(walk, selection.selectionSet, type, at)) clean = false;
        continue;
      }
      const fragment = selection.kind === Kind.FRAGMENT_SPREAD ? walk.fragments.get(selection.name.value) : selection;
      if (fragment && !this.visitFragment(walk, fragment, parent, path)) clean = false;
    }
    return clean;
  }

  /** What was found of a named fragment is true of it everywhere, so fragments that spread fragments cost no powers of two. */
  private visitFragment(
    walk: Walk,
    fragment: FragmentDefinitionNode | Exclude<SelectionNode, { kind: Kind.FIELD | Kind.FRAGMENT_SPREAD }>,
    parent: GraphQLCompositeType,
    path: string[],
  ): boolean {
    const name = fragment.kind === Kind.FRAGMENT_DEFINITION ? fragment.name.value : null;
    const place = `${name} ${path.join('.')}`;
    if (name && walk.clean.has(name)) return true;
    if (name && walk.refused.has(place)) return false;
    const on = fragment.typeCondition ? this.schema.getType(fragment.typeCondition.name.value) : parent;
    const clean = !isCompositeType(on) || this.visit(walk, fragment.selectionSet, on, path);
    if (name && clean) walk.clean.add(name);
    if (name && !clean) walk.refused.add(place);
    return clean;
  }

  private judge({ actor, badToken }: Caller, field: AnyField, path: string[]): GraphQLError | null {
    const rule = this.rules.get(field);
    if (!rule || rule === 'public') return null;
    if (!actor) return unauthenticated(badToken, path);
    const { requires, sessionOnly } = rule;
    if (!requires.includes(actor.role)) return this.forbidden(this.refusal(requires), requires, path);
    if (sessionOnly && actor.credential.kind !== 'SESSION') {
      const sentence = `An API token may not do this, whatever its role: sign in as a person. ${this.contact}.`;
      return this.forbidden(sentence, requires, path);
    }
    if (path.length > 1 || !mustChangePassword(actor) || BEFORE_FIRST_PASSWORD.has(field.name)) return null;
    const sentence = `A one-time password must be changed first, with changePassword. ${this.contact}.`;
    return this.forbidden(sentence, requires, path);
  }

  private forbidden(message: string, requiredRoles: readonly Role[], path: string[]): GraphQLError {
    return new GraphQLError(message, {
      path,
      extensions: { code: 'FORBIDDEN', requiredRoles, contact: this.contact },
    });
  }

  /** On an abstract type the field of every possible type counts: any of them may be the one that answers. */
  private fieldsNamed(parent: GraphQLCompositeType, name: string): AnyField[] {
    const types = isAbstractType(parent) ? [parent, ...this.schema.getPossibleTypes(parent)] : [parent];
    return types.flatMap((type) =>
      'getFields' in type && type.getFields()[name] ? [type.getFields()[name]] : [],
    ) as AnyField[];
  }

  private typeOf(parent: GraphQLCompositeType, name: string): GraphQLCompositeType | null {
    const field = 'getFields' in parent ? parent.getFields()[name] : undefined;
    const type = field && getNamedType(field.type);
    return isCompositeType(type) ? type : null;
  }
}

/** They change who is asking, so nothing else may be asked in the same breath; nor may one be tried a thousand times. */
const ALONE = new Set(['signIn', 'refreshSession', 'signOut', 'changePassword']);

function notAlone(roots: string[]): GraphQLError[] {
  const name = roots.length > 1 ? roots.find((root) => ALONE.has(root)) : undefined;
  return name === undefined ? [] : [standsAlone(name)];
}

function standsAlone(name: string): GraphQLError {
  return new GraphQLError(`${name} stands alone in its operation.`, { extensions: { code: 'BAD_REQUEST' } });
}

interface Walk {
  fragments: Map<string, FragmentDefinitionNode>;
  variables: Record<string, unknown>;
  caller: Caller;
  /** Names of fragments. */
  clean: Set<string>;
  /** Names of fragments, each with the place where it is spread. */
  refused: Set<string>;
  /** The fields of the root that are selected, as often as they are. */
  roots: string[];
  /** By path. */
  errors: Map<string, GraphQLError>;
}

function ruleOn(schema: GraphQLSchema, field: AnyField, at: string, faults: string[]): Rule | null {
  const auth = getDirective(schema, field, 'auth') ?? [];
  const open = getDirective(schema, field, 'public') ?? [];
  const sessionOnly = getDirective(schema, field, 'session') !== undefined;
  if (sessionOnly && auth.length === 0) faults.push(`${at} carries @session without @auth`);
  if (auth.length + open.length === 0) return null;
  if (auth.length + open.length > 1) faults.push(`${at} carries more than one of @auth and @public`);
  if (open.length > 0) return 'public';
  const requires = (auth[0]?.requires ?? []) as Role[];
  const unknown = requires.filter((role) => !(role in Role));
  if (unknown.length > 0) faults.push(`${at} requires an unknown role: ${unknown.join(', ')}`);
  if (!requires.includes(Role.ADMIN)) faults.push(`${at} does not list ADMIN`);
  return { requires, sessionOnly };
}

function included(selection: SelectionNode, variables: Record<string, unknown>): boolean {
  try {
    const skip = getDirectiveValues(GraphQLSkipDirective, selection, variables);
    const include = getDirectiveValues(GraphQLIncludeDirective, selection, variables);
    return skip?.if !== true && include?.if !== false;
  } catch {
    return true; // the variable has no value: execution will say so
  }
}

function mustChangePassword(actor: Actor): boolean {
  return actor.status === UserStatus.INVITED;
}

function unauthenticated(badToken: boolean, path: string[]): GraphQLError {
  const message = badToken
    ? 'The token is not good: it has expired or was revoked, its session has ended, or it is not ours. Sign in again.'
    : 'Sign in first: call signIn and send its accessToken as "Authorization: Bearer …".';
  return new GraphQLError(message, { path, extensions: { code: 'UNAUTHENTICATED' } });
}
