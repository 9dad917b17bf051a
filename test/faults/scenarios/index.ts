import type { Scenario } from '../round';
import { apiKilled } from './api';
import { postgresCut, postgresDown, postgresFrozen } from './postgres';
import { workerKilled } from './worker';

/** Everything that is done to the program. */
export const scenarios: Scenario[] = [workerKilled, apiKilled, postgresDown, postgresFrozen, postgresCut];
