# SPDX-License-Identifier: Apache-2.0
"""Two thousand connections of ten users, opened, used and closed beside one another, while processes
of the same users are killed in the middle of their calls. Whoever asks is always who the kernel says,
and gets their own value and nobody else's. Needs root, to be ten users.
"""

import json
import os
import subprocess
import sys
import threading

import grpc_calls
import resources
from harness import *

_UIDS = range(1301, 1311)
_CONNECTIONS = 200  # of each user
_KILLED = 6         # processes of each user

# Runs as a user who may not be able to read this source tree: requests in hex go in, a line of JSON
# for each connection comes out at once. 0 connections: goes on until it is killed.
_CALLER = r"""
import concurrent.futures, grpc, json, os, sys, threading
socket, connections, who, own, other = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]
lock = threading.Lock()
def call(channel, method, request):
    stub = channel.unary_unary("/keyturn.v1.Credentials/" + method,
                               request_serializer=bytes.fromhex, response_deserializer=bytes.hex)
    try:
        return stub(request, timeout=30)
    except grpc.RpcError as error:
        return error.code().name
def connect(_):
    with grpc.insecure_channel("unix:" + socket, [("grpc.enable_http_proxy", 0),
                                                  ("grpc.use_local_subchannel_pool", 1)]) as channel:
        said = [call(channel, "Get", own), call(channel, "WhoAmI", who), call(channel, "Get", other)]
    with lock:
        os.write(1, (json.dumps([os.getpid()] + said) + "\n").encode())
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    if connections:
        list(pool.map(connect, range(connections)))
    while not connections:
        list(pool.map(connect, range(100)))
"""


def _name(uid):
    return f"team-{uid}/key"


def _value(uid):
    return f"the-value-of-{uid}"


@unittest.skipUnless(os.geteuid() == 0, "only root can become other users")
class IdentityChurnTest(IntegrationTest):
    def setUp(self):
        super().setUp()
        self.agent = self.start_agent(changes={"limits": {
            "connections": 1000, "connections_per_uid": 200}})
        cli = self.agent.cli()
        cli.apply({
            "credentials": {_name(uid): resources.STATIC for uid in _UIDS},
            "policies": {f"user-{uid}": resources.reader(f"team-{uid}/*", uid=uid)
                         for uid in _UIDS},
        }, self.directory).expect(0)
        for uid in _UIDS:
            cli.ok("put", _name(uid), stdin=_value(uid))
        self.messages = grpc_calls.module("keyturn/v1/credentials.proto")
        self.seen = {uid: 0 for uid in _UIDS}
        self.mismatches = []
        self.other_errors = {}

    def _start(self, uid, connections):
        other = _UIDS[(uid - _UIDS[0] + 1) % len(_UIDS)]
        requests = [self.messages.WhoAmIRequest(), self.messages.GetRequest(name=_name(uid)),
                    self.messages.GetRequest(name=_name(other))]
        return spawn([sys.executable, "-c", _CALLER, self.agent.services_socket, str(connections),
                      *[request.SerializeToString().hex() for request in requests]],
                     env={"PATH": os.environ["PATH"], "HOME": "/"}, cwd="/", uid=uid)

    def _look_at(self, uid, line):
        pid, own, who, other = json.loads(line)
        if own.isupper() or who.isupper():
            # Not served, such as by the limit on new connections: no answer is no wrong answer.
            self.other_errors[own] = self.other_errors.get(own, 0) + 1
            return
        value = self.messages.GetResponse.FromString(bytes.fromhex(own)).credential
        said = self.messages.WhoAmIResponse.FromString(bytes.fromhex(who))
        found = (said.uid, said.pid, value.name, value.fields[0].value, other)
        wanted = (uid, pid, _name(uid), _value(uid).encode(), "PERMISSION_DENIED")
        if found != wanted:
            self.mismatches.append((wanted, found))
        self.seen[uid] += 1

    def _kill_in_the_middle(self, uid):
        for _ in range(_KILLED):
            process = self._start(uid, 0)
            for _ in range(10):
                self._look_at(uid, process.stdout.readline())
            process.kill()
            # Whole lines that came before it died count as well.
            rest, _ = process.communicate()
            for line in rest.splitlines(keepends=True):
                if line.endswith(b"\n"):
                    self._look_at(uid, line)

    def _call_to_the_end(self, uid):
        process = self._start(uid, _CONNECTIONS)
        for line in process.stdout:
            self._look_at(uid, line)
        process.communicate(timeout=60)

    def test_nobody_is_ever_taken_for_somebody_else(self):
        threads = [threading.Thread(target=run, args=(uid,)) for uid in _UIDS
                   for run in (self._call_to_the_end, self._kill_in_the_middle)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"{sum(self.seen.values())} connections of {len(_UIDS)} users; "
              f"{len(_UIDS) * _KILLED} processes killed; without an answer: {self.other_errors}")
        self.assertEqual([], self.mismatches)
        self.assertGreaterEqual(sum(self.seen.values()), 2000)
        self.assertLess(sum(self.other_errors.values()), sum(self.seen.values()) // 10)
        # Nothing is left of any of them.
        wait_until(lambda: self._connections() == 0, 30, "all connections to be gone")

    def _connections(self):
        status = json.loads(self.agent.cli().ok("status", "-o", "json"))
        return int(status.get("connections", 0)) - 1  # this one


if __name__ == "__main__":
    unittest.main(verbosity=2)
