/** A connection of the pool that leaves it when the next request would meet the same trouble on it. */
import { Client, type ClientConfig } from 'pg';

/** SQLSTATE read_only_sql_transaction: the server we are connected to has become a standby. */
const DEMOTED = '25006';
/** The driver's own limit, passed when nobody answers at all; it goes on using the connection. */
const SILENT = 'Query read timeout';

/** The class of the connections of one pool: after a fail-over all of them lead to the wrong server. */
export function connectionsThatLeave(): typeof Client {
  const open = new Set<Client>();
  return class extends Client {
    constructor(config?: string | ClientConfig) {
      super(config);
      open.add(this);
      // TypeORM listens a moment after the pool has stopped doing so: an error in between would end the process.
      this.on('error', () => undefined);
      this.once('end', () => open.delete(this));
      const judge = ({ code, message }: { code?: string; message?: string }) => {
        if (code === DEMOTED) for (const each of open) each.connection.stream.destroy();
        if (message === SILENT) this.connection.stream.destroy();
      };
      const query = this.query.bind(this);
      this.query = ((...args: unknown[]) => {
        const result: unknown = Reflect.apply(query, this, args);
        if (result instanceof Promise) result.catch(judge);
        return result;
      }) as Client['query'];
    }
  };
}
