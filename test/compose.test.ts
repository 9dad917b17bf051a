/** The container files cannot be run in a test, so they are held to what they promise one another and the program. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { parse } from 'yaml';
import { readConfig, VARIABLE_NAMES } from '../src/config';

interface Service {
  image?: string;
  build?: string;
  environment: Record<string, string>;
  ports?: string[];
  volumes?: string[];
  secrets?: string[];
  healthcheck?: { test: string[] };
  depends_on?: Record<string, { condition: string }>;
  stop_grace_period: string;
  restart: string;
}

interface Compose {
  services: Record<string, Service>;
  volumes?: Record<string, unknown>;
  secrets?: Record<string, { file: string }>;
}

const root = join(__dirname, '..');
const read = (name: string): string => readFileSync(join(root, name), 'utf8');
const texts = { base: read('docker-compose.yml'), incus: read('docker-compose.incus.yml') };
const base = parse(texts.base) as Compose;
const incus = parse(texts.incus) as Compose;
const example = read('.env.example');
const roles = read('docker/init-roles.sql');
const program = JSON.parse(read('package.json')) as { main: string; engines: { node: string } };

/** The instructions of the Dockerfile, continuation lines joined and comments left out. */
const dockerfile = read('Dockerfile')
  .replace(/^#.*\n/gm, '')
  .replace(/\\\n\s*/g, '')
  .split('\n')
  .filter(Boolean)
  .map((line) => ({ word: line.split(' ', 1)[0] ?? '', rest: line.slice(line.indexOf(' ') + 1) }));
const instructions = (word: string): string[] => dockerfile.filter((one) => one.word === word).map(({ rest }) => rest);
const image = Object.fromEntries(
  (instructions('ENV')[0] ?? '').split(' ').map((pair) => pair.split('=') as [string, string]),
);

function service(compose: Compose, name: string): Service {
  const found = compose.services[name];
  if (found === undefined) throw new Error(`there is no service ${name}`);
  return found;
}

/** What Compose makes of `${NAME:-default}` and `${NAME:?sentence}`. */
function fill(text: string, env: Record<string, string>): string {
  return text.replace(/\$\{(\w+):([?-])([^}]*)\}/g, (_, name: string, kind: string, rest: string) => {
    const value = env[name];
    if (kind === '?' && !value) throw new Error(rest);
    return value === undefined || value === '' ? rest : value;
  });
}

const fillAll = (given: Record<string, string>, env: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(given).map(([name, value]) => [name, fill(value, env)]));

/** The variables that Compose refuses to do without, and what it then says. */
const required = Object.values(texts).flatMap((text) =>
  [...text.matchAll(/\$\{(\w+):\?([^}]*)\}/g)].map(([, name = '', sentence = '']) => ({ name, sentence })),
);
const interpolated = new Set(Object.values(texts).flatMap((text) => [...text.matchAll(/\$\{(\w+)/g)].map(([, name = '']) => name))); // prettier-ignore
const secrets = { POSTGRES_PASSWORD: 'a1'.repeat(24), DATABASE_OWNER_PASSWORD: 'b2'.repeat(24), DATABASE_PASSWORD: 'c3'.repeat(24), JWT_SECRET: 'd4'.repeat(24) }; // prettier-ignore

/** The lines of .env.example that set a variable, or would if they were not commented out. */
const offered = example.split('\n').flatMap((line, at, lines) => {
  const [, off, name = '', value = ''] = /^(#?)([A-Z_]+)=(.*)$/.exec(line) ?? [];
  return off === undefined ? [] : [{ off: off === '#', name, value, comment: lines[at - 1] ?? '' }];
});

describe('docker-compose.yml', () => {
  const keyframe = service(base, 'keyframe');
  const database = service(base, 'database');

  test('the program is given only variables that it reads, and a configuration that it accepts', () => {
    const environment = { ...image, ...fillAll(keyframe.environment, secrets) };
    const known = [...VARIABLE_NAMES, 'NODE_ENV'];
    expect(Object.keys(environment).filter((name) => !known.includes(name))).toEqual([]);

    const config = readConfig('all', environment);
    expect(config).toMatchObject({ host: '0.0.0.0', port: 4000, dataFolder: '/var/lib/keyframe', demo: false, incus: null }); // prettier-ignore
    expect(config.database?.url).toBe(`postgres://keyframe:${secrets.DATABASE_PASSWORD}@database:5432/keyframe`);
    expect(config.database?.migrationUrl).toContain(`keyframe_owner:${secrets.DATABASE_OWNER_PASSWORD}@database`);
  });

  test('with docker-compose.incus.yml the program accepts an Incus over https', () => {
    const { environment, secrets: mounted = [] } = service(incus, 'keyframe');
    const env = { ...secrets, INCUS_URL: 'https://one.example:8443,https://two.example:8443' };
    const filled = fillAll({ ...keyframe.environment, ...environment }, env);
    for (const name of ['INCUS_CLIENT_CERT', 'INCUS_CLIENT_KEY', 'INCUS_SERVER_CERT']) {
      const secret = name.toLowerCase();
      expect(filled[name]).toBe(`/run/secrets/${secret}`);
      expect(mounted).toContain(secret);
      expect(fill(incus.secrets?.[secret]?.file ?? '', { [name]: 'a path' })).toBe('a path');
      filled[name] = __filename; // any file that can be read stands for the one in the container
    }
    expect(readConfig('all', filled).incus?.urls).toEqual(['https://one.example:8443', 'https://two.example:8443']);
  });

  test('a variable that the program reads can be set, but for those that have no use in a container', () => {
    const settable = [image, keyframe.environment, service(incus, 'keyframe').environment].flatMap(Object.keys);
    const left = VARIABLE_NAMES.filter((name) => !settable.includes(name)).sort();
    expect(left).toEqual([
      'INCUS_SOCKET',
      'JWT_PREVIOUS_PUBLIC_KEYS',
      'JWT_PRIVATE_KEY',
      'JWT_PUBLIC_KEY',
      'TRUSTED_DOCUMENTS',
      'TRUSTED_DOCUMENTS_ONLY',
      'XDG_DATA_HOME',
    ]);
  });

  test('a secret that is missing stops Compose with a sentence, and no secret is written down', () => {
    expect(new Set(required.map(({ name }) => name))).toEqual(
      new Set([...Object.keys(secrets), 'INCUS_URL', 'INCUS_CLIENT_CERT', 'INCUS_CLIENT_KEY', 'INCUS_SERVER_CERT']),
    );
    for (const { name, sentence } of required) expect(sentence).toMatch(new RegExp(`^Set ${name} in \\.env.*\\.$`));
    for (const { environment } of Object.values(base.services)) {
      for (const [name, value] of Object.entries(environment)) {
        if (/PASSWORD|SECRET/.test(name)) expect(value).toMatch(/^\$\{\w+:(\?[^}]+|-)\}$/);
        expect(value).not.toMatch(/:\/\/\w+:(?!\$\{\w+:\?)/); // nor within a URL
      }
    }
    for (const { name, value } of offered) if (/PASSWORD|SECRET|KEY$/.test(name)) expect([name, value]).toEqual([name, '']); // prettier-ignore
  });

  test('both database roles are made from the passwords with which the program signs in', () => {
    expect(database.volumes).toContain('./docker/init-roles.sql:/docker-entrypoint-initdb.d/init-roles.sql:ro');
    for (const [url, role, variable] of [
      [keyframe.environment['DATABASE_URL'], 'keyframe', 'DATABASE_PASSWORD'],
      [keyframe.environment['DATABASE_MIGRATION_URL'], 'keyframe_owner', 'DATABASE_OWNER_PASSWORD'],
    ] as const) {
      expect(url).toContain(`://${role}:\${${variable}:?`);
      expect(database.environment[variable]).toContain(`\${${variable}:?`);
      const [, psqlName] = new RegExp(`^\\\\getenv (\\w+) ${variable}$`, 'm').exec(roles) ?? [];
      expect(roles).toMatch(new RegExp(`^CREATE ROLE ${role} LOGIN NOSUPERUSER .*PASSWORD :'${psqlName ?? '?'}';$`, 'm')); // prettier-ignore
      expect(url).toMatch(new RegExp(`/${database.environment['POSTGRES_DB'] ?? '?'}$`));
    }
    expect(roles).toContain('ALTER DATABASE keyframe OWNER TO keyframe_owner;');
  });

  test('the program starts once its role can sign in over TCP', () => {
    expect(keyframe.depends_on).toEqual({ database: { condition: 'service_healthy' } });
    // The socket answers too early: the roles are made while the server listens on nothing else.
    expect(database.healthcheck?.test).toEqual(expect.arrayContaining(['CMD', '--host=127.0.0.1', '--username=keyframe', '--dbname=keyframe'])); // prettier-ignore
    expect(keyframe.healthcheck).toBeUndefined(); // the Dockerfile's holds
    expect(instructions('HEALTHCHECK')).toHaveLength(1);
  });

  test('what must outlive a container is in a named volume', () => {
    const named = Object.values(base.services).flatMap(({ volumes = [] }) => volumes.filter((one) => !one.startsWith('.'))); // prettier-ignore
    // The image of Postgres 18 keeps its data below this folder; a volume at its `data` would stay empty.
    expect(named).toEqual(['database:/var/lib/postgresql', `data:${image['KEYFRAME_DATA_DIR'] ?? '?'}`]);
    expect(Object.keys(base.volumes ?? {})).toEqual(named.map((one) => one.split(':')[0]));
  });

  test('only the program is reached from outside, and only from this machine', () => {
    expect(database.ports).toBeUndefined();
    expect(keyframe.ports).toEqual([`127.0.0.1:\${PORT:-4000}:${image['PORT'] ?? '?'}`]);
    expect(instructions('EXPOSE')).toEqual([image['PORT']]);
  });

  test('a stop gives the program its ten seconds, and a crash is mended', () => {
    expect(parseInt(keyframe.stop_grace_period)).toBeGreaterThan(10);
    for (const { restart } of Object.values(base.services)) expect(restart).toBe('unless-stopped');
  });
});

describe('.env.example', () => {
  test('every variable of the program and of the Compose files is there, with a comment', () => {
    const names = offered.map(({ name }) => name);
    expect([...names].sort()).toEqual([...new Set([...VARIABLE_NAMES, ...interpolated, 'COMPOSE_FILE'])].sort());
    for (const { name, comment } of offered) expect([name, comment]).toEqual([name, expect.stringMatching(/^# .+\.$/)]);
  });

  test('what must be filled in is the only thing that is not commented out', () => {
    expect(offered.filter(({ off }) => !off).map(({ name }) => name)).toEqual(Object.keys(secrets));
  });

  test('the defaults that it shows are the defaults', () => {
    const shown = offered.filter(({ value, name }) => value !== '' && name !== 'COMPOSE_FILE');
    const environment = Object.fromEntries(shown.map(({ name, value }) => [name, value]));
    expect(readConfig('all', environment)).toEqual(readConfig('all', {}));
  });
});

describe('Dockerfile', () => {
  const stages = instructions('FROM').map((rest) => /^(\S+)(?: AS (\w+))?$/.exec(rest) ?? []);
  const names = stages.map(([, , name]) => name);

  test('every image is pinned to one version, and its Node.js is one that the program allows', () => {
    const [node = '', ...others] = stages.map(([, from = '']) => from).filter((from) => !names.includes(from));
    expect(others).toEqual([]);
    const [, ...version] = /^node:(\d+)\.(\d+)\.(\d+)-bookworm-slim$/.exec(node) ?? [];
    const [, ...least] = /^>=(\d+)\.(\d+)$/.exec(program.engines.node) ?? [];
    const number = ([major = 'NaN', minor = 'NaN']: string[]): number => Number(major) * 1000 + Number(minor);
    expect(number(version)).toBeGreaterThanOrEqual(number(least));
    for (const { image: name, build } of Object.values(base.services)) {
      expect(build ?? name).toMatch(/^(\.|\w+:\d+\.\d+(\.\d+)?-bookworm)$/);
    }
  });

  test('what it copies exists, and .dockerignore lets it through', () => {
    const allowed = read('.dockerignore').split('\n').filter((line) => line.startsWith('!')).map((line) => line.slice(1)); // prettier-ignore
    const copies = instructions('COPY').map((rest) => rest.split(' '));
    const sources = copies.filter(([first = '']) => !first.startsWith('--')).flatMap((words) => words.slice(0, -1));
    expect(sources.filter((source) => !existsSync(join(root, source)))).toEqual([]);
    expect([...new Set(sources)].sort()).toEqual([...allowed].sort());
    for (const [first = ''] of copies) if (first.startsWith('--from=')) expect(names).toContain(first.slice(7));
  });

  test('the program runs as an ordinary user and without a shell in between', () => {
    expect(instructions('USER')).toEqual(['node']);
    expect(instructions('ENTRYPOINT')).toEqual([`["node", "${program.main}"]`]);
  });

  test('the health check is content with a ready program only', async () => {
    const [, command = ''] = /CMD (\[.*\])$/.exec(instructions('HEALTHCHECK')[0] ?? '') ?? [];
    const [, ...rest] = JSON.parse(command) as string[];
    let status = 200;
    const server = createServer((request, response) => response.writeHead(request.url === '/health/ready' ? status : 404).end()); // prettier-ignore
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const PORT = String((server.address() as AddressInfo).port);
    const check = async (): Promise<unknown> =>
      (await once(spawn(process.execPath, rest, { env: { PORT }, stdio: 'ignore' }), 'exit'))[0];

    try {
      expect(await check()).toBe(0);
      status = 503;
      expect(await check()).toBe(1);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
    expect(await check()).toBe(1);
  });
});
