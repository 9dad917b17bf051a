import type { Scenario } from '../round';
import { apiKilled } from './api';
import { criuTrouble, incusKilled, poolFull } from './incus';
import { postgresCut, postgresDown, postgresFrozen } from './postgres';
import { requestSpoilt } from './proxy';
import { workerKilled } from './worker';

/** Everything that is done to the program. */
export const scenarios: Scenario[] = [
  workerKilled,
  apiKilled,
  postgresDown,
  postgresFrozen,
  postgresCut,
  requestSpoilt,
  incusKilled,
  criuTrouble,
  poolFull,
];
