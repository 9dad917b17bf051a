import type { MigrationInterface } from 'typeorm';
import { FirstTables1795300000000 } from './1795300000000-first-tables';
import { ChangeLog1795400000000 } from './1795400000000-change-log';
import { WhatTheEngineWentThrough1795410000000 } from './1795410000000-what-the-engine-went-through';
import { WhoDidWhat1795420000000 } from './1795420000000-who-did-what';
import { RefreshTokenFamilies1795422000000 } from './1795422000000-refresh-token-families';
import { ApiTokens1795423000000 } from './1795423000000-api-tokens';
import { ExternalIdentity1795424000000 } from './1795424000000-external-identity';
import { HowOften1795426000000 } from './1795426000000-how-often';

/** In order. A migration is never edited once it has landed. */
export const migrations: (new () => MigrationInterface)[] = [
  FirstTables1795300000000,
  ChangeLog1795400000000,
  WhatTheEngineWentThrough1795410000000,
  WhoDidWhat1795420000000,
  RefreshTokenFamilies1795422000000,
  ApiTokens1795423000000,
  ExternalIdentity1795424000000,
  HowOften1795426000000,
];
