/** Every way through the schema from a root field: what a curious client would try, one document after the other. */
import {
  getNamedType,
  isAbstractType,
  isCompositeType,
  isInterfaceType,
  isObjectType,
  isRequiredArgument,
  type GraphQLObjectType,
  type GraphQLSchema,
} from 'graphql';
import { rootRows, fieldRows, type RootRow } from './access-table';

export interface Walk {
  /** The fields on the way, as `Type.field`. */
  fields: string[];
  document: (values: Values) => string;
}

/** What stands for `$instance` and the like in the arguments of a row. */
export type Values = Record<string, string>;

/** A row's root field with a selection below it. */
export function documentOf({ kind, field, args }: RootRow, selection: string, values: Values): string {
  const given = args.replace(/\$(\w+)/g, (_, name: string) => {
    const value = values[name];
    if (value === undefined) throw new Error(`no value for $${name}`);
    return JSON.stringify(value);
  });
  return `${kind.toLowerCase()} { ${field}${given && `(${given})`} ${selection} }`;
}

/** The type that a row's root field answers. */
export function typeOfRow(schema: GraphQLSchema, { kind, field }: RootRow): string {
  const type = (schema.getType(kind) as GraphQLObjectType).getFields()[field]?.type;
  if (!type) throw new Error(`no field ${kind}.${field}`);
  return getNamedType(type).name;
}

/** From a row's root field, the shortest way to every field below it that leads to an object. */
export function walksFrom(schema: GraphQLSchema, row: RootRow): Walk[] {
  const walks: Walk[] = [];
  const seen = new Set<string>();
  const ahead: { typeName: string; fields: string[]; wrap: (inner: string) => string }[] = [];
  const reach = (typeName: string, fields: string[], wrap: (inner: string) => string): void => {
    const type = schema.getType(typeName);
    if (!isAbstractType(type)) return void ahead.push({ typeName, fields, wrap });
    for (const { name } of schema.getPossibleTypes(type)) {
      reach(name, fields, (inner) => wrap(`{ __typename ... on ${name} ${inner} }`));
    }
  };
  reach(typeOfRow(schema, row), [`${row.kind}.${row.field}`], (inner) => inner);
  for (let here = ahead.shift(); here; here = ahead.shift()) {
    const { typeName, fields, wrap } = here;
    walks.push({ fields, document: (values) => documentOf(row, wrap(leavesOf(schema, typeName)), values) });
    for (const field of compositeFields(schema, typeName)) {
      const name = `${typeName}.${field.name}`;
      if (field.args.some(isRequiredArgument)) throw new Error(`${name} needs an argument`);
      if (seen.has(name)) continue;
      seen.add(name);
      reach(getNamedType(field.type).name, [...fields, name], (inner) => wrap(`{ ${field.name} ${inner} }`));
    }
  }
  return walks;
}

function compositeFields(schema: GraphQLSchema, typeName: string) {
  const fields = (schema.getType(typeName) as GraphQLObjectType).getFields();
  return Object.values(fields).filter(({ type }) => isCompositeType(getNamedType(type)));
}

/** Everything of a type that is told to whoever reached it and is no object itself. */
export function leavesOf(schema: GraphQLSchema, typeName: string): string {
  const type = schema.getType(typeName);
  if (!isObjectType(type) && !isInterfaceType(type)) throw new Error(`${typeName} has no fields`);
  const leaves = Object.values(type.getFields()).filter(({ type: of }) => !isCompositeType(getNamedType(of)));
  return `{ __typename ${leaves.map(({ name }) => name).join(' ')} }`;
}

/** The fields that are refused to a USER wherever they stand. */
export const staffFields = new Set(
  fieldRows.flatMap(({ type, who, fields }) => (who === 'staff' ? fields.map((field) => `${type}.${field}`) : [])),
);

/** Every field of the live schema, as `Type.field`. */
export function fieldsOf(schema: GraphQLSchema): string[] {
  return Object.values(schema.getTypeMap()).flatMap((type) =>
    isCompositeType(type) && 'getFields' in type && !type.name.startsWith('__')
      ? Object.keys(type.getFields()).map((field) => `${type.name}.${field}`)
      : [],
  );
}

/** The rows of queries. */
export const queryRows = rootRows.filter(({ kind }) => kind === 'Query');
