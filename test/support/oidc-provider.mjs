/**
 * A small OpenID provider in a process of its own, for oidc.ts beside it. It is told over IPC what to be and whom it knows, and
 * says when it listens. People sign in by its own form, with any password.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const accounts = new Map();
const [{ port, keys, clients, audience }] = await once(process, 'message');
process.on('message', ({ account, claims }) => {
  accounts.set(account, claims);
  process.send({ known: account });
});
process.on('disconnect', () => process.exit());

const server = createServer();
await once(server.listen(port, '127.0.0.1'), 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  jwks: { keys },
  clients,
  pkce: { required: () => false },
  scopes: ['openid', 'use'],
  claims: { openid: ['sub', 'email', 'email_verified', 'name', 'groups', 'realm'] },
  conformIdTokenClaims: false,
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id, ...accounts.get(id) }) }),
  // Whoever has a name is known to the resource server by it; `login` tells the sign-in from others.
  extraTokenClaims: (_context, { accountId, sessionUid, clientId }) => ({
    ...accounts.get(accountId),
    ...(clientId.startsWith('with-sid') && { sid: sessionUid }),
  }),
  cookies: { keys: ['not secret here'] },
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      useGrantedResource: () => true,
      getResourceServerInfo: (_context, resource, client) => ({
        audience: resource,
        scope: 'use',
        accessTokenFormat: 'jwt',
        accessTokenTTL: 600,
        jwt: { sign: { alg: client.idTokenSignedResponseAlg } },
      }),
    },
  },
});
server.on('request', provider.callback());
process.send({ issuer });
