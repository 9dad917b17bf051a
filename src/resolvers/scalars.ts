/** Scalars beyond GraphQL's own. `DateTime` and `BigInt` are graphql-scalars'; this adds times relative to now. */
import { GraphQLError, GraphQLScalarType, Kind } from 'graphql';
import { GraphQLBigInt, GraphQLDateTime } from 'graphql-scalars';

const DURATION =
  /^(-)?P(?=\d|T\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/;

/** RFC 3339 as it is, or an ISO 8601 duration added to `now`; throws for anything else. */
export function parseDateTimeOrDuration(text: unknown, now = new Date()): Date {
  const found = typeof text === 'string' ? DURATION.exec(text) : null;
  if (!found) return GraphQLDateTime.parseValue(text);
  const [years = 0, months = 0, weeks = 0, days = 0, hours = 0, minutes = 0, seconds = 0] = found
    .slice(2)
    .map((part) => (found[1] ? -1 : 1) * Number(part || 0));
  const moved = new Date(now);
  moved.setUTCFullYear(
    moved.getUTCFullYear() + years,
    moved.getUTCMonth() + months,
    moved.getUTCDate() + weeks * 7 + days,
  );
  moved.setTime(moved.getTime() + ((hours * 60 + minutes) * 60 + seconds) * 1000);
  if (Number.isNaN(moved.getTime())) throw new GraphQLError('This duration leads out of the calendar.');
  return moved;
}

export const DateTimeOrDuration = new GraphQLScalarType<Date, string>({
  name: 'DateTimeOrDuration',
  description: 'A time as RFC 3339, or an ISO 8601 duration from now: `-P7D` is a week ago.',
  parseValue: (value) => parseDateTimeOrDuration(value),
  parseLiteral: (node) => {
    if (node.kind !== Kind.STRING) throw new GraphQLError('A time is written as a string.', { nodes: [node] });
    return parseDateTimeOrDuration(node.value);
  },
  serialize: (value) => (value as Date).toISOString(),
});

export const DateTime = new GraphQLScalarType({
  ...GraphQLDateTime.toConfig(),
  description: 'A time as RFC 3339 in UTC, always `YYYY-MM-DDTHH:mm:ss.sssZ`; finer times are cut.',
});

export const BigInt = new GraphQLScalarType({
  ...GraphQLBigInt.toConfig(),
  description: 'A whole number beyond 32 bits, below 2^53, as a JSON number.',
});
