/** What the tabs work on: an instance that the signed-in person may see. */
export interface Target {
  id: string;
  name: string;
  project: string;
}

/** A tab that the page opens by itself: its variables before somebody has signed in, and those that let it run as it is. */
export interface DefaultTab {
  operationName: string;
  query: string;
  initial: Record<string, string>;
  variables(target: Target): Record<string, string>;
}

/** The demo's first instance, which the tabs prefer. */
export const PREFERRED_NAME = 'web-1';
/** The engine's project that needs no mention. */
export const DEFAULT_PROJECT = 'default';

const byName = ({ name, project }: Target) => (project === DEFAULT_PROJECT ? { name } : { name, project });

/** The four tabs, in the order in which they are shown. */
export const DEFAULT_TABS: readonly DefaultTab[] = [
  {
    operationName: 'SnapshotsTab',
    initial: { name: PREFERRED_NAME },
    variables: byName,
    query: `# One query fills the Snapshots tab.
query SnapshotsTab(
  $name: String!
  $project: String = "default"
) {
  instance(name: $name, project: $project) {
    name
    status
    snapshots {
      nodes {
        name
        createdAt
        stateful
      }
    }
  }
}
`,
  },
  {
    operationName: 'WhatMayIDo',
    initial: { name: PREFERRED_NAME },
    variables: byName,
    query: `# Who am I, and which buttons may I press?
# Sign in as somebody else to compare.
query WhatMayIDo(
  $name: String!
  $project: String = "default"
) {
  viewer {
    displayName
    email
    role
  }
  instance(name: $name, project: $project) {
    name
    viewerPermissions {
      createSnapshot {
        allowed
        reason
        message
      }
      restoreSnapshot {
        allowed
        reason
        message
      }
      deleteSnapshot {
        allowed
        reason
        message
      }
    }
    statefulSnapshotSupport {
      supported
      reasons
    }
  }
}
`,
  },
  {
    operationName: 'SnapshotBeforeUpgrade',
    initial: { instanceId: '', name: 'before-upgrade' },
    variables: ({ id }) => ({ instanceId: id, name: freshName() }),
    query: `# Answers at once with a snapshot that is PENDING.
# The next tab shows it being made.
mutation SnapshotBeforeUpgrade($instanceId: ID!, $name: String!) {
  createSnapshot(
    input: {
      instanceId: $instanceId
      name: $name
      description: "Taken before an upgrade."
    }
  ) {
    snapshot {
      id
      name
      status
      createdAt
    }
    operation {
      id
      status
    }
    userErrors {
      code
      message
      remediation
    }
  }
}
`,
  },
  {
    operationName: 'WatchIt',
    initial: { id: '' },
    variables: ({ id }) => ({ id }),
    query: `# Stays open: the state now, then every change.
# Take a snapshot in another window and look here.
subscription WatchIt($id: ID!) {
  instanceUpdated(id: $id) {
    name
    status
    activeOperation {
      kind
      status
    }
    snapshots(first: 5) {
      nodes {
        name
        status
      }
    }
  }
}
`,
  },
];

/** The text that stands in the variables editor. */
export const variablesText = (variables: Record<string, string>): string => JSON.stringify(variables, null, 2);

let latest = 0;

/** A name that no snapshot has yet, to the second and in UTC as all times of the API: `before-upgrade-20261122-153012`. */
function freshName(): string {
  latest = Math.max(Date.now(), latest + 1_000); // two names of one second would be one
  const [date, time] = new Date(latest).toISOString().slice(0, 19).replaceAll(/[-:]/g, '').split('T');
  return `before-upgrade-${date}-${time}`;
}
