/** What this endpoint is: open to everyone, so that a client can tell whom it talks to before it signs in. */
import { Field, Int, ObjectType, Query, Resolver } from 'type-graphql';
import { Public } from '../auth/directives';
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

  @Field(() => String, { description: 'Whom to ask for access or help.' })
  administratorContact: string;
}

@Resolver()
export class ApiInfoResolver {
  constructor(
    private readonly engines: Engines,
    private readonly about: { version: string; supportContact: string; limits: Limits },
  ) {}

  @Public()
  @Query(() => ApiInfo, { description: 'Version, engine, limits, and whom to ask.' })
  async apiInfo(): Promise<ApiInfo> {
    const engine = await this.engines.find();
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
      },
      administratorContact: this.about.supportContact,
    };
  }
}
