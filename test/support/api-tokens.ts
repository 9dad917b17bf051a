/** API tokens as people make them, and whoever comes with one. */
import { randomBytes } from 'node:crypto';
import { TestClient, type TestApp } from './app';

export const TOKEN = 'id name prefix role instanceIds expiresAt lastUsedAt createdAt revokedAt user { id }';

export interface Made {
  id: string;
  token: string;
  /** Whoever comes with it. */
  client: TestClient;
}

/** Asks for a token, and gives the payload. */
export async function askForToken(by: TestClient, input: object): Promise<any> {
  const query = `mutation ($input: CreateApiTokenInput!) { createApiToken(input: $input) {
    token apiToken { ${TOKEN} } userErrors { code message field remediation } } }`;
  return (await by.query(query, { input: { name: 'a program', role: 'USER', ...input } })).createApiToken;
}

/** Makes a token; throws when refused. */
export async function makeToken(by: TestClient, input: object = {}): Promise<Made> {
  const { apiToken, token, userErrors } = await askForToken(by, input);
  if (!token) throw new Error(JSON.stringify(userErrors));
  return { id: apiToken.id, token, client: new TestClient(by.url, token, null) };
}

/** Revokes a token, and gives the payload. */
export async function revokeToken(by: TestClient, apiTokenId: string): Promise<any> {
  const query = `mutation ($input: RevokeApiTokenInput!) { revokeApiToken(input: $input) { apiToken { ${TOKEN} } userErrors { code field } } }`;
  return (await by.query(query, { input: { apiTokenId } })).revokeApiToken;
}

/** Somebody new of that role, signed in with a password of their own. */
export async function newPerson(
  app: TestApp,
  admin: TestClient,
  role: string,
): Promise<{ id: string; client: TestClient }> {
  const email = `${randomBytes(6).toString('hex')}@keyframe.test`;
  const create = `mutation ($input: CreateUserInput!) { createUser(input: $input) { user { id } oneTimePassword } }`;
  const { user, oneTimePassword } = (await admin.query(create, { input: { email, role } })).createUser;
  const client = await app.as(email, oneTimePassword);
  const change = `mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { userErrors { message } } }`;
  await client.query(change, {
    input: { currentPassword: oneTimePassword, newPassword: randomBytes(12).toString('hex') },
  });
  return { id: user.id, client };
}

/** Changes an account. */
export async function updateUser(admin: TestClient, userId: string, changes: object): Promise<void> {
  const query = `mutation ($input: UpdateUserInput!) { updateUser(input: $input) { userErrors { message } } }`;
  const { updateUser: payload } = await admin.query(query, { input: { userId, ...changes } });
  if (payload.userErrors.length > 0) throw new Error(JSON.stringify(payload.userErrors));
}
