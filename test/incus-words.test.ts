import type { Hint } from '../src/engine/engine';
import { failure, refusal, tidy, type Act } from '../src/engine/incus-errors';
import { hintsOf } from '../src/engine/incus-events';
import { engineFacts, instanceFacts, serverFacts, snapshotFacts, time } from '../src/engine/incus-facts';
import { hello, instance } from './support/incus-fake';

const incus = serverFacts(hello('incus'));
const lxd = serverFacts(hello('lxd'));

describe('what the texts of the engine mean', () => {
  const table: [Act, string, string][] = [
    ['create', 'Failed creating instance snapshot record "s": UNIQUE constraint failed: instances_snapshots.instance_id, instances_snapshots.name', 'NAME_TAKEN'],
    ['create', 'This "instances_snapshots" entry already exists', 'NAME_TAKEN'],
    ['rename', "Name 'web-1/b' already in use", 'NAME_TAKEN'],
    ['restore', 'Failed to create: already exists', 'REJECTED'],
    ['create', 'Instance is busy running a "create" operation', 'BUSY'],
    ['create', "Instance snapshot record count doesn't match instance snapshot volume record count", 'BUSY'],
    ['delete', 'A matching non-reusable operation has now succeeded', 'BUSY'],
    ['create', 'Stateful snapshots require that the instance has migration.stateful be set to true', 'STATEFUL_NOT_SUPPORTED'],
    ['create', "Unable to create a stateful snapshot. The instance isn't running", 'STATE_INVALID'],
    ['restore', 'Stateful snapshot restore requested but snapshot is stateless', 'REJECTED'],
    ['restore', 'Stateful snapshot restore requested by snapshot is stateless', 'REJECTED'],
    ['restore', 'Snapshot web-1/s does not exist', 'NOT_FOUND'],
    ['create', 'Failed taking stateful checkpoint: migration failed 1', 'REJECTED'],
    ['restore', 'Failed taking stateful checkpoint: Failed to run: /usr/bin/incusd forkmigrate web-1: exit status 1', 'REJECTED'],
    ['create', 'write /var/lib/incus/containers/web-1/backup.yaml: no space left on device', 'STORAGE_FULL'],
    ['restore', 'Failed to write backup file: Failed to create file "/x/backup.yaml": no space left on device', 'STORAGE_FULL'],
    ['create', 'rsync: [receiver] write failed on "/x/y": No space left on device (28)', 'STORAGE_FULL'],
    ['create', 'Project "p" doesn\'t allow for snapshot creation', 'REJECTED'],
    ['read', "Server isn't ready yet", 'UNAVAILABLE'],
    ['delete', 'Missing event connection with target cluster member', 'UNAVAILABLE'],
    ['create', 'Post "https://10.0.0.2:8443/1.0/x": dial tcp 10.0.0.2:8443: connect: connection refused', 'UNAVAILABLE'],
    ['read', 'User does not have permissions for project "default"', 'REJECTED'],
    ['read', 'not authorized', 'REJECTED'],
    ['read', 'Project not found', 'NOT_FOUND'],
    ['delete', 'Failed to fetch snapshot "s" of instance "i" in project "p": Instance_snapshot not found', 'NOT_FOUND'],
    ['create', 'Failed to fetch instance "x" in project "default": Instance not found', 'NOT_FOUND'],
    ['create', 'something nobody has seen before', 'REJECTED'],
  ]; // prettier-ignore
  test.each(table)('%s: %s → %s', (act, text, code) => {
    const error = refusal(act, 500, text);
    expect(error.code).toBe(code);
    expect(error.detail).toBe(text);
  });

  test('the status counts where the text is unknown', () => {
    expect([403, 404, 409, 503, 500].map((status) => refusal('read', status, '?').code)).toEqual(
      ['REJECTED', 'NOT_FOUND', 'BUSY', 'UNAVAILABLE', 'REJECTED'], // prettier-ignore
    );
  });

  test('"not ready" before the start means nothing was started, and in the middle that nobody knows', () => {
    expect(refusal('restore', 500, "Server isn't ready yet").code).toBe('UNAVAILABLE');
    expect(failure('restore', "Server isn't ready yet").code).toBe('OUTCOME_UNKNOWN');
  });

  test('people read one short line without host paths, operators the text', () => {
    const long = `cannot stat /var/lib/incus/pools/default/x: bad\n${'rsync: /srv/a/b\n'.repeat(5_000)}`;
    const error = refusal('create', 500, long);
    expect(error.message).toContain('cannot stat …: bad');
    expect(error.message).not.toContain('/var');
    expect(error.message).not.toContain('/srv');
    expect(error.message.length).toBeLessThanOrEqual(300);
    expect(error.detail?.length).toBeLessThanOrEqual(8_000);
    expect(tidy('open "/a/b": x (/c/d) path=/e/f, web-1/s stays')).toBe('open "…": x (…) path=…, web-1/s stays');
  });
});

describe('the engine and its instances in our words', () => {
  test('what it can do is read from its extensions', () => {
    expect(engineFacts(incus, []).capabilities).toEqual(
      ['SNAPSHOTS', 'STATEFUL_SNAPSHOTS', 'EVENTS', 'GENERATION_ID', 'PROJECTS'], // prettier-ignore
    );
    expect(engineFacts(lxd, [])).toMatchObject({ kind: 'lxd', capabilities: ['SNAPSHOTS', 'EVENTS', 'PROJECTS'] });
    expect(engineFacts({ ...incus, clustered: true }, ['a', 'b']).name).toBe('cluster of a, b');
  });

  test.each([
    ['Running', 'RUNNING'], ['Ready', 'RUNNING'], ['Frozen', 'RUNNING'], ['Stopped', 'STOPPED'],
    ['Starting', 'RESTARTING'], ['Stopping', 'STOPPING'], ['Error', 'ERROR'], ['Whatever', 'ERROR'],
  ])('status %s is %s', (status, ours) => expect(instanceFacts(instance({ status }), incus)?.status).toBe(ours)); // prettier-ignore

  test.each([
    ['incus', {}, { 'migration.stateful': 'true', 'security.privileged': 'true' }, []],
    ['incus', {}, { 'migration.stateful': 'true' }, ['security.privileged']],
    ['incus', {}, {}, ['migration.stateful', 'security.privileged']],
    ['incus', { status: 'Frozen' }, { 'migration.stateful': 'true', 'security.privileged': 'true' }, ['frozen']],
    ['incus', { type: 'virtual-machine' }, { 'migration.stateful': 'true' }, []],
    ['incus', { type: 'virtual-machine' }, {}, ['migration.stateful']],
    ['lxd', {}, { 'security.privileged': 'true' }, ['cannot restore']],
  ])('memory on %s %j with %j: %j', (server, more, config, missing) => {
    const facts = instanceFacts(instance(more, config), server === 'lxd' ? lxd : incus);
    expect(facts?.statefulSupport.supported).toBe(missing.length === 0);
    expect(facts?.statefulSupport.reasons).toEqual(missing.map((word) => expect.stringContaining(word) as string));
  });

  test('secrets and notes of the engine are not in the configuration that is shown', () => {
    const config = {
      'limits.cpu': '2', 'user.team': 'a', 'security.privileged': 'true', 'cloud-init.user-data': 'x',
      'user.user-data': 'x', 'environment.TOKEN': 'x', 'raw.lxc': 'lxc.environment = A=b', 'user.db_password': 'x',
      'user.api-key': 'x',
    }; // prettier-ignore
    const devices = { root: { type: 'disk', path: '/', 'ceph.secret': 'x' } };
    const shown = instanceFacts(instance({ expanded_devices: devices }, config), incus)?.configuration;
    expect(Object.keys(shown?.config ?? {})).toEqual(['limits.cpu', 'user.team', 'security.privileged']);
    expect(shown?.devices).toEqual({ root: { type: 'disk', path: '/' } });
  });

  test('who an instance is comes from itself, never from a profile, and a stub is nobody', () => {
    const fromProfile = instance({ config: { a: 'b' }, expanded_config: { 'volatile.uuid': 'of-the-profile' } });
    expect(instanceFacts(fromProfile, incus)?.uid).toBe('default/web-1');
    expect(instanceFacts(instance({ config: null, expanded_config: null, status: 'Error' }), incus)).toBeNull();
  });

  test('times are cut to milliseconds and unset ones are the epoch', () => {
    expect(time('2026-11-22T15:16:55.888999967Z').toISOString()).toBe('2026-11-22T15:16:55.888Z');
    expect(time('2026-11-22T17:16:55.5+02:00').toISOString()).toBe('2026-11-22T15:16:55.500Z');
    expect([time('0001-01-01T00:00:00Z'), time(null), time('x')]).toEqual([new Date(0), new Date(0), new Date(0)]);
    expect(snapshotFacts({ name: 's', size: -1 }).sizeBytes).toBeNull();
    expect(snapshotFacts({ name: 's', size: 0, stateful: true })).toMatchObject({ sizeBytes: 0, stateful: true });
  });
});

describe('what events say about where to look', () => {
  const lifecycle = (action: string, source: string, context = {}): unknown =>
    ({ type: 'lifecycle', project: 'p', metadata: { action, source, context } }); // prettier-ignore
  const operation = (description: string, status: string, resources: unknown): unknown =>
    ({ type: 'operation', project: 'p', metadata: { class: 'task', description, status, resources } }); // prettier-ignore
  const at = (name: string): Hint => ({ project: 'p', name });
  const urls = {
    instances: ['/1.0/instances/a?project=p'],
    instances_snapshots: ['/1.0/instances/a/snapshots/s?project=p'],
  };

  test.each([
    ['a snapshot made', lifecycle('instance-snapshot-created', '/1.0/instances/a/snapshots/s?project=p'), [at('a')]],
    ['without a project in the source', lifecycle('instance-started', '/1.0/instances/a'), [at('a')]],
    ['an instance renamed', lifecycle('instance-renamed', '/1.0/instances/b', { old_name: 'a' }), [at('a'), at('b')]],
    ['a command in it', lifecycle('instance-exec', '/1.0/instances/a'), []],
    ['an image', lifecycle('image-created', '/1.0/images/x'), []],
    ['a source that cannot be read', lifecycle('instance-updated', '/1.0/instances/%zz'), [null]],
    ['an operation that goes on', operation('Restoring snapshot', 'Running', urls), []],
    ['an operation that ended well', operation('Restoring snapshot', 'Success', urls), [at('a')]],
    ['an operation that ended badly', operation('Restoring snapshot', 'Failure', urls), [at('a')]],
    ['an operation without resources', operation('Updating snapshot', 'Success', null), [null]],
    ['the sweep', operation('Cleaning up expired instance snapshots', 'Success', null), []],
    ['something else', operation('Executing command', 'Success', urls), []],
    ['nonsense', 42, []],
  ])('%s', (_, event, hints) => expect(hintsOf(event, 'incus')).toEqual(hints));

  test('LXD names the wrong instance in operations, so everywhere is looked at', () => {
    expect(hintsOf(operation('Updating snapshot', 'Success', { instances: ['/1.0/instances/s'] }), 'lxd')).toEqual([
      null,
    ]);
  });
});
