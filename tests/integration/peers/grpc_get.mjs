// SPDX-License-Identifier: Apache-2.0
//
// A service in another language: reads one credential from Keyturn with @grpc/grpc-js over a unix
// socket and prints one JSON object, {"credential": {...}} or {"code": N, "details": "..."}.
// Bytes are printed as text. Exits 0 in both cases: what the answer should be is the test's affair.

import { fail, importPeerPackage } from './peer_process.mjs';

const DEADLINE_MS = 10000;

const [socketPath, protoRoot, name] = process.argv.slice(2);
if (!name) {
  fail('usage: grpc_get.mjs SOCKET PROTO_ROOT NAME', 2);
}
const { default: grpc } = await importPeerPackage('@grpc/grpc-js');
const { default: protoLoader } = await importPeerPackage('@grpc/proto-loader');
const definition = protoLoader.loadSync('keyturn/v1/credentials.proto', {
  includeDirs: [protoRoot], longs: Number, enums: String, defaults: true,
});
const { Credentials } = grpc.loadPackageDefinition(definition).keyturn.v1;
const client = new Credentials(`unix:${socketPath}`, grpc.credentials.createInsecure());
client.Get({ name }, { deadline: Date.now() + DEADLINE_MS }, (error, reply) => {
  const answer = error
    ? { code: error.code, details: error.details }
    : { credential: reply.credential };
  process.stdout.write(`${JSON.stringify(answer, (key, value) => (
    value?.type === 'Buffer' ? Buffer.from(value.data).toString('utf8') : value))}\n`);
  client.close();
});
