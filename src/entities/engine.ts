import { Field, ObjectType } from 'type-graphql';
import { Check, Column, Entity, PrimaryColumn } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { EngineKind } from './enums';
import { OPTIONAL_TIME, TIME } from './time';

/** The engine as a worker last saw it, for processes that never touch it themselves. One row for now. */
@ObjectType('Engine', { description: 'The engine that runs instances, as it was last seen.' })
@Entity('engines')
@Check('engine_kind', `kind in ('INCUS', 'LXD', 'LOCAL')`)
export class Engine {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'engines_pkey' })
  id: string = uuidv7();

  @Field(() => EngineKind, { description: 'Which engine it is.' })
  @Column('text')
  kind: EngineKind;

  @Field(() => String, { description: "The engine's own name: of its server or its cluster." })
  @Column('text')
  name: string;

  @Field(() => String, { description: "The engine's own version; never compare it, look at `capabilities`." })
  @Column('text')
  version: string;

  /** Which start of its daemon was looked at in full last; null where that cannot be told. */
  @Column('text', { nullable: true })
  run: string | null;

  @Field(() => [String], {
    description: 'What it can do: SNAPSHOTS, STATEFUL_SNAPSHOTS, EVENTS, GENERATION_ID, CLUSTER, PROJECTS.',
  })
  @Column('text', { array: true })
  capabilities: string[];

  @Field(() => Date, { nullable: true, description: 'Since when it has not answered; null while it does.' })
  @Column(OPTIONAL_TIME)
  unavailableSince: Date | null;

  @Field(() => Date, { description: 'When all of it was last looked at.' })
  @Column(TIME)
  observedAt: Date;
}
