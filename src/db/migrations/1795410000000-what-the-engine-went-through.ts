import type { MigrationInterface, QueryRunner } from 'typeorm';

/** By what an engine's restart, and an instance's restore, are known. */
export class WhatTheEngineWentThrough1795410000000 implements MigrationInterface {
  async up(runner: QueryRunner): Promise<void> {
    await runner.query('alter table engines add run text');
    await runner.query('alter table instances add generation text');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('alter table instances drop generation');
    await runner.query('alter table engines drop run');
  }
}
