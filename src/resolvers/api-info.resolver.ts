/** What this endpoint is: open to everyone, so that a client can tell whom it talks to before it signs in. */
import { Field, Int, ObjectType, Query, Resolver } from 'type-graphql';
import { Public } from '../auth/directives';
import { BAD_TOKENS_PER_MINUTE, FAILED_TRIES } from '../auth/sign-in-limit';
import { EngineKind } from '../entities/enums';
import { DEFAULT_PAGE_SIZE, LIMIT_NAMES, LIMITS, MAX_PAGE_SIZE, type Limits } from '../limits';
import type { Engines } from '../services/engines';
import { MAX_SNAPSHOT_IDS } from '../services/snapshot-deletion';
import { MAX_NODE_IDS } from './node.resolver';

@ObjectType({ description: 'Bounds of what may be asked.' })
class ApiLimits {
  @Field(() => Int, { description: 'Entries of a page when neither `first` nor `last` is given.' })
  defaultPageSize: number;

  @Field(() => Int, { description: 'The most entries of a page.' })
  maxPageSize: number;

  @Field(() => Int, { description: 'The most ids that `nodes` takes.' })
  maxNodeIds: number;

  @Field(() => Int, { description: 'The most ids that `deleteSnapshots` takes.' })
  maxSnapshotIds: number;

  @Field(() => Int, { nullable: true, description: 'Requests of one account in a minute; null: any number.' })
  requestsPerMinutePerAccount: number | null;

  @Field(() => Int, { nullable: true, description: 'Requests with one API token in a minute; null: any number.' })
  requestsPerMinutePerToken: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Requests from one address (IPv6: from its /64) in a minute; null: any number.',
  })
  requestsPerMinutePerAddress: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Sockets and event streams of one account open at once; null: any number.',
  })
  openStreamsPerAccount: number | null;

  @Field(() => Int, {
    nullable: true,
    description: 'Sockets and event streams from one address open at once; null: any number.',
  })
  openStreamsPerAddress: number | null;

  @Field(() => Int, {
    description: 'Failed tries at one account within ten minutes, after which no more are looked at.',
  })
  failedSignInsPerAccount: number;

  @Field(() => Int, { description: 'The same from one address, at any accounts.' })
  failedSignInsPerAddress: number;

  @Field(() => Int, {
    description: 'Requests with access or refresh tokens that are no good, from one address in a minute.',
  })
  badTokensPerMinutePerAddress: number;
}

// The others are settings: each under its own name.
for (const name of LIMIT_NAMES) Field(() => Int, { description: LIMITS[name].description })(ApiLimits.prototype, name);

@ObjectType({ description: 'The engine, as far as everyone may know.' })
class ApiEngine {
  @Field(() => EngineKind, { description: 'Which engine it is. LOCAL is for trying and testing.' })
  kind: EngineKind;

  @Field(() => [String], {
    description: 'What it can do: SNAPSHOTS, STATEFUL_SNAPSHOTS, EVENTS, GENERATION_ID, CLUSTER, PROJECTS.',
  })
  capabilities: string[];

  @Field(() => Boolean, { description: 'Whether it answered when it was last asked. While not, accepted work waits.' })
  available: boolean;
}

@ObjectType({ description: 'An OpenID provider whose tokens are accepted here.' })
class ApiExternalIdentity {
  @Field(() => String, {
    description:
      'Its issuer URL; `/.well-known/openid-configuration` below it says how to sign in. Send a token of it as `Authorization: Bearer …`.',
  })
  issuer: string;
}

@ObjectType({ description: 'What this endpoint is.' })
class ApiInfo {
  @Field(() => String, { description: 'The version of this program.' })
  version: string;

  @Field(() => ApiEngine, {
    nullable: true,
    description: 'The engine; null until it has been seen for the first time.',
  })
  engine: ApiEngine | null;

  @Field(() => ApiLimits, { description: 'Bounds of what may be asked.' })
  limits: ApiLimits & Limits;

  @Field(() => ApiExternalIdentity, {
    nullable: true,
    description: 'Where people sign in who have their account elsewhere; null: only with `signIn`.',
  })
  externalIdentity: ApiExternalIdentity | null;

  @Field(() => String, { description: 'Whom to ask for access or help.' })
  administratorContact: string;
}

/** As in the configuration: 0 is any number. */
interface Rates {
  requestsPerMinute: { account: number; token: number; address: number };
  openStreams: { account: number; address: number };
}

@Resolver()
export class ApiInfoResolver {
  constructor(
    private readonly engines: Engines,
    private readonly about: {
      version: string;
      supportContact: string;
      limits: Limits;
      externalIssuer: string | null;
      rates: Rates;
    },
  ) {}

  @Public()
  @Query(() => ApiInfo, { description: 'Version, engine, limits, and whom to ask.' })
  async apiInfo(): Promise<ApiInfo> {
    const engine = await this.engines.find();
    const { rates } = this.about;
    return {
      version: this.about.version,
      engine: engine && {
        kind: engine.kind,
        capabilities: engine.capabilities,
        available: engine.unavailableSince === null,
      },
      limits: {
        defaultPageSize: DEFAULT_PAGE_SIZE,
        maxPageSize: MAX_PAGE_SIZE,
        maxNodeIds: MAX_NODE_IDS,
        maxSnapshotIds: MAX_SNAPSHOT_IDS,
        ...this.about.limits,
        requestsPerMinutePerAccount: rates.requestsPerMinute.account || null,
        requestsPerMinutePerToken: rates.requestsPerMinute.token || null,
        requestsPerMinutePerAddress: rates.requestsPerMinute.address || null,
        openStreamsPerAccount: rates.openStreams.account || null,
        openStreamsPerAddress: rates.openStreams.address || null,
        failedSignInsPerAccount: FAILED_TRIES.perAccount,
        failedSignInsPerAddress: FAILED_TRIES.perAddress,
        badTokensPerMinutePerAddress: BAD_TOKENS_PER_MINUTE,
      },
      externalIdentity: this.about.externalIssuer === null ? null : { issuer: this.about.externalIssuer },
      administratorContact: this.about.supportContact,
    };
  }
}
