/** Scalars beyond GraphQL's own. `DateTime` and `BigInt` are graphql-scalars'; this adds times relative to now. */
import { GraphQLError, GraphQLScalarType, Kind } from 'graphql';
import { GraphQLBigInt, GraphQLDateTime } from 'graphql-scalars';

const DURATION =
  /^(-)?P(?=\d|T\d)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$/;

/** A duration means another time at each request; written out, it stays what it was, so that a repeat can be recognised. */
class RelativeTime extends Date {
  constructor(
    time: Date,
    private readonly written: string,
  ) {
    super(time);
  }

  override toJSON(): string {
    return this.written;
  }
}

/** RFC 3339 as it is, or an ISO 8601 duration added to `now`; throws for anything else, and beyond years of four digits. */
export function parseDateTimeOrDuration(text: unknown, now = new Date()): Date {
  const found = typeof text === 'string' ? DURATION.exec(text) : null;
  const time = found ? new RelativeTime(moved(now, found), found[0]) : GraphQLDateTime.parseValue(text);
  const year = time.getUTCFullYear();
  if (!(year >= 1 && year <= 9999)) throw new GraphQLError('This time is outside the calendar.');
  return time;
}

function moved(now: Date, found: RegExpExecArray): Date {
  const [years = 0, months = 0, weeks = 0, days = 0, hours = 0, minutes = 0, seconds = 0] = found
    .slice(2)
    .map((part) => (found[1] ? -1 : 1) * Number(part || 0));
  const time = new Date(now);
  time.setUTCFullYear(time.getUTCFullYear() + years, time.getUTCMonth() + months, time.getUTCDate() + weeks * 7 + days);
  time.setTime(time.getTime() + ((hours * 60 + minutes) * 60 + seconds) * 1000);
  return time;
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
