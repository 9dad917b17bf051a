/** What an engine's refusal means to whoever asked: a code of ours, a sentence, and what to do. */
import { EngineError, type EngineErrorCode } from '../engine/engine';
import { OperationErrorCode } from '../entities/enums';
import type { OperationError } from '../entities/operation';

interface Meaning {
  code: OperationErrorCode;
  retryable: boolean;
  remediation: string;
}

const MEANING: Record<EngineErrorCode, Meaning> = {
  UNAVAILABLE: {
    code: OperationErrorCode.ENGINE_UNAVAILABLE,
    retryable: true,
    remediation: 'Ask again when the engine answers.',
  },
  OUTCOME_UNKNOWN: {
    code: OperationErrorCode.OUTCOME_UNKNOWN,
    retryable: false,
    remediation: 'Look at the instance before anything else is done with it.',
  },
  NOT_FOUND: {
    code: OperationErrorCode.NOT_FOUND,
    retryable: false,
    remediation: 'It was removed or renamed on the engine; the list shows what is there now.',
  },
  NAME_TAKEN: { code: OperationErrorCode.NAME_TAKEN, retryable: false, remediation: 'Choose another name.' },
  BUSY: {
    code: OperationErrorCode.ENGINE_ERROR,
    retryable: true,
    remediation: 'Something else is at work on the instance at the engine; ask again in a moment.',
  },
  STATE_INVALID: {
    code: OperationErrorCode.INSTANCE_STATE_INVALID,
    retryable: false,
    remediation: "Look at the instance's status; start or stop it first.",
  },
  STATEFUL_NOT_SUPPORTED: {
    code: OperationErrorCode.STATEFUL_NOT_SUPPORTED,
    retryable: false,
    remediation: 'Take a stateless snapshot, or have the instance prepared for stateful ones.',
  },
  STORAGE_FULL: {
    code: OperationErrorCode.STORAGE_FULL,
    retryable: true,
    remediation: "Make room in the engine's storage, for example by deleting old snapshots.",
  },
  REJECTED: {
    code: OperationErrorCode.ENGINE_ERROR,
    retryable: false,
    remediation: 'Ask whoever runs the engine; its log says more.',
  },
};

/** A failure as the operation shows it. What is no engine's word is our fault, and says so. */
export function toOperationError(
  error: unknown,
  correlationId: string,
  more: { addition?: string; retryable?: boolean } = {},
): OperationError {
  if (!(error instanceof EngineError)) {
    return {
      code: OperationErrorCode.INTERNAL,
      message: 'Something went wrong on our side.',
      retryable: false,
      remediation: 'Whoever runs this finds it in the log by the correlation id.',
      correlationId,
    };
  }
  const { code, retryable, remediation } = MEANING[error.code];
  const message = [error.message, more.addition].filter(Boolean).join(' ');
  return { code, message, retryable: more.retryable ?? retryable, remediation, correlationId };
}
