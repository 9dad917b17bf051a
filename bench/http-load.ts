/** Requests by the thousand from one process: plain sockets, one request of fixed bytes at a time on each. */
import { connect, type Socket } from 'node:net';

/** Counts milliseconds in a bounded space. */
export class Histogram {
  private readonly buckets = new Uint32Array(60_001);
  count = 0;

  add(ms: number): void {
    const bucket = Math.min(60_000, Math.max(0, Math.round(ms)));
    this.buckets[bucket] = (this.buckets[bucket] ?? 0) + 1;
    this.count += 1;
  }

  quantile(q: number): number {
    let rest = q * this.count;
    return this.buckets.findIndex((count) => (rest -= count) <= 0 && count > 0);
  }
}

export type OnAnswer = (status: number, ms: number) => void;

/** Connections that are opened as they are needed, up to a bound. `onAnswer` hears status 0 when one breaks. */
export class Load {
  private readonly idle: Connection[] = [];
  private readonly all = new Set<Connection>();

  constructor(
    private readonly url: URL,
    private readonly most: number,
    private readonly onAnswer: OnAnswer,
  ) {}

  /** Opens all connections, not more at once than a server's backlog takes: what is measured is requests. */
  async open(): Promise<void> {
    while (this.all.size < this.most) {
      const some = Array.from({ length: Math.min(50, this.most - this.all.size) }, () => this.add());
      await Promise.all(some.map((each) => each.opened));
      this.idle.push(...some);
    }
  }

  /** False when every connection waits for an answer. */
  send(request: Buffer): boolean {
    let connection = this.idle.pop();
    if (!connection) {
      if (this.all.size >= this.most) return false;
      connection = this.add();
    }
    connection.send(request);
    return true;
  }

  close(): void {
    for (const connection of this.all) connection.close();
  }

  private add(): Connection {
    const connection = new Connection(this.url, (each, status, ms) => {
      if (status > 0 && !each.isClosed) this.idle.push(each);
      else this.drop(each);
      if (ms !== null) this.onAnswer(status, ms);
    });
    this.all.add(connection);
    return connection;
  }

  private drop(connection: Connection): void {
    this.all.delete(connection);
    const index = this.idle.indexOf(connection);
    if (index >= 0) this.idle.splice(index, 1);
  }
}

class Connection {
  isClosed = false;
  readonly opened: Promise<void>;
  private readonly socket: Socket;
  private received = '';
  private sentAt: number | null = null;

  constructor(
    url: URL,
    private readonly onDone: (connection: Connection, status: number, ms: number | null) => void,
  ) {
    this.socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true });
    this.opened = new Promise((done) => this.socket.once('connect', done).once('close', () => done()));
    this.socket.setEncoding('latin1').on('data', (text) => this.receive(String(text)));
    this.socket.on('error', () => undefined).on('close', () => this.end(0));
  }

  send(request: Buffer): void {
    this.sentAt = performance.now();
    this.received = '';
    this.socket.write(request);
  }

  close(): void {
    this.sentAt = null;
    this.socket.destroy();
  }

  private receive(text: string): void {
    this.received += text;
    const head = this.received.indexOf('\r\n\r\n');
    if (head < 0) return;
    const length = /\r\ncontent-length: (\d+)/i.exec(this.received)?.[1] ?? '0';
    if (this.received.length < head + 4 + Number(length)) return;
    if (/\r\nconnection: close/i.test(this.received.slice(0, head))) this.isClosed = true;
    this.end(Number(this.received.slice(9, 12)));
  }

  private end(status: number): void {
    const { sentAt } = this;
    this.sentAt = null;
    this.isClosed ||= status === 0;
    this.onDone(this, status, sentAt === null ? null : performance.now() - sentAt);
  }
}

/** The bytes of a GraphQL request. */
export function graphqlRequest(url: URL, token: string, query: string, variables: object): Buffer {
  const body = JSON.stringify({ query, variables });
  const head = [
    'POST /graphql HTTP/1.1',
    `host: ${url.host}`,
    'content-type: application/json',
    'accept: application/graphql-response+json',
    `authorization: Bearer ${token}`,
    `content-length: ${Buffer.byteLength(body)}`,
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`);
}
