import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

test('every package that is passed on is listed with its licence, and each licence allows it', () => {
  const { status, stderr } = spawnSync(process.execPath, [join(__dirname, '../scripts/licences.mjs'), '--check']);
  expect([status, String(stderr)]).toEqual([0, '']);
});
