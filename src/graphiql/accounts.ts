/** An account of the demo, offered only by a server that runs it on this machine. */
export interface Account {
  name: string;
  email: string;
  password: string;
}

/** The accounts to sign in as with one click; none where the server offers none. */
export async function demoAccounts(): Promise<readonly Account[]> {
  const response = await fetch('/graphiql/accounts.json', { cache: 'no-store' });
  if (!response.ok) return [];
  const { accounts } = (await response.json()) as { accounts: Account[] };
  return accounts;
}
