import { readFileSync } from 'node:fs';
import { Agent, request } from 'undici';
import type { IncusOptions } from '../../src/engine/incus';
import type { At, InstanceStatus } from './engine-contract';

/** The engine that the environment names for tests, by variables of this prefix; nothing when it names none. */
export function incusFromEnvironment(prefix = 'INCUS'): {
  socket?: string;
  tls?: Required<Omit<IncusOptions, 'socket' | 'projects'>>;
} {
  const value = (name: string): string => process.env[`${prefix}_${name}`] ?? '';
  const [socket, url] = [value('SOCKET'), value('URL') || value('URLS')];
  const tls = {
    urls: url.split(','),
    clientCert: value('CLIENT_CERT'),
    clientKey: value('CLIENT_KEY'),
    serverCert: value('SERVER_CERT'),
  };
  const isWhole = url !== '' && tls.clientCert !== '' && tls.clientKey !== '' && tls.serverCert !== '';
  return { ...(socket !== '' && { socket }), ...(isWhole && { tls }) };
}

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

interface Answer {
  metadata: Record<string, unknown>;
  operation?: string;
  error?: string;
}

/** The engine's own API past our driver, for what a test must do behind its back or see with its own eyes. */
export class IncusRaw {
  private readonly agent: Agent;
  private readonly origin: string;

  constructor({ socket, urls, clientCert, clientKey, serverCert }: Partial<IncusOptions>) {
    this.origin = socket === undefined ? (urls?.[0] ?? '') : 'http://engine';
    const read = (path = ''): string => readFileSync(path, 'utf8');
    const connect =
      socket === undefined
        ? { ca: read(serverCert), cert: read(clientCert), key: read(clientKey), checkServerIdentity: () => undefined }
        : { socketPath: socket };
    this.agent = new Agent({ connect });
  }

  /** Calls the API and waits for the operation that it starts, if any; throws when either fails. */
  async call(method: Method, path: string, body?: unknown): Promise<Answer> {
    const { body: got } = await this.send(method, path, body === undefined ? undefined : JSON.stringify(body));
    const answer = (await got.json()) as Answer;
    if (answer.error) throw new Error(`${method} ${path}: ${answer.error}`);
    if (!answer.operation) return answer;
    const done = await this.call('GET', `${answer.operation.replace(/\?.*/, '')}/wait`);
    if (done.metadata.status !== 'Success') throw new Error(`${method} ${path}: ${JSON.stringify(done.metadata.err)}`);
    return done;
  }

  snapshot(at: At, name: string): Promise<Answer> {
    return this.call('GET', this.url(at, `/snapshots/${name}`));
  }

  async makeSnapshot(at: At, name: string): Promise<void> {
    await this.call('POST', this.url(at, '/snapshots'), { name, stateful: false });
  }

  async configure(at: At, key: string, value: string): Promise<void> {
    await this.call('PATCH', this.url(at), { config: { [key]: value } });
  }

  async read(at: At, path: string): Promise<string | null> {
    const { statusCode, body } = await this.send('GET', this.url(at, '/files', `path=${path}`));
    const text = await body.text();
    if (statusCode === 200) return text;
    if (/not found|file does not exist|no such file/i.test(text)) return null;
    throw new Error(`reading ${path}: ${text}`);
  }

  async write(at: At, path: string, text: string): Promise<void> {
    const type = { 'x-incus-type': 'file', 'x-lxd-type': 'file', 'content-type': 'application/octet-stream' };
    const { statusCode, body } = await this.send('POST', this.url(at, '/files', `path=${path}`), text, type);
    const answer = await body.text();
    if (statusCode !== 200) throw new Error(`writing ${path}: ${answer}`);
  }

  async status(at: At): Promise<InstanceStatus> {
    const found = /boot=(\S+) mem=(\d+) disk=(\d+)/.exec((await this.read(at, '/srv/status')) ?? '');
    if (found === null) throw new Error('there is no status yet');
    return { boot: found[1] ?? '', mem: Number(found[2]), disk: Number(found[3]) };
  }

  async close(): Promise<void> {
    await this.agent.destroy();
  }

  url(at: At, below = '', query = ''): string {
    return `/1.0/instances/${at.name}${below}?project=${at.project}${query && `&${query}`}`;
  }

  private send(method: Method, path: string, body?: string, headers = {}) {
    return request(`${this.origin}${path}`, { dispatcher: this.agent, method, body: body ?? null, headers });
  }
}
