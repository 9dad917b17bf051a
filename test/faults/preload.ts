/**
 * Loaded into the program before its own code (`node -r`): watches the SQL that goes through pg's client, and kills its own
 * process at the statement it was told, as a power cut would. It also tells which operations this process has claimed.
 */
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import type pg from 'pg';
import type { Kill } from './points';

// The program's own copy, by the place of its main file.
const { Client } = createRequire(resolve(process.argv[1] ?? ''))('pg') as typeof pg;
const claim = new RegExp(process.env['FAULTS_CLAIM'] ?? '$^');

type Answer = { rowCount?: number | null } | undefined;
type Query = (this: object, config: unknown, values?: unknown, done?: unknown) => unknown;

let kill: Kill | null = null;
let doom: NodeJS.Timeout | undefined;
/** Connections with a matching statement in their present transaction. */
const marked = new WeakSet();

process.on('message', (message: Kill | null) => {
  kill = message;
  clearTimeout(doom);
});
// Without this the listener would keep a program alive that has ended.
process.channel?.unref();
// A laboratory that is gone leaves nothing running.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));

function die(delayMs: number): void {
  kill = null;
  const now = () => process.kill(process.pid, 'SIGKILL');
  if (delayMs === 0) now();
  else doom = setTimeout(now, delayMs);
}

/** Whether the armed point is this statement, those to be skipped not counted. */
function isDue(client: object, text: string, values: unknown[]): boolean {
  if (!kill) return false;
  const { point } = kill;
  const fits =
    new RegExp(point.text, 'i').test(text) &&
    (point.value === undefined || values.some((each) => new RegExp(point.value ?? '').test(String(each))));
  if (point.commit && fits) marked.add(client);
  const due = point.commit ? /^commit/i.test(text) && marked.delete(client) : fits;
  return due && !point.rows ? counted() : due;
}

function counted(): boolean {
  if (!kill) return false;
  kill.skip -= 1;
  return kill.skip < 0;
}

const prototype = Client.prototype as unknown as { query: Query };
const original = prototype.query;
prototype.query = function (this: object, config: unknown, values?: unknown, done?: unknown): unknown {
  const { text = '', values: own } = (typeof config === 'object' && config !== null ? config : { text: config }) as {
    text?: string;
    values?: unknown[];
  };
  const params = own ?? (Array.isArray(values) ? (values as unknown[]) : []);
  const due = isDue(this, text, params);
  if (due && kill?.when === 'before' && !kill.point.rows) die(kill.delayMs);
  const answered = (answer: Answer): void => {
    if (claim.test(text) && (answer?.rowCount ?? 0) > 0) process.send?.({ claimed: params[0] });
    if (due && kill && (!kill.point.rows || ((answer?.rowCount ?? 0) > 0 && counted()))) die(kill.delayMs);
  };
  const callback = [values, done].find((each) => typeof each === 'function') as
    ((error: unknown, answer: Answer) => void) | undefined;
  if (callback) {
    const heard = (error: unknown, answer: Answer): void => {
      answered(answer);
      callback(error, answer);
    };
    return original.call(this, config, ...(typeof values === 'function' ? [heard] : [values, heard]));
  }
  const result = original.call(this, config, values, done);
  if (result instanceof Promise)
    void result.then(
      (answer: Answer) => answered(answer),
      () => undefined,
    );
  return result;
};
