import { fieldRows } from './access-table';
import type { World } from './access-world';
import type { TestClient } from './app';
import { ask, done, instanceId } from './stories';

const PERSON =
  'id displayName email role status createdAt assignedInstances { totalCount nodes { id } } sessions { totalCount nodes { id address client current } } apiTokens { totalCount }';

/** What of a person is not null to somebody with a session who stands so to them, by the table. */
function shownTo(relations: string[]): string[] {
  const told = (who: string) => (who === 'session' ? ['self', 'admin'] : who.split(', '));
  const rows = fieldRows.filter(({ type, who }) => type === 'User' && (who === 'all' || told(who).some((each) => relations.includes(each)))); // prettier-ignore
  return rows.flatMap(({ fields }) => fields).sort();
}

const shown = (person: Record<string, unknown>) => Object.keys(person).filter((field) => person[field] !== null).sort(); // prettier-ignore

/** What people see of each other. */
export function describePeople(world: () => World): void {
  test('of whoever made or did something, others see what the table says, on every path', async () => {
    const { callers, real } = world();
    const db1 = await instanceId(callers.admin, 'db-1');
    const byAdmin = await done(callers.admin, 'createSnapshot', { instanceId: db1, name: 'by-the-admin' });
    const makers = [
      { of: real['snapshot'] ?? '', name: 'Oskar Operations', relations: { assigned: [], operations: ['self'], admin: ['admin'] } },
      { of: byAdmin.snapshot?.id ?? '', name: 'Ada Admin', relations: { assigned: [], stranger: [], operations: ['operations'], admin: ['self'] } },
    ]; // prettier-ignore
    for (const { of, name, relations } of makers) {
      for (const [caller, relation] of Object.entries(relations)) {
        const seen = await peopleBehind(callers[caller as keyof typeof callers], of);
        expect(seen).toHaveLength(3);
        for (const person of seen) {
          expect(person['displayName']).toBe(name);
          expect({ caller, name, shown: shown(person) }).toEqual({ caller, name, shown: shownTo(relation) });
        }
      }
    }
  });

  test('OPERATIONS sees to whom an instance is assigned, and what of them the table says', async () => {
    const { callers, real } = world();
    for (const [caller, relation] of [['operations', ['operations']], ['admin', ['admin']]] as const) {
      const { instance } = await callers[caller].query(
        `query ($id: ID!) { instance(id: $id) { assignments { nodes { user { ${PERSON} } instance { id } } } } }`,
        { id: real['instance'] },
      );
      expect(instance.assignments.nodes).toHaveLength(1);
      const [{ user, instance: of }] = instance.assignments.nodes;
      expect([user.displayName, of.id]).toEqual(['Alice Anders', real['instance']]);
      expect(shown(user)).toEqual(shownTo([...relation]));
    } // prettier-ignore
  });

  test('everyone sees all of themselves', async () => {
    for (const caller of ['assigned', 'stranger', 'operations', 'admin'] as const) {
      const { viewer } = await world().callers[caller].query(`{ viewer { ${PERSON} } }`);
      expect(shown(viewer)).toEqual(shownTo(['self']));
    }
  });

  test('an idempotency key is shown to nobody but whoever gave it', async () => {
    const { callers, real } = world();
    for (const caller of ['assigned', 'operations', 'admin'] as const) {
      const { operation } = await callers[caller].query('query ($id: ID!) { operation(id: $id) { idempotencyKey } }', { id: real['operation'] }); // prettier-ignore
      expect(operation.idempotencyKey).toBe(caller === 'operations' ? `key of ${real['snapshotName']}` : null);
    }
  });

  test('a refusal leads those who may to what is in the way, and from there on by the same rules', async () => {
    const { callers, real } = world();
    const { userErrors } = await ask(callers.operations, 'createSnapshot', { instanceId: real['instance'], name: real['snapshotName'] }); // prettier-ignore
    expect(userErrors).toMatchObject([{ __typename: 'NameTakenError', existing: { id: real['snapshot'] } }]);
  });

  test('a removed person keeps the display name on what they did, and is nowhere else', async () => {
    const { app, callers } = world();
    const { createUser } = await callers.admin.query('mutation { createUser(input: { email: "rita@keyframe.test", displayName: "Rita Removed", role: OPERATIONS }) { user { id } oneTimePassword } }'); // prettier-ignore
    const rita = await app.as('rita@keyframe.test', createUser.oneTimePassword);
    await rita.query('mutation ($current: String!) { changePassword(input: { currentPassword: $current, newPassword: "a password of ritas own" }) { viewer { id } } }', { current: createUser.oneTimePassword }); // prettier-ignore
    const { snapshot } = await done(rita, 'createSnapshot', { instanceId: await instanceId(rita, 'db-1'), name: 'by-rita' }); // prettier-ignore
    await callers.admin.query('mutation ($id: ID!) { removeUser(input: { userId: $id }) { user { id } } }', { id: createUser.user.id }); // prettier-ignore

    for (const caller of ['assigned', 'stranger', 'operations', 'admin'] as const) {
      for (const person of await peopleBehind(callers[caller], snapshot?.id ?? '')) {
        expect(person).toMatchObject({ id: createUser.user.id, displayName: 'Rita Removed' });
      }
    }
    const { node, users } = await callers.admin.query('query ($id: ID!) { node(id: $id) { id } users(filter: { email: { startsWith: "rita" } }) { totalCount } }', { id: createUser.user.id }); // prettier-ignore
    expect([node, users.totalCount]).toEqual([null, 0]);
    expect((await rita.send('{ viewer { id } }')).status).toBe(401);
  });
}

/** The maker of a snapshot, on each way that leads there. */
async function peopleBehind(client: TestClient, snapshotId: string): Promise<Record<string, unknown>[]> {
  const { snapshot } = await client.query(
    `query ($id: ID!) { snapshot(id: $id) { createdBy { ${PERSON} } createdByOperation { actor { ${PERSON} } }
       instance { operations(filter: { kind: { eq: SNAPSHOT_CREATE } }, first: 100) { nodes { snapshot { id } actor { ${PERSON} } } } } } }`,
    { id: snapshotId },
  );
  const listed = snapshot.instance.operations.nodes.find((each: any) => each.snapshot?.id === snapshotId);
  return [snapshot.createdBy, snapshot.createdByOperation.actor, listed.actor];
}
