/** A signal, and how to let go of it when what it was for is over. */
export interface Deadline {
  signal: AbortSignal;
  clear: () => void;
}

/**
 * Aborts with the given signal, or when the time is over. Not by AbortSignal.any with AbortSignal.timeout: Node lets the latter
 * be collected before it fires, and whoever waits for it waits for ever.
 */
export function deadline(signal: AbortSignal, ms: number): Deadline {
  const ending = new AbortController();
  const end = () => ending.abort(signal.reason);
  const timer = setTimeout(end, ms);
  signal.addEventListener('abort', end);
  if (signal.aborted) end();
  return {
    signal: ending.signal,
    clear: () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
    },
  };
}
