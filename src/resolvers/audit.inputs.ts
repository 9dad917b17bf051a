/** How entries of the audit log are asked for. */
import { ArgsType, Field, ID, InputType, registerEnumType } from 'type-graphql';
import { AuditOutcome } from '../entities/enums';
import type { Filter } from '../read/filters';
import { PageArgs } from './connections';
import { DateTimeFilter, enumFilter, OrderDirection, StringFilter } from './filters.inputs';
import { parseGlobalId } from './global-id';

@InputType({ description: 'Comparisons of an id; all that are given must hold.' })
class IdFilter {
  @Field(() => ID, { nullable: true, description: 'Is this.' })
  eq?: string;

  @Field(() => [ID], { nullable: true, description: 'Is one of these.' })
  in?: string[];
}

const AuditOutcomeFilter = enumFilter(AuditOutcome, 'AuditOutcome', 'what came of it');
const by = (what: string) => ({ nullable: true, description: `By ${what}.` }) as const;

@InputType({ description: 'Which entries; all that is given must hold.' })
class AuditEventFilter {
  [key: string]: unknown;
  @Field(() => StringFilter, by('the mutation or query, as the schema names it')) action?: StringFilter;
  @Field(() => AuditOutcomeFilter, by('what came of it')) outcome?: object;
  @Field(() => StringFilter, by('why it was refused or failed')) code?: StringFilter;
  @Field(() => IdFilter, by('who did it')) actorId?: IdFilter;
  @Field(() => StringFilter, by('the type of what it was done to')) resourceType?: StringFilter;
  @Field(() => IdFilter, by('what it was done to')) resourceId?: IdFilter;
  @Field(() => StringFilter, by("the request's id")) correlationId?: StringFilter;
  @Field(() => DateTimeFilter, by('when it was written')) createdAt?: DateTimeFilter;
  @Field(() => [AuditEventFilter], { nullable: true, description: 'All of these hold.' }) and?: AuditEventFilter[];
  @Field(() => [AuditEventFilter], { nullable: true, description: 'At least one of these holds.' })
  or?: AuditEventFilter[];
  @Field(() => AuditEventFilter, { nullable: true, description: 'This does not hold.' }) not?: AuditEventFilter;
}

enum AuditEventOrderField {
  CREATED_AT = 'CREATED_AT',
}
registerEnumType(AuditEventOrderField, {
  name: 'AuditEventOrderField',
  description: 'What entries of the audit log are ordered by; the id breaks ties.',
  valuesConfig: { CREATED_AT: { description: 'By the time at which they were written.' } },
});

@InputType({ description: 'The order of entries.' })
class AuditEventOrder {
  @Field(() => AuditEventOrderField, { description: 'By what.' }) field: AuditEventOrderField;
  @Field(() => OrderDirection, { description: 'Which end first.' }) direction: OrderDirection;
}

@ArgsType()
export class AuditEventsArgs extends PageArgs {
  @Field(() => AuditEventFilter, { nullable: true, description: 'Which of them.' })
  filter?: AuditEventFilter | null;

  @Field(() => AuditEventOrder, {
    nullable: true,
    defaultValue: { field: AuditEventOrderField.CREATED_AT, direction: OrderDirection.DESC },
    description: 'In which order.',
  })
  orderBy?: AuditEventOrder | null;
}

/** No row's: what a malformed id is compared as. */
const NOTHING = '00000000-0000-0000-0000-000000000000';

/** The filter with the rows' ids in place of the global ones. */
export function withRowIds(filter: Filter): Filter {
  const rowId = (id: string) => parseGlobalId(id)?.id ?? NOTHING;
  const changed = Object.entries(filter).map(([field, value]): [string, unknown] => {
    if (field === 'and' || field === 'or') return [field, (value as Filter[] | null)?.map(withRowIds)];
    if (field === 'not') return [field, value && withRowIds(value as Filter)];
    if (!value || (field !== 'actorId' && field !== 'resourceId')) return [field, value];
    const { eq, in: among } = value as { eq?: string | null; in?: string[] | null };
    return [field, { eq: eq && rowId(eq), in: among?.map(rowId) }];
  });
  return Object.fromEntries(changed);
}
