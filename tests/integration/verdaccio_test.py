# SPDX-License-Identifier: Apache-2.0
"""API keys at npm's verdaccio: through five rotations the key that is handed out works at every
moment, each old one dies after its grace, and the registry holds no key that Keyturn does not know.
"""

import json
import threading

import grpc_calls
import resources
from harness import *

_ROTATIONS = 5
_POLL = 0.05
_GRACE = 1.0


class _Poller(threading.Thread):
    """Every 50 ms: reads the key as a service would and uses it at once at the registry."""

    def __init__(self, socket, name, registry, pause):
        super().__init__()
        self._socket, self._name, self._registry, self._pause = socket, name, registry, pause
        self._stop_event = threading.Event()
        self.problems = []
        self.tokens = {}
        self.polls = 0

    def run(self):
        try:
            with grpc_calls.Client(self._socket) as client:
                while not self._stop_event.wait(self._pause):
                    credential = client.Get(name=self._name).credential
                    token = grpc_calls.primary_value(credential)
                    self.tokens[credential.version] = token
                    self.polls += 1
                    status = self._registry.user_status(token)
                    if status != 200:
                        self.problems.append(f"version {credential.version}: HTTP {status}")
        except Exception as error:  # pylint: disable=broad-except
            self.problems.append(repr(error))

    def end(self):
        self._stop_event.set()
        self.join(30)


class NpmTokenTest(IntegrationTest):
    def setUp(self):
        super().setUp()
        self.registry = self.start(Verdaccio(self.path("registry")))
        self.agent = self.start_agent()
        self.cli = self.agent.cli()

    def _apply(self, every):
        self.cli.apply({
            "providers": {"registry": {
                "recipe": "npm-token", "endpoint": self.registry.url, "manager": "npm/admin",
                "timing": {"propagation": "2s", "settle": "2s"}}},
            "credentials": {
                "npm/admin": resources.STATIC,
                "team/npm": resources.api_key("registry", every=every, grace=f"{_GRACE:.0f}s")},
            "policies": {"services": resources.reader("team/*")},
        }, self.directory).expect(0)
        self.cli.ok("put", "npm/admin", "--json", stdin=json.dumps(
            {"username": self.registry.user, "password": self.registry.password}))

    def _versions(self):
        """{state: {provider's key id}} and {version: state} as `keyturn show` tells it."""
        by_state = {}
        states = {}
        for version in self.cli.json("show", "team/npm").get("versions", []):
            by_state.setdefault(version["state"], set()).add(version["provider_key_id"])
            states[int(version["version"])] = version["state"]
        return by_state, states

    def _assert_listed_is_known(self):
        known, _ = self._versions()
        expected = known.get("current", set()) | known.get("retiring", set())
        self.assertEqual(sorted(expected), sorted(self.registry.keys()))

    def test_five_rotations_break_nobody_and_leave_nothing(self):
        self._apply("1h")
        wait_until(lambda: "current" in self._versions()[0], 20, "the first key")
        poller = _Poller(self.agent.services_socket, "team/npm", self.registry, _POLL)
        poller.start()
        self.addCleanup(poller.end)
        for _ in range(_ROTATIONS):
            _, before = self._versions()
            old = max(before)
            wait_until(lambda: old in poller.tokens, 10, f"version {old} at the reader")
            steps = [json.loads(line)["state"] for line in self.cli.ok(
                "rotate", "team/npm", "--wait", "-o", "json").splitlines()]
            self.assertEqual(["creating", "minted", "verified", "retiring", "revoking", "succeeded"],
                             steps)
            _, states = self._versions()
            self.assertEqual(("current", "revoked"), (states[old + 1], states[old]))
            self.assertFalse(self.registry.is_alive(poller.tokens[old]), f"version {old} lives")
            self._assert_listed_is_known()
        wait_until(lambda: _ROTATIONS + 1 in poller.tokens, 10, "the newest key at the reader")
        poller.end()
        self.assertEqual([], poller.problems)
        self.assertGreater(poller.polls, _ROTATIONS * _GRACE / _POLL / 3)
        self.assertEqual(_ROTATIONS + 1, len(set(poller.tokens.values())))
        self.assertTrue(self.registry.is_alive(poller.tokens[_ROTATIONS + 1]))
        self.assertEqual(1, len(self.registry.keys()))

    def test_the_old_key_works_during_its_grace_and_a_foreign_key_is_left_alone(self):
        foreign = self.registry.create_token()
        self._apply("1h")
        wait_until(lambda: "current" in self._versions()[0], 20, "the first key")
        with grpc_calls.Client(self.agent.services_socket) as client:
            old = client.value("team/npm")
            self.cli.ok("rotate", "team/npm")
            self.assertTrue(self.registry.is_alive(old))
            new = client.value("team/npm")
        self.assertNotEqual(old, new)
        known, _ = self._versions()
        self.assertEqual(1, len(known["retiring"]))
        wait_until(lambda: not self.registry.is_alive(old), 10, "the old key's end")
        wait_until(lambda: "retiring" not in self._versions()[0], 10, "the end of the rotation")
        self.assertEqual({foreign["key"]} | self._versions()[0]["current"],
                         set(self.registry.keys()))
        self.assertTrue(self.registry.is_alive(foreign["token"]))

    def test_rotations_come_by_themselves_and_go_on_after_a_crash(self):
        self._apply("3s")
        wait_until(lambda: self._versions()[1].get(1) == "revoked", 30, "a rotation by itself")
        self.agent.wait_for_log(20, since=self.agent.mark_log(), event="rotation",
                                state="retiring")
        self.agent.kill()
        self.agent.start()
        newest = max(self._versions()[1])
        wait_until(lambda: self._versions()[1].get(newest) == "revoked", 30,
                   "a rotation after the crash")
        self._apply("1h")
        wait_until(lambda: self.cli.json("show", "team/npm")["rotation"] is None, 20,
                   "the end of the open rotation")
        self._assert_listed_is_known()


if __name__ == "__main__":
    unittest.main(verbosity=2)
