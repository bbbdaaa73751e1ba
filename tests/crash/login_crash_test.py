# SPDX-License-Identifier: Apache-2.0
"""The agent is killed at every step of a login, in a browser and on another device. Started again,
it holds the grant that was there before or the new one, whole, and the login can be repeated."""

import unittest
import urllib.parse

# First: it makes the harness importable.
from crashing import CrashTest  # isort: skip

import grpc

import canaries
import grpc_calls
import resources
from harness import OidcProvider
from login_pages import ManualLogin

EXPECTED = [f"login:{where}" for where in ("after_send", "after_reply", "before_commit",
                                           "after_commit")]


class LoginCrashTest(CrashTest):
    names = ["crm/token", *(f"crm/new-{point.partition(':')[2].replace('_', '-')}"
                            for point in EXPECTED)]

    def setUp(self):
        super().setUp()
        self.provider = self.start(OidcProvider(access_token_ttl=600))
        self.agent = self.make_agent("agent")
        self.agent.run_from()
        self.cli = self.agent.cli()
        self.secrets = []
        self.said = []
        self.cli.apply({
            "credentials": {name: {"oauth": {
                "issuer": self.provider.url, "grant": "authorization_code",
                "client_id": self.provider.NATIVE, "client_auth": "none", "dpop": True,
                "scopes": ["openid", "offline_access", "api:read"], "refresh_token": "rotates",
                "authorization_params": {"prompt": "consent"}}} for name in self.names},
            "policies": {"services": resources.reader("crm/*")},
        }, self.directory).expect(0)

    def value(self, name):
        """The token; None when there is none."""
        with grpc_calls.Client(self.agent.services_socket) as client:
            try:
                value = client.value(name)
            except grpc.RpcError as error:
                self.assertEqual(["NEEDS_CONSENT"], grpc_calls.error_details(error)[1])
                return None
        self.secrets.append(value)
        return value

    def log_in(self, name):
        """The exit code of a login to which somebody consents."""
        login = ManualLogin(self.cli, name)
        self.addCleanup(login.end)
        redirected = login.consent()
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(redirected).query)
        self.secrets += query["code"] + query["state"]
        code, out, err = login.finish(redirected)
        self.said += [out, err]
        return code

    def restart(self, point=None):
        if self.agent.running:
            self.agent.stop()
        self.said += self.agent.stderr.lines()
        self.agent.run_from(point)

    def check_whole(self, name):
        """The token works, and so do the refresh token and the key that both are bound to."""
        self.assertTrue(self.provider.is_alive(self.value(name)))
        self.cli.ok("refresh", name)
        self.assertTrue(self.provider.is_alive(self.value(name)))

    def test_every_step_of_a_login(self):
        self.forget_points("agent")
        self.restart()
        self.assertEqual(0, self.log_in("crm/token"))
        self.restart()
        points = self.points_passed("agent")
        self.assertEqual(sorted(EXPECTED), sorted(points))
        for point in points:
            with self.subTest(point=point):
                self.crash_over_an_old_grant(point)
            with self.subTest(point=point, old=False):
                self.crash_without_one(point)
        self.restart()
        for text in self.said:
            self.assertEqual([], canaries.find(text, self.secrets))
        for path, content in self.agent.state_bytes().items():
            self.assertEqual([], canaries.find(content, self.secrets), path)
        print(f"{type(self).__name__}: killed at {len(points)} points")

    def crash(self, point, name):
        self.restart(point)
        self.assertNotEqual(0, self.log_in(name))
        self.agent.wait_killed(point)
        self.restart()

    def crash_over_an_old_grant(self, point):
        name = "crm/token"
        old = self.value(name)
        self.crash(point, name)
        stored = point == "login:after_commit"
        self.assertEqual(stored, self.value(name) != old)
        self.check_whole(name)
        before = self.value(name)
        self.assertEqual(0, self.log_in(name))
        self.assertNotEqual(before, self.value(name))
        self.check_whole(name)

    def crash_without_one(self, point):
        name = self.names[1 + EXPECTED.index(point)]
        self.crash(point, name)
        if point == "login:after_commit":
            self.check_whole(name)
        else:
            self.assertIsNone(self.value(name))
            self.assertIn("NEEDS_CONSENT", self.cli.run("get", name).stderr)
        self.assertEqual(0, self.log_in(name))
        self.check_whole(name)
        self.assertRegex(self.cli.ok("history", name), r"login +succeeded")


if __name__ == "__main__":
    unittest.main()
