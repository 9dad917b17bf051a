import { Field, ObjectType } from 'type-graphql';
import { Operation } from '../entities/operation';
import { AcceptedPayload } from './snapshot.payloads';
import { Payload } from './user-errors';

@ObjectType({ description: 'What `cancelOperation` answers.' })
export class CancelOperationPayload extends Payload {
  @Field(() => Operation, { nullable: true, description: 'The operation, CANCELLED; null when refused.' })
  operation: Operation | null;
}

@ObjectType({
  description: 'What `retryOperation` answers: a new operation. Its snapshot is null also when there are several.',
})
export class RetryOperationPayload extends AcceptedPayload {}
