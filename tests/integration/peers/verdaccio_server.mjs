// SPDX-License-Identifier: Apache-2.0
//
// Runs verdaccio, an npm registry with token create, list and revoke, on loopback for the
// integration tests. It writes its own configuration into the directory it is given, proxies to no
// other registry, creates one user over the public API, and only then prints the ready line. A
// second start on the same directory keeps the user, the signing secret and the tokens.

import fs from 'node:fs';
import path from 'node:path';

import { announce, endWithParent, fail, importPeerPackage, listen, parseFlags }
  from './peer_process.mjs';

const USAGE = `usage: verdaccio_server.mjs --dir DIR [--port N] [--user NAME] [--password TEXT]
                            [--token-format legacy|jwt] [--bcrypt-rounds N]
  --dir            state directory, created when missing (required)
  --port           0 takes any free port (default)
  --user           the one user that exists (default keyturn)
  --password       that user's password
  --token-format   legacy: AES, verdaccio's default; jwt: signed
  --bcrypt-rounds  cost of one password check; legacy tokens pay it on every request (default 4)`;

const flags = parseFlags({
  dir: '',
  port: 0,
  user: 'keyturn',
  password: 'keyturn-test-password',
  'token-format': 'legacy',
  'bcrypt-rounds': 4,
}, USAGE);

function securityOf(format) {
  if (format === 'legacy') {
    return { api: { legacy: true } };
  }
  if (format === 'jwt') {
    return { api: { legacy: false, jwt: { sign: { expiresIn: '60d' } } } };
  }
  return fail(`--token-format is legacy or jwt, not ${format}`, 2);
}

// JSON is YAML, so the configuration needs no YAML writer.
function writeConfig(dir) {
  const config = {
    storage: path.join(dir, 'storage'),
    auth: {
      htpasswd: { file: path.join(dir, 'htpasswd'), rounds: flags['bcrypt-rounds'] },
    },
    uplinks: {},
    packages: { '**': { access: '$authenticated', publish: '$authenticated' } },
    security: securityOf(flags['token-format']),
    // The default of 1000 calls in 15 minutes counts all user and token routes together; a test
    // that polls every 50 ms would meet it within a minute.
    userRateLimit: { windowMs: 1000, max: 1000000 },
    web: { enable: false },
    log: { type: 'file', path: path.join(dir, 'verdaccio.log'), format: 'json', level: 'http' },
  };
  fs.mkdirSync(config.storage, { recursive: true, mode: 0o700 });
  const file = path.join(dir, 'config.yaml');
  fs.writeFileSync(file, JSON.stringify(config, null, 2), { mode: 0o600 });
  return file;
}

async function createUser(url) {
  const reply = await fetch(`${url}/-/user/org.couchdb.user:${encodeURIComponent(flags.user)}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ name: flags.user, password: flags.password }),
  });
  await reply.arrayBuffer();
  if (reply.status === 409) {
    return; // left by an earlier start on this directory
  }
  if (reply.status !== 201) {
    fail(`verdaccio refused to create the user: HTTP ${reply.status}`);
  }
}

if (!flags.dir) {
  fail(USAGE, 2);
}
endWithParent();
const dir = path.resolve(flags.dir);
fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
const verdaccio = await importPeerPackage('verdaccio');
const runServer = verdaccio.runServer ?? verdaccio.default.runServer;
const server = await runServer(writeConfig(dir));
const url = await listen(server, flags.port);
await createUser(url);
announce(url);
