// SPDX-License-Identifier: Apache-2.0
//
// Runs oidc-provider, a certified OAuth 2.0 / OpenID Connect server, on loopback for the
// integration tests. Beside the provider's own routes there are two for tests: GET /test/stats
// counts what the token endpoint was asked and answered, POST /test/grant seeds a refresh token
// (oidc_login.mjs). All state is in memory and gone with the process.

import crypto from 'node:crypto';
import fs from 'node:fs';
import http from 'node:http';

import { obtainRefreshToken } from './oidc_login.mjs';
import { announce, endWithParent, fail, importPeerPackage, listen, parseFlags }
  from './peer_process.mjs';
import { TokenStats } from './oidc_stats.mjs';

const USAGE = `usage: oidc_server.mjs [--port N] [--access-token-ttl S] [--client-credentials-ttl S]
                       [--refresh-token-ttl S] [--rotate-refresh-token true|false]
                       [--token-delay-ms MS] [--jwt-client-key FILE] [--clients FILE]
  --port                    0 takes any free port (default)
  --access-token-ttl        seconds an access token of a user's grant lives (default 60)
  --client-credentials-ttl  seconds a client_credentials token lives (default 60)
  --refresh-token-ttl       seconds a refresh token lives (default 86400)
  --rotate-refresh-token    every refresh replaces the refresh token (default true)
  --token-delay-ms          how long each token request takes, half of it before its effect; one
                            whose client is gone by then has none (default 0)
  --jwt-client-key          public key as PEM: adds the client keyturn-jwt, private_key_jwt
  --clients                 JSON array of client metadata that replaces the built-in clients
Built-in clients: keyturn-basic, keyturn-post (secret ID-secret), keyturn-public (no secret),
keyturn-native (no secret, back to 127.0.0.1, devices).`;

const MAX_BODY_BYTES = 64 * 1024;

const flags = parseFlags({
  port: 0,
  'access-token-ttl': 60,
  'client-credentials-ttl': 60,
  'refresh-token-ttl': 86400,
  'rotate-refresh-token': 'true',
  'token-delay-ms': 0,
  'jwt-client-key': '',
  clients: '',
}, USAGE);

function builtInClients(url) {
  const shared = {
    redirect_uris: [`${url}/test/callback`],
    response_types: ['code'],
    grant_types: ['authorization_code', 'refresh_token'],
  };
  const confidential = (method, id) => ({
    ...shared,
    client_id: id,
    client_secret: `${id}-secret`,
    token_endpoint_auth_method: method,
    grant_types: [...shared.grant_types, 'client_credentials',
      'urn:ietf:params:oauth:grant-type:device_code'],
  });
  return [
    confidential('client_secret_basic', 'keyturn-basic'),
    confidential('client_secret_post', 'keyturn-post'),
    { ...shared, client_id: 'keyturn-public', token_endpoint_auth_method: 'none' },
    {
      ...shared,
      client_id: 'keyturn-native',
      token_endpoint_auth_method: 'none',
      application_type: 'native',
      // Of native clients any port will do (RFC 8252 section 7.3).
      redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: [...shared.grant_types, 'urn:ietf:params:oauth:grant-type:device_code'],
    },
  ];
}

function jwtClient(url) {
  const key = crypto.createPublicKey(fs.readFileSync(flags['jwt-client-key']));
  return {
    client_id: 'keyturn-jwt',
    redirect_uris: [`${url}/test/callback`],
    response_types: [],
    grant_types: ['client_credentials'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [{ ...key.export({ format: 'jwk' }), use: 'sig' }] },
  };
}

function signingKeys() {
  const { privateKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  return { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig' }] };
}

function configuration(clients) {
  return {
    clients,
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    cookies: { keys: [crypto.randomBytes(32).toString('hex')] },
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      devInteractions: { enabled: true },
      dPoP: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true },
    },
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    jwks: signingKeys(),
    pkce: { required: () => true },
    rotateRefreshToken: flags['rotate-refresh-token'] === 'true',
    scopes: ['openid', 'offline_access', 'api:read', 'api:write'],
    ttl: {
      AccessToken: flags['access-token-ttl'],
      ClientCredentials: flags['client-credentials-ttl'],
      RefreshToken: flags['refresh-token-ttl'],
      Grant: flags['refresh-token-ttl'],
    },
  };
}

async function readJson(request) {
  const chunks = [];
  let size = 0;
  for await (const chunk of request) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) {
      throw new Error('request body too large');
    }
    chunks.push(chunk);
  }
  return size === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString('utf8'));
}

function answer(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
  response.end(JSON.stringify(body));
}

async function seedGrant(request, response, url, clients) {
  try {
    const { user = 'alice', client_id: clientId = clients[0].client_id,
      scope = 'openid offline_access api:read' } = await readJson(request);
    const client = clients.find((candidate) => candidate.client_id === clientId);
    if (!client) {
      answer(response, 404, { error: `no client ${clientId}` });
      return;
    }
    const refreshToken = await obtainRefreshToken(url, client, user, scope);
    answer(response, 200, { refresh_token: refreshToken, client_id: clientId });
  } catch (error) {
    answer(response, 500, { error: error.message });
  }
}

/** The tests' own routes; everything else belongs to the provider. */
function route(request, response, { url, clients, stats, provider }) {
  const { pathname } = new URL(request.url, url);
  if (request.method === 'GET' && pathname === '/test/stats') {
    answer(response, 200, stats.snapshot());
  } else if (request.method === 'POST' && pathname === '/test/grant') {
    seedGrant(request, response, url, clients);
  } else {
    provider(request, response);
  }
}

if (!['true', 'false'].includes(flags['rotate-refresh-token'])) {
  fail(USAGE, 2);
}
endWithParent();
const { Provider, default: DefaultProvider } = await importPeerPackage('oidc-provider');
const stats = new TokenStats(flags['token-delay-ms']);
const context = { url: '', clients: [], stats, provider: null };
// The issuer holds the port, so the socket is bound before the provider exists; nobody knows the
// address before announce().
const server = http.createServer((request, response) => route(request, response, context));
context.url = await listen(server, flags.port);
context.clients = flags.clients
  ? JSON.parse(fs.readFileSync(flags.clients, 'utf8')) : builtInClients(context.url);
if (flags['jwt-client-key']) {
  context.clients.push(jwtClient(context.url));
}
const provider = new (Provider ?? DefaultProvider)(context.url, configuration(context.clients));
provider.use(stats.middleware());
stats.watch(provider);
context.provider = provider.callback();
announce(context.url);
