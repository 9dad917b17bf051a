/**
 * Where the program can be killed, told by the SQL that it sends: there are no hooks in it. When its statements change, a
 * point no longer fires; the report names those that never did.
 */

/** What the preload waits for. It must survive JSON, so patterns are texts. */
export interface KillPoint {
  name: string;
  /** A pattern of the statement. */
  text: string;
  /** A pattern of one of its values. */
  value?: string;
  /** The end of the transaction in which the statement stands, in place of the statement. */
  commit?: true;
  /** Only when it gave rows: a queue is asked for jobs all the time. */
  rows?: true;
}

export interface Kill {
  point: KillPoint;
  /** How many matching statements go by first. */
  skip: number;
  when: 'before' | 'after';
  delayMs: number;
}

const step = (name: string): KillPoint => ({
  name: `the note of step ${name}`,
  text: 'update operations\\b',
  value: `"name":"${name}","status":"RUNNING"`,
});

export const CLAIM = 'update operations[^]*attempts \\+ 1';

const finish: KillPoint = { name: 'the finishing statement', text: 'update operations[^]*finished_at = ' };

export const points = {
  job: { name: 'taking the job', text: 'update [^ ]*_private_jobs[^]*locked_by', rows: true },
  claim: { name: 'the claim', text: CLAIM },
  check: step('check'),
  act: step('act'),
  verify: step('verify'),
  item: { name: 'the note of an item', text: 'update operations[^]*\\bitems = ' },
  finish,
  finished: { ...finish, name: 'the finishing commit', commit: true },
  completion: { name: 'the end of the job', text: 'delete from [^ ]*_private_jobs' },
  /** A delay after the note of the act leads into the engine's call. */
  engine: { ...step('act'), name: 'the call of the engine' },
} satisfies Record<string, KillPoint>;

const acceptance: KillPoint = { name: 'the acceptance', text: 'insert into operations' };
export const acceptances = {
  accepting: acceptance,
  accepted: { ...acceptance, name: 'the commit of the acceptance', commit: true },
} satisfies Record<string, KillPoint>;

/** What a child tells its laboratory. */
export interface Told {
  claimed: string;
}
