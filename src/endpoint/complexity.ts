/** How much a document and its variables ask of us, judged before validation, whose work may grow by the square of it. */
import {
  Kind,
  type ASTNode,
  type DocumentNode,
  type FragmentDefinitionNode,
  type OperationDefinitionNode,
  type SelectionSetNode,
  type ValueNode,
} from 'graphql';
import { RequestError } from '../errors';
import type { Limits } from '../limits';

/** Throws QUERY_TOO_COMPLEX, which says what was found and what the limit is. */
export function within(limits: Limits, name: keyof Limits, found: number, what: string): void {
  const most = limits[name];
  if (found <= most) return;
  const shown = Number.isFinite(found) ? `${found}` : 'far more';
  throw new RequestError('QUERY_TOO_COMPLEX', `${what} must be at most ${most}, and here is ${shown}.`);
}

/** Throws unless a document, not yet validated, keeps every limit. */
export function judgeDocument(document: DocumentNode, limits: Limits): void {
  within(limits, 'maxDefinitions', document.definitions.length, 'The number of operations and fragments of a document');
  const survey = new Survey(document);
  for (const definition of document.definitions) {
    if (!('selectionSet' in definition)) continue;
    const { depth, fields, roots } = survey.extentOf(definition);
    within(limits, 'maxDepth', depth, 'The depth of a query');
    within(limits, 'maxFields', fields, 'The number of fields of an operation, with fragments written out,');
    if (definition.kind === Kind.OPERATION_DEFINITION)
      within(limits, 'maxRootFields', roots, 'The number of fields directly below an operation');
  }
  within(limits, 'maxAliases', survey.aliases, 'The number of aliases and repeated fields of a document');
  within(limits, 'maxDirectives', survey.directives, 'The number of directives of a document');
  within(limits, 'maxVariablesDepth', survey.literalDepth, 'The depth of a literal');
}

/** Throws unless variables, as they came, keep every limit. */
export function judgeVariables(variables: Record<string, unknown>, limits: Limits): void {
  const judge = (value: unknown, depth: number): void => {
    if (typeof value !== 'object' || value === null) return;
    within(limits, 'maxVariablesDepth', depth, 'The depth of a variable');
    if (Array.isArray(value)) within(limits, 'maxListLength', value.length, 'The length of a list in the variables');
    for (const each of Object.values(value)) judge(each, depth + 1);
  };
  const values = Object.values(variables);
  if (values.length === 0) return;
  for (const value of values) judge(value, 1);
  const bytes = Buffer.byteLength(JSON.stringify(variables));
  within(limits, 'maxVariablesBytes', bytes, 'The length of the variables in bytes');
}

/** What a selection amounts to when its fragments are written out. */
interface Extent {
  depth: number;
  fields: number;
  /** Fields of its first level. */
  roots: number;
}

const NOTHING: Extent = { depth: 0, fields: 0, roots: 0 };

/** Goes once over every part of a document: what was found of a fragment is true wherever it is spread. */
class Survey {
  /** And fields that a selection names again: validation compares each of them with each other. */
  aliases = 0;
  directives = 0;
  literalDepth = 0;
  private readonly fragments = new Map<string, FragmentDefinitionNode>();
  private readonly known = new Map<ASTNode, Extent>();

  constructor(document: DocumentNode) {
    for (const node of document.definitions)
      if (node.kind === Kind.FRAGMENT_DEFINITION) this.fragments.set(node.name.value, node);
  }

  /** A fragment that leads back to itself counts once; validation says then what is wrong with it. */
  extentOf(node: OperationDefinitionNode | FragmentDefinitionNode): Extent {
    const known = this.known.get(node);
    if (known) return known;
    this.known.set(node, NOTHING);
    this.directives += node.directives?.length ?? 0;
    const variables = node.kind === Kind.OPERATION_DEFINITION ? node.variableDefinitions : [];
    for (const { directives, defaultValue } of variables ?? []) {
      this.directives += directives?.length ?? 0;
      if (defaultValue) this.measure(defaultValue, 0);
    }
    const extent = this.add(node.selectionSet);
    this.known.set(node, extent);
    return extent;
  }

  private add({ selections }: SelectionSetNode): Extent {
    const sum: Extent = { ...NOTHING };
    const names = new Set<string>();
    for (const node of selections) {
      this.directives += node.directives?.length ?? 0;
      for (const directive of node.directives ?? []) this.measureAll(directive.arguments);
      if (node.kind === Kind.FIELD) {
        if (node.alias || names.has(node.name.value)) this.aliases += 1;
        names.add(node.name.value);
        this.measureAll(node.arguments);
        const below = node.selectionSet ? this.add(node.selectionSet) : NOTHING;
        include(sum, { depth: below.depth + 1, fields: below.fields + 1, roots: 1 });
      } else if (node.kind === Kind.INLINE_FRAGMENT) include(sum, this.add(node.selectionSet));
      else {
        const fragment = this.fragments.get(node.name.value);
        if (fragment) include(sum, this.extentOf(fragment));
      }
    }
    return sum;
  }

  private measureAll(values: readonly { value: ValueNode }[] = []): void {
    for (const { value } of values) this.measure(value, 0);
  }

  private measure(value: ValueNode, above: number): void {
    if (value.kind !== Kind.LIST && value.kind !== Kind.OBJECT) return;
    this.literalDepth = Math.max(this.literalDepth, above + 1);
    const parts = value.kind === Kind.LIST ? value.values : value.fields.map((field) => field.value);
    for (const part of parts) this.measure(part, above + 1);
  }
}

function include(sum: Extent, part: Extent): void {
  sum.depth = Math.max(sum.depth, part.depth);
  sum.fields += part.fields;
  sum.roots += part.roots;
}
