/** Every place in the schema where a client may put a text, found by walking it: a new argument is there by itself. */
import {
  getNamedType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isObjectType,
  isRequiredArgument,
  isRequiredInputField,
  type GraphQLField,
  type GraphQLInputType,
  type GraphQLSchema,
} from 'graphql';

export interface Position {
  /** The type that has the field, and the field with the way to the text: `Query.users(filter.email.eq)`. */
  title: string;
  parent: string;
  field: GraphQLField<unknown, unknown>;
  /** From the argument to the text. */
  path: string[];
  scalar: string;
  /** The input type and field, or the argument, that is a text: what its contract is known by. */
  rule: string;
}

/** A value for whatever else is required, by its name. */
export type Fillers = Record<string, unknown>;

const TEXTS = new Set(['String', 'ID']);

/** Of the scalars named, by default those that take any text. */
export function positionsOf(schema: GraphQLSchema, scalars: ReadonlySet<string> = TEXTS): Position[] {
  return Object.values(schema.getTypeMap()).flatMap((type) => {
    if (!isObjectType(type) || type.name.startsWith('__')) return [];
    return Object.values(type.getFields()).flatMap((field) =>
      field.args.flatMap(
        (arg) =>
        textsIn(arg.type, [arg.name], [], `${type.name}.${field.name}.${arg.name}`)
          .filter(({ scalar }) => scalars.has(scalar))
          .map((text) => ({ ...text, title: `${type.name}.${field.name}(${text.path.join('.')})`, parent: type.name, field })), // prettier-ignore
      ),
    );
  });
}

function textsIn(
  type: GraphQLInputType,
  path: string[],
  above: string[],
  rule: string,
): { path: string[]; scalar: string; rule: string }[] {
  const named = getNamedType(type);
  if (!isInputObjectType(named)) return isEnumType(named) ? [] : [{ path, scalar: named.name, rule }];
  // A filter within a filter is the same filter.
  if (above.includes(named.name)) return [];
  return Object.values(named.getFields()).flatMap((field) =>
    textsIn(field.type, [...path, field.name], [...above, named.name], `${named.name}.${field.name}`),
  );
}

/** One document that selects the field once for each value. */
export function askedWith(
  { field, path }: Position,
  values: readonly unknown[],
  fillers: Fillers,
): { selections: string; definitions: string; variables: Record<string, unknown> } {
  const definitions: string[] = [];
  const variables: Record<string, unknown> = {};
  const selections = values.map((value, index) => {
    const given = field.args.flatMap((arg) => {
      const here = arg.name === path[0];
      if (!here && !isRequiredArgument(arg) && !(arg.name in fillers && isCounterpart(field, arg.name))) return [];
      definitions.push(`$${arg.name}${index}: ${String(arg.type)}`);
      variables[`${arg.name}${index}`] = here ? at(arg.type, path.slice(1), value, fillers) : filler(arg.type, arg.name, fillers); // prettier-ignore
      return [`${arg.name}: $${arg.name}${index}`];
    });
    if (field.args.some(({ name }) => name === 'first')) given.push(path[0] === 'before' ? 'last: 2' : 'first: 2');
    return `a${index}: ${field.name}(${given.join(', ')}) ${selectionOf(field)}`;
  });
  return { selections: selections.join('\n'), definitions: definitions.join(', '), variables };
}

/** `instance` takes a project only together with a name. */
const isCounterpart = (field: GraphQLField<unknown, unknown>, arg: string) => field.name === 'instance' && arg === 'name'; // prettier-ignore

function at(type: GraphQLInputType, path: string[], value: unknown, fillers: Fillers): unknown {
  const bare = isNonNullType(type) ? type.ofType : type;
  if (isListType(bare)) return [at(bare.ofType, path, value, fillers)];
  if (!isInputObjectType(bare)) return value;
  const given: Record<string, unknown> = {};
  for (const field of Object.values(bare.getFields())) {
    if (field.name === path[0]) given[field.name] = at(field.type, path.slice(1), value, fillers);
    else if (isRequiredInputField(field)) given[field.name] = filler(field.type, field.name, fillers);
  }
  return given;
}

function filler(type: GraphQLInputType, name: string, fillers: Fillers): unknown {
  if (name in fillers) return fillers[name];
  const bare = getNamedType(type);
  if (isEnumType(bare)) return bare.getValues()[0]?.name;
  if (isInputObjectType(bare)) return at(bare, [], null, fillers);
  throw new Error(`nothing is known to fill in for ${name}: give it to the fillers of the test`);
}

/** Little of the answer, but all that tells whether the value was taken. */
function selectionOf({ type }: GraphQLField<unknown, unknown>): string {
  const named = getNamedType(type);
  if (isEnumType(named) || !('getFields' in named)) return isObjectType(named) ? '{ __typename }' : '';
  const fields = named.getFields();
  if (named.name.endsWith('Connection')) return '{ nodes { id } }';
  if (!('userErrors' in fields)) return '{ __typename }';
  return `{ userErrors { code message correlationId } ${'results' in fields ? 'results { userErrors { code } }' : ''} }`;
}

/** Whether an answer's field took the value. */
export function isTaken(answer: any): boolean {
  if (answer === null || answer === undefined) return false;
  if (Array.isArray(answer)) return answer.some(isTaken);
  if (answer.nodes) return answer.nodes.length > 0;
  if (!answer.userErrors) return true;
  if (answer.results?.length > 0) return answer.results.some(isTaken);
  return answer.userErrors.length === 0;
}
