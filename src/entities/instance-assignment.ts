import { Field, ObjectType } from 'type-graphql';
import { Column, Entity, Index, JoinColumn, ManyToOne, PrimaryColumn, type Relation } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Instance } from './instance';
import { TIME } from './time';
import { User } from './user';

/** Who sees an instance without being OPERATIONS or ADMIN. */
@ObjectType({ description: 'That an instance is assigned to a user, who may see it.' })
@Entity('instance_assignments')
@Index('one_assignment_per_user_and_instance', ['userId', 'instanceId'], { unique: true })
@Index('assignments_by_instance', ['instanceId', 'createdAt', 'id'])
export class InstanceAssignment {
  @PrimaryColumn('uuid', { primaryKeyConstraintName: 'instance_assignments_pkey' })
  id: string = uuidv7();

  @Column('uuid')
  userId: string;

  @ManyToOne(() => User, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'user_id', foreignKeyConstraintName: 'assignment_of_user' })
  assignee: Relation<User>;

  @Column('uuid')
  instanceId: string;

  @ManyToOne(() => Instance, { onDelete: 'CASCADE' })
  @JoinColumn({ name: 'instance_id', foreignKeyConstraintName: 'assignment_of_instance' })
  ofInstance: Relation<Instance>;

  @Field(() => Date, { description: 'When it was assigned.' })
  @Column(TIME)
  createdAt: Date;
}
