import { type Engine, type Hint, type InstanceFacts } from '../src/engine/engine';
import { connectIncus, type IncusOptions } from '../src/engine/incus';
import { codeOf, describeEngineContract, type EngineUnderTest } from './support/engine-contract';
import { incusFromEnvironment, IncusRaw } from './support/incus-raw';
import { until } from './support/until';

const { socket, tls } = incusFromEnvironment();
const NONE = '/nonexistent/engine.socket';
const web = { project: 'default', name: 'web-1' };
const cache = { project: 'default', name: 'cache-1' };
const deadline = (ms = 60_000): AbortSignal => AbortSignal.timeout(ms);

if (!socket && !tls) {
  console.warn('SKIPPED: no engine. Set INCUS_SOCKET, or INCUS_URL with its certificates, to test the Incus driver.');
}

async function setUp(options: IncusOptions): Promise<EngineUnderTest> {
  const engine = await connectIncus(options);
  const raw = new IncusRaw(options);
  return {
    engine,
    running: web,
    stopped: cache,
    plain: { project: 'default', name: 'db-1' },
    status: (at) => raw.status(at),
    read: (at, path) => raw.read(at, path),
    write: (at, path, text) => raw.write(at, path, text),
    configure: (at, key, value) => raw.configure(at, key, value),
    makeSnapshotDirectly: (at, name) => raw.makeSnapshot(at, name),
    close: async () => {
      await engine.close();
      await raw.close();
    },
  };
}

describeEngineContract('incus over its socket', () => setUp({ socket: socket ?? NONE, projects: '*' }), {
  skip: socket === undefined,
});
describeEngineContract('incus over TLS', () => setUp({ ...tls, projects: ['default', 'team-a'] }), {
  skip: tls === undefined,
});

/** Runs with an engine and the raw API, and closes both. */
async function withEngine(options: IncusOptions, use: (engine: Engine) => Promise<void>): Promise<void> {
  const engine = await connectIncus(options);
  try {
    await use(engine);
  } finally {
    await engine.close();
  }
}

async function listed(engine: Engine): Promise<InstanceFacts[]> {
  const all: InstanceFacts[] = [];
  for await (const facts of engine.instances(deadline())) all.push(facts);
  return all;
}

describe('an engine that is away', () => {
  test('does not keep us from starting, and every call says so', async () => {
    await withEngine({ socket: NONE, projects: '*' }, async (engine) => {
      const ref = { instance: { ...web, uid: 'x' }, name: 'a' };
      expect(engine.kind).toBe('incus');
      expect(await codeOf(engine.describe(deadline()))).toBe('UNAVAILABLE');
      expect(await codeOf(listed(engine))).toBe('UNAVAILABLE');
      expect(await codeOf(engine.createSnapshot(ref, { stateful: false }, deadline()))).toBe('UNAVAILABLE');
      expect(await codeOf(engine.deleteSnapshot(ref, deadline()))).toBe('UNAVAILABLE');
      expect(await codeOf(engine.watch(() => undefined, deadline()))).toBe('UNAVAILABLE');
    });
  });
});

(socket ? describe : describe.skip)('what is special about Incus, over its socket', () => {
  const options = { socket: socket ?? NONE, projects: '*' as const };
  let engine: Engine;
  let raw: IncusRaw;
  beforeAll(async () => {
    engine = await connectIncus(options);
    raw = new IncusRaw(options);
  });
  afterAll(async () => {
    await engine.close();
    await raw.close();
  });

  test('a snapshot of ours never expires, whatever the instance says', async () => {
    const found = await engine.findInstance(cache, deadline());
    const ref = { instance: { ...cache, uid: found?.uid ?? '' }, name: `never-${Date.now()}` };
    await raw.configure(cache, 'snapshots.expiry', '1d');
    try {
      await engine.createSnapshot(ref, { stateful: false }, deadline());
      expect((await raw.snapshot(cache, ref.name)).metadata.expires_at).toMatch(/^0001-01-01T00:00:00/);
    } finally {
      await raw.configure(cache, 'snapshots.expiry', '');
      await engine.deleteSnapshot(ref, deadline());
    }
  });

  test('a snapshot made elsewhere under an impossible name is shown, and an act on it says why not', async () => {
    const at = { project: 'default', name: `odd-${Date.now()}` };
    await raw.call('POST', '/1.0/instances?project=default', { name: at.name, source: { type: 'none' } });
    try {
      await raw.makeSnapshot(at, 'half%2Fdone');
      const found = await engine.findInstance(at, deadline());
      const ref = { instance: { ...at, uid: found?.uid ?? '' }, name: 'half%2Fdone' };
      expect(found?.snapshots.map(({ name }) => name)).toEqual([ref.name]);
      expect(await engine.findSnapshot(ref, deadline())).toMatchObject({ name: ref.name });
      expect(await codeOf(engine.deleteSnapshot(ref, deadline()))).toBe('REJECTED');
      await raw.call('DELETE', raw.url(at));
      expect(await engine.findInstance(at, deadline())).toBeNull();
      await engine.deleteSnapshot({ ...ref, name: 'half' }, deadline());
    } finally {
      await raw.call('DELETE', raw.url(at)).catch(() => undefined);
    }
  });

  test('a stateful restore is told of, though the engine has no lifecycle event for it', async () => {
    const found = await engine.findInstance(web, deadline());
    const ref = { instance: { ...web, uid: found?.uid ?? '' }, name: `told-${Date.now()}` };
    await engine.createSnapshot(ref, { stateful: true }, deadline());
    const hints: Hint[] = [];
    const stop = new AbortController();
    const watching = engine.watch((hint) => hints.push(hint), stop.signal);
    try {
      await until(() => hints.length > 0, 5_000, 'the watch to begin');
      expect(hints).toEqual([null]);
      await engine.restoreSnapshot(ref, { memory: true }, deadline());
      await until(() => hints.length > 1, 5_000, 'a hint');
      expect(hints[1]).toEqual(web);
    } finally {
      stop.abort();
      await engine.deleteSnapshot(ref, deadline());
    }
    await watching;
  });

  test('a project that is not there is an error, not an empty list', async () => {
    await withEngine({ ...options, projects: ['default', 'nowhere'] }, async (other) => {
      expect(await codeOf(listed(other))).toBe('NOT_FOUND');
    });
  });

  test('instances of projects that are not ours are neither seen nor touched', async () => {
    await withEngine({ ...options, projects: ['team-a'] }, async (other) => {
      expect((await listed(other)).map(({ project }) => project)).toEqual(['team-a']);
      expect(await other.findInstance(web, deadline())).toBeNull();
      const found = await engine.findInstance(web, deadline());
      const ref = { instance: { ...web, uid: found?.uid ?? '' }, name: 'not-ours' };
      expect(await codeOf(other.createSnapshot(ref, { stateful: false }, deadline()))).toBe('NOT_FOUND');
    });
  });
});

(tls ? describe : describe.skip)('who is at the other end of TLS', () => {
  const options: IncusOptions = { ...tls, projects: '*' };
  const messageOf = (call: Promise<unknown>): Promise<string> => call.then(String, String);

  test('another certificate than the pinned one is refused before anything is said', async () => {
    await withEngine({ ...options, serverCert: tls?.clientCert ?? '' }, async (engine) => {
      expect(await codeOf(engine.describe(deadline()))).toBe('UNAVAILABLE');
      expect(await codeOf(engine.watch(() => undefined, deadline()))).toBe('UNAVAILABLE');
    });
  });

  test('the next member is asked when one does not answer', async () => {
    const urls = ['https://127.0.0.1:9', ...(tls?.urls ?? [])];
    await withEngine({ ...options, urls }, async (engine) => {
      expect((await engine.describe(deadline())).kind).toBe('incus');
      const found = await engine.findInstance(cache, deadline());
      expect(found?.name).toBe(cache.name);
    });
  });

  const { INCUS_UNTRUSTED_CERT, INCUS_UNTRUSTED_KEY, INCUS_RESTRICTED_CERT, INCUS_RESTRICTED_KEY } = process.env;
  (INCUS_UNTRUSTED_CERT ? test : test.skip)(
    'an engine that does not trust us is unavailable, and says why',
    async () => {
      const ours = { clientCert: INCUS_UNTRUSTED_CERT ?? '', clientKey: INCUS_UNTRUSTED_KEY ?? '' };
      await withEngine({ ...options, ...ours }, async (engine) => {
        expect(await codeOf(engine.describe(deadline()))).toBe('UNAVAILABLE');
        expect(await messageOf(engine.describe(deadline()))).toContain('does not trust our certificate');
        expect(await codeOf(engine.findInstance(web, deadline()))).toBe('UNAVAILABLE');
      });
    },
  );

  (INCUS_RESTRICTED_CERT ? test : test.skip)('a restricted certificate sees its own projects only', async () => {
    const ours = { clientCert: INCUS_RESTRICTED_CERT ?? '', clientKey: INCUS_RESTRICTED_KEY ?? '' };
    await withEngine({ ...options, ...ours }, async (engine) => {
      expect((await listed(engine)).map(({ project }) => project)).toEqual(['team-a']);
    });
    await withEngine({ ...options, ...ours, projects: ['default'] }, async (engine) => {
      expect(await codeOf(listed(engine))).toBe('REJECTED');
      expect(await messageOf(listed(engine))).toContain('not authorized');
    });
  });
});
