/** Whoever waits for an engine that is silent waits only for so long, whatever becomes of memory meanwhile. */
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { deadline } from '../src/engine/deadline';
import { until } from './support/until';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

test('a deadline passes also when memory is tidied up before it', async () => {
  let passed = 0;
  for (let count = 0; count < 20; count += 1) {
    deadline(new AbortController().signal, 200).signal.addEventListener('abort', () => (passed += 1));
  }
  await turn(); // what was made in this one is kept for as long as it lasts
  collectGarbage();
  await until(() => passed === 20, 5_000, 'all of them to pass');
});

test('a deadline ends with the signal that it was made from, and tells its reason', () => {
  const given = new AbortController();
  const { signal, clear } = deadline(given.signal, 60_000);
  given.abort('enough');
  expect(signal.reason).toBe('enough');
  clear();
  const late = deadline(given.signal, 60_000);
  expect(late.signal.aborted).toBe(true);
  late.clear();
});
