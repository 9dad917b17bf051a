import { Field, ID, InputType } from 'type-graphql';
import { IDEMPOTENCY_KEY } from './snapshot.inputs';

@InputType({ description: 'A wish to withdraw work that has not begun.' })
export class CancelOperationInput {
  @Field(() => ID, { description: 'The operation; it must be `cancellable`.' })
  operationId: string;
}

@InputType({ description: 'A wish for the same work once again.' })
export class RetryOperationInput {
  @Field(() => ID, {
    description: 'The operation: FAILED with an error that is `retryable`, or CANCELLED.',
  })
  operationId: string;

  @Field(() => String, IDEMPOTENCY_KEY)
  idempotencyKey?: string | null;
}
