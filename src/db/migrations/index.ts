import type { MigrationInterface } from 'typeorm';
import { FirstTables1795300000000 } from './1795300000000-first-tables';
import { ChangeLog1795400000000 } from './1795400000000-change-log';
import { WhatTheEngineWentThrough1795410000000 } from './1795410000000-what-the-engine-went-through';
import { WhoDidWhat1795420000000 } from './1795420000000-who-did-what';
import { HowOften1795426000000 } from './1795426000000-how-often';

/** In order. A migration is never edited once it has landed. */
export const migrations: (new () => MigrationInterface)[] = [
  FirstTables1795300000000,
  ChangeLog1795400000000,
  WhatTheEngineWentThrough1795410000000,
  WhoDidWhat1795420000000,
  HowOften1795426000000,
];
