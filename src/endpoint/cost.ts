/** What an operation costs: the rows it asks for. A list asks for as many as its page holds, each with all that is below it. */
import {
  getNamedType,
  isCompositeType,
  isInterfaceType,
  isListType,
  isNonNullType,
  isObjectType,
  Kind,
  SchemaMetaFieldDef,
  TypeMetaFieldDef,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLCompositeType,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLOutputType,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type SelectionSetNode,
} from 'graphql';
import { DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE } from '../limits';

type Variables = Readonly<Record<string, unknown>>;

/** A number where no variable takes part. */
export type Price = number | ((variables: Variables) => number);

/** Lists that are not paged hold what one object has: items of an operation, fields of a type. */
const UNPAGED = 10;

/** The price of an operation of a valid document. */
export function priceOf(schema: GraphQLSchema, document: DocumentNode, operation: OperationDefinitionNode): Price {
  const root = schema.getRootType(operation.operation);
  return root ? new Pricing(schema, document).selection(operation.selectionSet, root, 1) : 0;
}

class Pricing {
  private readonly fragments: Map<string, FragmentDefinitionNode>;
  private readonly known = new Map<FragmentDefinitionNode, Price>();

  constructor(
    private readonly schema: GraphQLSchema,
    document: DocumentNode,
  ) {
    this.fragments = new Map(
      document.definitions.flatMap((node) => (node.kind === Kind.FRAGMENT_DEFINITION ? [[node.name.value, node]] : [])),
    );
  }

  /** `page` is how many entries a connection holds, when the selection is one's. */
  selection(set: SelectionSetNode, parent: GraphQLCompositeType, page: Price): Price {
    return sum(
      set.selections.map((node) => {
        if (node.kind === Kind.FIELD) return this.field(node, parent, page);
        const fragment = node.kind === Kind.FRAGMENT_SPREAD ? this.fragments.get(node.name.value) : node;
        if (!fragment) return 0;
        const on = fragment.typeCondition ? this.schema.getType(fragment.typeCondition.name.value) : parent;
        if (!isCompositeType(on)) return 0;
        // On a connection it depends on the page; everywhere else a fragment costs the same wherever it is spread.
        if (fragment.kind === Kind.INLINE_FRAGMENT || isConnection(on))
          return this.selection(fragment.selectionSet, on, page);
        const price = this.known.get(fragment) ?? this.selection(fragment.selectionSet, on, 1);
        this.known.set(fragment, price);
        return price;
      }),
    );
  }

  private field(node: FieldNode, parent: GraphQLCompositeType, page: Price): Price {
    const field = fieldOf(parent, node.name.value);
    if (!field) return 0;
    const type = getNamedType(field.type);
    const onConnection = isConnection(parent);
    // Counting is a statement of its own.
    if (!isCompositeType(type) || !node.selectionSet) return onConnection && field.name === 'totalCount' ? 1 : 0;
    if (isConnection(type)) return sum([1, this.selection(node.selectionSet, type, pageSize(node))]);
    const below = this.selection(node.selectionSet, type, 1);
    const row = isRow(type) ? 1 : 0;
    if (!isList(field.type)) return sum([row, below]);
    // What describes the schema is made anew each time, entry by entry.
    const each = sum([type.name.startsWith('__') ? 1 : row, below]);
    return times(onConnection ? page : lengthOf(node), each);
  }
}

function fieldOf(parent: GraphQLCompositeType, name: string): GraphQLField<unknown, unknown> | undefined {
  if (name === '__schema') return SchemaMetaFieldDef;
  if (name === '__type') return TypeMetaFieldDef;
  return 'getFields' in parent ? parent.getFields()[name] : undefined;
}

/** What has an id is a row of a table. */
function isRow(type: GraphQLNamedType): boolean {
  if (type.name === 'Node') return true;
  return (isObjectType(type) || isInterfaceType(type)) && type.getInterfaces().some(({ name }) => name === 'Node');
}

const isConnection = (type: GraphQLNamedType) => type.name.endsWith('Connection');

function isList(type: GraphQLOutputType): boolean {
  return isListType(isNonNullType(type) ? type.ofType : type);
}

/** `first`, `last`, or neither. Sizes out of bounds are refused later: they count as the largest. */
function pageSize(node: FieldNode): Price {
  const [first, last] = [given(node, 'first'), given(node, 'last')];
  const size = (variables: Variables) => {
    const asked = first?.(variables) ?? last?.(variables);
    return typeof asked === 'number' && asked >= 0 ? Math.min(asked, MAX_PAGE_SIZE) : DEFAULT_PAGE_SIZE;
  };
  return hasVariable(node, ['first', 'last']) ? size : size({});
}

/** Of a list that is no page: as many as ids were given. */
function lengthOf(node: FieldNode): Price {
  const ids = given(node, 'ids');
  if (!ids) return UNPAGED;
  const length = (variables: Variables) => {
    const asked = ids(variables);
    return Array.isArray(asked) ? asked.length : 1;
  };
  return hasVariable(node, ['ids']) ? length : length({});
}

function hasVariable({ arguments: all = [] }: FieldNode, names: string[]): boolean {
  return all.some(({ name, value }) => names.includes(name.value) && value.kind === Kind.VARIABLE);
}

/** The value of an argument: a number, the entries of a list, or whatever a variable holds. */
function given({ arguments: all = [] }: FieldNode, wanted: string): ((variables: Variables) => unknown) | null {
  const value = all.find(({ name }) => name.value === wanted)?.value;
  if (!value) return null;
  if (value.kind === Kind.VARIABLE) return (variables) => variables[value.name.value];
  if (value.kind === Kind.INT) return () => Number(value.value);
  return value.kind === Kind.LIST ? () => value.values : () => undefined;
}

function sum(prices: Price[]): Price {
  let fixed = 0;
  const open: Exclude<Price, number>[] = [];
  for (const price of prices) {
    if (typeof price === 'number') fixed += price;
    else open.push(price);
  }
  return open.length === 0 ? fixed : (variables) => open.reduce((total, price) => total + price(variables), fixed);
}

function times(count: Price, each: Price): Price {
  if (count === 0 || each === 0) return 0;
  if (typeof count === 'number' && typeof each === 'number') return count * each;
  return (variables) => valueOf(count, variables) * valueOf(each, variables);
}

/** What it costs with these variables, coerced. */
export function valueOf(price: Price, variables: Variables): number {
  return typeof price === 'number' ? price : price(variables);
}
