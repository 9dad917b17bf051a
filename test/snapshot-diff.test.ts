/** What rows become when the engine is looked at: a table of all the ways in which the two can differ. */
import { OperationErrorCode, SnapshotStatus } from '../src/entities/enums';
import type { OperationError } from '../src/entities/operation';
import { compareSnapshots } from '../src/worker/snapshot-diff';

const time = (second: number): Date => new Date(Date.UTC(2030, 0, 1, 0, 0, second));
const error = { code: OperationErrorCode.OUTCOME_UNKNOWN } as OperationError;

interface Row {
  name: string;
  at?: number;
  stateful?: boolean;
  status?: keyof typeof SnapshotStatus;
  error?: OperationError;
  /** Never seen on the engine: its time is that of its acceptance. */
  unseen?: boolean;
}
interface Facts {
  name: string;
  at?: number;
  stateful?: boolean;
}

/** The changes in words; a row is called by its place in the list. */
function compare(rows: Row[], seen: Facts[]): { missing: string[]; seen: string[]; found: string[] } {
  const changes = compareSnapshots(
    [{ instanceId: 'i', seen: seen.map(({ name, at = 0, stateful = false }) => ({ name, createdAt: time(at), stateful })) }], // prettier-ignore
    rows.map(({ name, at = 0, stateful = false, status = 'AVAILABLE', error: why = null, unseen = false }, index) => ({
      id: `row ${index}`,
      instanceId: 'i',
      name,
      createdAt: time(at),
      stateful,
      status: SnapshotStatus[status],
      error: why,
      observedAt: unseen ? null : time(59),
    })),
  );
  return {
    missing: changes.missing,
    seen: changes.seen.map(({ id, name }) => `${id} as ${name}`),
    found: changes.found.map(({ name, createdAt }) => `${name} of ${createdAt.getUTCSeconds()}`),
  };
}

const nothing = { missing: [], seen: [], found: [] };

test.each<[string, Row[], Facts[], Partial<ReturnType<typeof compare>>]>([
  ['nothing on either side changes nothing', [], [], {}],
  ['what is there as it was is seen', [{ name: 'a' }], [{ name: 'a' }], { seen: ['row 0 as a'] }],
  ['what no row is about is found', [], [{ name: 'a', at: 3 }], { found: ['a of 3'] }],
  ['what is not there any more is missing', [{ name: 'a' }], [], { missing: ['row 0'] }],
  ['what was missing before is not missing again', [{ name: 'a', status: 'MISSING' }], [], {}],
  ['what is back is seen', [{ name: 'a', status: 'MISSING' }], [{ name: 'a' }], { seen: ['row 0 as a'] }],
  ['the same copy under another name was renamed', [{ name: 'a' }], [{ name: 'b' }], { seen: ['row 0 as b'] }],
  [
    'two that swapped their names are still themselves',
    [
      { name: 'a', at: 1 },
      { name: 'b', at: 2 },
    ],
    [
      { name: 'a', at: 2 },
      { name: 'b', at: 1 },
    ],
    { seen: ['row 1 as a', 'row 0 as b'] },
  ],
  [
    'two of the same moment are told apart by their names',
    [
      { name: 'a', at: 1 },
      { name: 'b', at: 1 },
    ],
    [
      { name: 'b', at: 1 },
      { name: 'a', at: 1 },
    ],
    { seen: ['row 1 as b', 'row 0 as a'] },
  ],
  [
    'another of the same name is another',
    [{ name: 'a', at: 1 }],
    [{ name: 'a', at: 2 }],
    { missing: ['row 0'], found: ['a of 2'] },
  ],
  [
    'one with memory is not the one without',
    [{ name: 'a', stateful: true }],
    [{ name: 'a', stateful: false }],
    { missing: ['row 0'], found: ['a of 0'] },
  ],
  [
    'one renamed into the name of one that was deleted keeps its row',
    [
      { name: 'a', at: 1 },
      { name: 'b', at: 2 },
    ],
    [{ name: 'b', at: 1 }],
    { seen: ['row 0 as b'], missing: ['row 1'] },
  ],
  [
    'a missing row of the same name stays missing beside the one that is there',
    [
      { name: 'a', at: 1, status: 'MISSING' },
      { name: 'a', at: 2 },
    ],
    [{ name: 'a', at: 2 }],
    { seen: ['row 1 as a'] },
  ],
  [
    'one that was never seen has no time of the engine: its name is enough',
    [{ name: 'a', at: 1, status: 'ERROR', error, unseen: true }],
    [{ name: 'a', at: 9 }],
    { seen: ['row 0 as a'] },
  ],
  [
    'one that was never seen is not found under another name, even of its time',
    [{ name: 'a', at: 9, status: 'ERROR', error, unseen: true }],
    [{ name: 'b', at: 9 }],
    { missing: ['row 0'], found: ['b of 9'] },
  ],
  [
    'a suspect one that was made anew there under its name is another',
    [{ name: 'a', at: 1, status: 'ERROR', error }],
    [{ name: 'a', at: 9 }],
    { missing: ['row 0'], found: ['a of 9'] },
  ],
  [
    'a suspect one that went missing does not take the place of the good one that bears its name now',
    [
      { name: 'a', at: 1, status: 'MISSING', error, unseen: true },
      { name: 'a', at: 9 },
    ],
    [{ name: 'a', at: 9 }],
    { seen: ['row 1 as a'] },
  ],
  [
    'a suspect one that comes late is still suspect, and no find',
    [{ name: 'a', at: 1, status: 'MISSING', error, unseen: true }],
    [{ name: 'a', at: 9 }],
    { seen: ['row 0 as a'] },
  ],
])('%s', (_, rows, seen, expected) => {
  expect(compare(rows, seen)).toEqual({ ...nothing, ...expected });
});

test('the snapshots of one instance are never taken for those of another', () => {
  const facts = { name: 'a', createdAt: time(1), stateful: false };
  const row = { id: 'row', instanceId: 'one', name: 'a', createdAt: time(1), stateful: false, status: SnapshotStatus.AVAILABLE, error: null, observedAt: time(59) }; // prettier-ignore
  const changes = compareSnapshots([{ instanceId: 'one', seen: [] }, { instanceId: 'other', seen: [facts] }], [row]); // prettier-ignore
  expect(changes.missing).toEqual(['row']);
  expect(changes.found).toMatchObject([{ instanceId: 'other', name: 'a' }]);
});
