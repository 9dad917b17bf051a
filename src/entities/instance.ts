import { Field, ObjectType } from 'type-graphql';
import { Check, Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Engine } from './engine';
import { InstanceStatus, InstanceType } from './enums';
import { Node } from './node';
import { TIME } from './time';

@ObjectType({ description: "An instance's configuration, with what its profiles add. Secrets are left out." })
export class InstanceConfiguration {
  @Field(() => String, { description: 'Free text set on the engine; empty when there is none.' })
  description: string;

  @Field(() => [String], { description: 'The profiles applied, in order.' })
  profiles: string[];

  @Field(() => [ConfigurationEntry], { description: 'Configuration keys with their values, sorted by key.' })
  entries: ConfigurationEntry[];

  @Field(() => [ConfigurationDevice], { description: 'Devices, sorted by name.' })
  devices: ConfigurationDevice[];
}

@ObjectType({ description: 'One configuration key and its value.' })
export class ConfigurationEntry {
  @Field(() => String, { description: 'The key, as the engine names it (`limits.memory`).' })
  key: string;

  @Field(() => String, { description: 'The value, as the engine writes it.' })
  value: string;
}

@ObjectType({ description: 'One device of an instance.' })
export class ConfigurationDevice {
  @Field(() => String, { description: "The device's name." })
  name: string;

  @Field(() => [ConfigurationEntry], { description: 'Its properties, sorted by key.' })
  properties: ConfigurationEntry[];
}

/** What may be snapshotted: one container or virtual machine, as the observer last saw it. */
@ObjectType({ implements: Node, description: 'A container or virtual machine whose snapshots are kept here.' })
@Entity('instances')
@Check('instance_type', `type in ('CONTAINER', 'VIRTUAL_MACHINE')`)
@Check(
  'instance_status',
  `status in ('PENDING', 'CREATING', 'RUNNING', 'STOPPED', 'STOPPING', 'RESTARTING', 'ERROR', 'DELETING', 'DELETED')`,
)
@Index('one_instance_per_engine_uid', ['engineId', 'uid'], { unique: true })
@Index('instances_by_name', ['name', 'id'])
@Index('instances_by_creation', ['createdAt', 'id'])
export class Instance {
  readonly __typename = 'Instance';

  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'instances_pkey' })
  id: string = uuidv7();

  @Column('uuid')
  engineId: string;

  @ManyToOne(() => Engine)
  @JoinColumn({ name: 'engine_id', foreignKeyConstraintName: 'instance_on_engine' })
  onEngine: Relation<Engine>;

  /** The engine's own unique id, which a rename keeps. */
  @Column('text')
  uid: string;

  @Field(() => String, { description: "The instance's name, unique within its project." })
  @Column({ type: 'text', collation: 'C' })
  name: string;

  @Field(() => String, { description: "The engine's project it belongs to." })
  @Column('text')
  project: string;

  @Field(() => String, { nullable: true, description: 'The cluster member it lives on; null on a single machine.' })
  @Column('text', { nullable: true })
  location: string | null;

  @Field(() => InstanceType, { description: 'Container or virtual machine.' })
  @Column('text')
  type: InstanceType;

  @Field(() => InstanceStatus, { description: 'As the engine last showed it, at `observedAt`.' })
  @Column('text')
  status: InstanceStatus;

  @Field(() => Date, { description: 'When the engine made it.' })
  @Column(TIME)
  createdAt: Date;

  @Field(() => InstanceConfiguration, { description: 'Description, keys, devices and profiles, at `observedAt`.' })
  @Column('jsonb')
  configuration: InstanceConfiguration;

  /** Why a stateful snapshot cannot be taken of it even while it runs; empty when it can. */
  @Column('text', { array: true })
  statefulObstacles: string[];

  /** The engine's generation id, another one after each restore; null where there is none, or it was not seen yet. */
  @Column('text', { nullable: true })
  generation: string | null;

  @Field(() => Date, { description: 'When the engine was last asked about it.' })
  @Column(TIME)
  observedAt: Date;
}
