/** Part of the `local` engine, which can be taken away (see local.ts): one act at a time, and failures in our words. */
import { EngineError } from './engine';
import { hasCode } from './local-files';

/** A failure of the file system or of time, as the engine's answer; every act undoes itself before it fails. */
export function toEngineError(error: unknown, signal: AbortSignal): EngineError {
  if (error instanceof EngineError) return error;
  const detail = String(error);
  const answer = (code: EngineError['code'], message: string): EngineError =>
    new EngineError(code, message, detail, { cause: error });
  if (signal.aborted) return answer('UNAVAILABLE', 'The engine did not answer in time.');
  if (hasCode(error, 'ENOSPC', 'EDQUOT')) return answer('STORAGE_FULL', 'The storage of the engine is full.');
  if (hasCode(error, 'EMFILE', 'ENFILE', 'EAGAIN')) return answer('UNAVAILABLE', 'The engine is out of resources.');
  if (hasCode(error, 'ENAMETOOLONG')) return answer('REJECTED', 'The name is too long for the storage of the engine.');
  if (hasCode(error, 'EACCES', 'EPERM', 'EROFS')) {
    return answer('REJECTED', 'The engine may not read or write all of its files.');
  }
  return answer('REJECTED', 'The engine could not do this with its files.');
}

/** Lets acts on one key run one after another, in the order they were asked for. */
export class Turns {
  private readonly last = new Map<string, Promise<void>>();
  private closed = false;

  /** Something that may happen at any time, as a look does. */
  async now<T>(signal: AbortSignal, look: () => Promise<T>): Promise<T> {
    try {
      this.refuseLate(signal);
      return await look();
    } catch (error) {
      throw toEngineError(error, signal);
    }
  }

  /** Something that waits for what was asked before it; waiting ends with the signal, and then nothing is done. */
  run<T>(key: string, signal: AbortSignal, act: () => Promise<T>): Promise<T> {
    const before = this.last.get(key) ?? Promise.resolve();
    const mine = this.now(signal, async () => {
      await settledOrOver(before, signal);
      this.refuseLate(signal);
      return act();
    });
    const ended = Promise.allSettled([before, mine]).then(() => {
      if (this.last.get(key) === ended) this.last.delete(key);
    });
    this.last.set(key, ended);
    return mine;
  }

  /** Takes no more, and waits for what has begun. */
  async close(): Promise<void> {
    this.closed = true;
    await Promise.all(this.last.values());
  }

  private refuseLate(signal: AbortSignal): void {
    if (this.closed) throw new EngineError('UNAVAILABLE', 'The engine is closed.');
    signal.throwIfAborted();
  }
}

function settledOrOver(before: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      signal.removeEventListener('abort', done);
      resolve();
    };
    signal.addEventListener('abort', done);
    void before.then(done);
  });
}
