// SPDX-License-Identifier: Apache-2.0
//
// What every peer server of the integration tests shares: command-line flags, finding the installed
// npm packages, the ready line, and an end that cannot be missed. A peer ends on SIGTERM, on SIGINT
// and when the process that started it is gone, so a killed test run leaves no server behind.
// Everything here runs on node's one thread.

import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const PARENT_CHECK_MS = 250;

/** Parses `--name value` pairs. `defaults` names every flag there is; its values give the types. */
export function parseFlags(defaults, usage) {
  const flags = { ...defaults };
  const args = process.argv.slice(2);
  while (args.length > 0) {
    const arg = args.shift();
    if (arg === '--help') {
      process.stdout.write(`${usage}\n`);
      process.exit(0);
    }
    const name = arg.startsWith('--') ? arg.slice(2) : '';
    if (!Object.hasOwn(defaults, name) || args.length === 0) {
      fail(`bad argument ${arg}\n${usage}`, 2);
    }
    const value = args.shift();
    if (typeof defaults[name] !== 'number') {
      flags[name] = value;
      continue;
    }
    if (!/^\d+$/.test(value)) {
      fail(`--${name} wants a whole number\n${usage}`, 2);
    }
    flags[name] = Number(value);
  }
  return flags;
}

export function fail(message, exitCode = 1) {
  process.stderr.write(`${message}\n`);
  process.exit(exitCode);
}

/**
 * Imports a package from the directory named by KEYTURN_PEERS_DIR (or its node_modules), because
 * the packages are installed in the build tree and not beside this file.
 */
export async function importPeerPackage(name) {
  const root = process.env.KEYTURN_PEERS_DIR;
  if (!root) {
    fail('KEYTURN_PEERS_DIR is not set: it names the directory with the installed npm packages', 2);
  }
  const candidates = [path.join(root, 'node_modules', name), path.join(root, name)];
  const directory = candidates.find((dir) => fs.existsSync(path.join(dir, 'package.json')));
  if (!directory) {
    fail(`no npm package ${name} under ${root}`, 2);
  }
  const manifest = JSON.parse(fs.readFileSync(path.join(directory, 'package.json'), 'utf8'));
  const entry = entryPoint(manifest);
  return import(pathToFileURL(path.resolve(directory, entry)).href);
}

function entryPoint(manifest) {
  let exported = manifest.exports?.['.'] ?? manifest.exports;
  while (exported && typeof exported === 'object') {
    exported = exported.import ?? exported.node ?? exported.default ?? exported.require;
  }
  return exported ?? manifest.main ?? 'index.js';
}

/** Listens on loopback; resolves with the base URL once connections are accepted. */
export function listen(server, port) {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      resolve(`http://127.0.0.1:${server.address().port}`);
    });
  });
}

/** The one line a starter waits for. Nothing else is ever printed to stdout before it. */
export function announce(url) {
  process.stdout.write(`listening on ${url}\n`);
}

/** Ends the process at once on SIGTERM, on SIGINT, or within a moment of its parent's death. */
export function endWithParent() {
  const parent = process.ppid;
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.on(signal, () => process.exit(0));
  }
  setInterval(() => {
    if (process.ppid !== parent) {
      process.exit(0);
    }
  }, PARENT_CHECK_MS).unref();
}
