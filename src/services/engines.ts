/** The engine as workers last saw it. API processes read it here; they never touch an engine. */
import type { DataSource } from 'typeorm';
import { Engine } from '../entities/engine';

export class Engines {
  constructor(private readonly db: DataSource) {}

  /** The engine of this deployment; null before a worker has seen it for the first time. */
  async find(): Promise<Engine | null> {
    return this.db.getRepository(Engine).createQueryBuilder('e').orderBy('e.observedAt', 'DESC').getOne();
  }
}
