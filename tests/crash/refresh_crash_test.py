# SPDX-License-Identifier: Apache-2.0
"""The agent is killed at every step of a refresh whose server rotates refresh tokens and ends the
grant when an old one is used again. With a leeway declared, the grant survives every crash."""

import unittest

# First: it makes the harness importable.
from crashing import CrashTest, wait_until  # isort: skip

import grpc_calls
import resources
from harness import Sandbox

EXPECTED = [f"refresh:{where}" for where in ("after_journal", "after_send", "after_reply",
                                             "before_commit", "after_commit")]


class RefreshCrashTest(CrashTest):
    name = "team/token"

    def setUp(self):
        super().setUp()
        self.sandbox = self.start(Sandbox(
            self.directory, config={"oauth": {"access_token_ttl": "1h",
                                              "reuse_leeway": "60s"}}))
        self.agent = self.make_agent("agent")
        self.agent.run_from()
        cli = self.agent.cli()
        cli.apply({
            "credentials": {
                "team/secret": resources.STATIC,
                self.name: resources.refresh_token(
                    f"{self.sandbox.url}/oauth/token", "sandbox-client", "team/secret",
                    refresh_token="rotates", leeway="30s")},
            "policies": {"services": resources.reader("team/*")},
        }, self.directory).expect(0)
        cli.ok("put", "team/secret", stdin="sandbox-secret")
        cli.ok("put", self.name, stdin=self.sandbox.seed_refresh_token("sandbox-client"))
        wait_until(lambda: self.value() is not None, 20, "the first token")
        self.agent.stop()
        self.forget_points("agent")

    def value(self):
        with grpc_calls.Client(self.agent.services_socket) as client:
            return client.value(self.name)

    def test_every_step_of_a_refresh(self):
        self.agent.run_from()
        self.agent.cli().ok("refresh", self.name)
        self.agent.stop()
        points = self.points_passed("agent")
        self.assertEqual([], [p for p in EXPECTED if p not in points], points)
        for point in points:
            with self.subTest(point=point):
                self.crash_at(point)
        self.assertEqual(0, self.sandbox.state()["oauth"]["grants"]["burned"])
        print(f"{type(self).__name__}: killed at {len(points)} points")

    def crash_at(self, point):
        self.agent.run_from(point)
        refresh = self.agent.cli().start("refresh", self.name)
        self.agent.wait_killed(point)
        refresh.kill()
        self.agent.run_from()
        try:
            self.assertTrue(self.sandbox.is_alive(self.value()), point)
            self.agent.cli().ok("refresh", self.name)
            self.assertTrue(self.sandbox.is_alive(self.value()), point)
        finally:
            self.agent.stop()


if __name__ == "__main__":
    unittest.main()
