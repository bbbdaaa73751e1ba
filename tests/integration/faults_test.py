# SPDX-License-Identifier: Apache-2.0
"""Services that fail: whatever happens to a reply, no key is orphaned, no grant is burned that could
be saved, readers keep a value that works, and the log says what failed, until when, and when it is
over.
"""

import datetime

import grpc

import grpc_calls
import resources
from harness import *

_ADMIN_KEY = "sandbox-admin-key"
_CLIENT, _SECRET = "sandbox-client", "sandbox-secret"

# name -> (fault at create, whether a key is made although no good reply says so)
_CREATE_FAULTS = {
    "lose-reply": ({"fault": "lose_reply"}, True),
    "reset-before": ({"fault": "reset_before"}, False),
    "late-effect": ({"fault": "late_effect", "delay_ms": 300}, True),
    "status-500": ({"fault": "status", "status": 500}, False),
    "status-500-effect": ({"fault": "status", "status": 500, "effect": True}, True),
    "status-503": ({"fault": "status", "status": 503, "retry_after": 1}, False),
    "html": ({"fault": "html_page"}, False),
    "html-effect": ({"fault": "html_page", "effect": True}, True),
    "html-403": ({"fault": "html_page", "status": 403}, False),
    "endless": ({"fault": "endless_body"}, False),
    "endless-effect": ({"fault": "endless_body", "effect": True}, True),
    "slow-loris": ({"fault": "slow_loris", "delay_ms": 5}, False),
    "limited": ({"fault": "status", "status": 429, "retry_after": 1}, False),
}

_TOKEN_FAULTS = {
    "lose-reply": {"fault": "lose_reply", "count": 2},
    "status-500": {"fault": "status", "status": 500, "count": 2},
    "status-503": {"fault": "status", "status": 503, "retry_after": 1, "count": 2},
    "limited": {"fault": "status", "status": 429, "retry_after": 2, "count": 1},
    "endless": {"fault": "endless_body", "count": 2},
    "html": {"fault": "html_page", "count": 2},
    # A refusal that only a proxy can have written is reported when it persists.
    "html-403": {"fault": "html_page", "status": 403, "count": 3},
}


def _time(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


class _FaultsTest(IntegrationTest):
    def _assert_failure_lines(self, lines, credential, provider, provider_class, retried=True):
        """What docs call the contract of a failure line."""
        self.assertTrue(lines)
        for line in lines:
            self.assertEqual((credential, provider, provider_class, "error", "failure"),
                             (line["credential"], line["provider"], line["class"],
                              line["level"], line["event"]))
            self.assertEqual(f"{line['code']}:{credential}", line["dedupe_key"])
            self.assertGreaterEqual(line["attempt"], 1)
            self.assertRegex(line["cause"], r"^[a-z][a-z0-9_]+$")
            if retried:
                self.assertGreaterEqual(_time(line["next_retry"]), _time(line["time"]))
            if "runway_s" in line:
                self.assertGreaterEqual(line["runway_s"], 0)

    def _failures(self, credential, code=None):
        return [record for record in self.agent.log() if record["event"] == "failure"
                and record["credential"] == credential and code in (None, record["code"])]

    def _wait_resolved(self, credential, code, deadline=30):
        """RESOLVED comes after the last failure line, once."""
        self.agent.wait_for_log(deadline, event="RESOLVED", credential=credential, code=code)
        records = [record for record in self.agent.log() if record.get("credential") == credential
                   and record.get("code") == code]
        self.assertEqual("RESOLVED", records[-1]["event"])
        self.assertEqual(f"{code}:{credential}", records[-1]["dedupe_key"])
        return records

    def _current(self, name):
        return int(self.cli.json("show", name)["summary"]["current_version"])


class CreateTest(_FaultsTest):
    def setUp(self):
        super().setUp()
        self.sandbox = self.start(Sandbox(self.directory))
        self.agent = self.start_agent(changes={"egress": {"timeout": "5s"}})
        self.cli = self.agent.cli()
        self.rotations = []

    def _declare(self, names, **more):
        """One app, provider and credential for each name; waits for the first keys."""
        self.cli.apply({
            "credentials": {"dify/admin": resources.STATIC,
                            **{f"key/{n}": resources.api_key(n, **more) for n in names}},
            "providers": {n: resources.dify(self.sandbox, app_id=n, settle="2s") for n in names},
            "policies": {"services": resources.reader("key/*")},
        }, self.directory).expect(0)
        self.cli.ok("put", "dify/admin", stdin=_ADMIN_KEY)
        for name in names:
            wait_until(lambda: self._current(f"key/{name}") == 1, 20, f"the first key of {name}")

    @staticmethod
    def _rule(name, fault, method="POST"):
        return {"match": {"method": method, "path_prefix": f"/console/api/apps/{name}/"}, **fault}

    def _begin(self, name):
        """A rotation that goes on while the test looks elsewhere."""
        admin = grpc_calls.Client(self.agent.admin_socket, "Admin")
        self.addCleanup(admin.close)
        self.rotations.append(admin.Rotate(name=name, timeout=120))

    def _wait_idle(self, name, version):
        """Waits until this or a later version is current and no rotation is open."""
        def idle():
            shown = self.cli.json("show", name)
            return (int(shown["summary"]["current_version"]) >= version
                    and shown["rotation"] is None and shown)
        return wait_until(idle, 60, f"the end of the rotation of {name}", interval=0.1)

    def _assert_no_orphan(self, app):
        """The service holds exactly the keys that the agent accounts for, and the current works."""
        shown = self.cli.json("show", f"key/{app}")
        known = {v["provider_key_id"] for v in shown["versions"]
                 if v["state"] in ("current", "retiring")}
        listed = self.sandbox.state()["apps"].get(app, [])
        self.assertEqual(known, {key["id"] for key in listed}, app)
        value = self.cli.ok("get", f"key/{app}")
        self.assertTrue(self.sandbox.is_alive(value), app)

    def test_no_fault_at_create_leaves_an_orphan(self):
        names = list(_CREATE_FAULTS)
        self._declare(names, exclusive=True)
        old = {name: self.cli.ok("get", f"key/{name}") for name in names}
        self.sandbox.set_faults([self._rule(name, fault)
                                 for name, (fault, _) in _CREATE_FAULTS.items()])
        with grpc_calls.Client(self.agent.services_socket) as client:
            for name in names:
                self._begin(f"key/{name}")
            # Readers are served throughout, with a key that works at that moment.
            for name in names:
                self.assertTrue(self.sandbox.is_alive(client.value(f"key/{name}")), name)
        for name, (fault, effect) in _CREATE_FAULTS.items():
            with self.subTest(name):
                self._wait_idle(f"key/{name}", 2)
                self._assert_no_orphan(name)
                self.assertFalse(self.sandbox.is_alive(old[name]))
                states = [record["state"] for record in self.agent.log()
                          if record["event"] == "rotation"
                          and record["credential"] == f"key/{name}" and record["version"] != 1]
                failures = self._failures(f"key/{name}")
                if effect:
                    # The list shows the key itself, and it is ours: taken up, not made anew.
                    self.assertEqual(["creating", "reconcile", "minted"],
                                     [s for s in states if s in ("creating", "reconcile",
                                                                 "minted")][-3:])
                    self.assertEqual(1, states.count("reconcile"))
                    self.assertEqual(2, self._current(f"key/{name}"))
                elif name != "slow-loris":
                    own = [line for line in failures if line["cause"] != "manager_unavailable"]
                    self._assert_failure_lines(own, f"key/{name}", name, "listed")
                    self._wait_resolved(f"key/{name}", "ROTATION_FAILED")
        # Nothing that a service wrote is in the log.
        self.assertNotRegex(self.agent.all_output(), r"(?i)<html")
        limited = [f for f in self._failures("key/limited") if f.get("http_status") == 429]
        self.assertEqual(1, len(limited))
        self.assertGreaterEqual((_time(limited[0]["next_retry"]) - _time(limited[0]["time"]))
                                .total_seconds(), 0.9)

    def test_a_duplicated_create_is_cleaned_up_by_the_next_rotation_at_the_latest(self):
        self._declare(["dup"], exclusive=True)
        self.sandbox.set_faults([self._rule("dup", {"fault": "duplicate"})])
        self._begin("key/dup")
        self._wait_idle("key/dup", 2)
        self.assertTrue(self.sandbox.is_alive(self.cli.ok("get", "key/dup")))
        self._begin("key/dup")
        self._wait_idle("key/dup", 3)
        self._assert_no_orphan("dup")

    def test_a_key_that_may_be_somebody_elses_is_left_for_a_person(self):
        self._declare(["shared"])
        old = self.cli.ok("get", "key/shared")
        self.sandbox.set_faults([self._rule("shared", {"fault": "lose_reply"})])
        self._begin("key/shared")
        line = self.agent.wait_for_event("ROTATION_AMBIGUOUS", credential="key/shared")
        self._assert_failure_lines([line], "key/shared", "shared", "listed")
        self.assertIn("exclusive", line["detail"])
        self.assertEqual(old, self.cli.ok("get", "key/shared"))
        self.assertTrue(self.sandbox.is_alive(old))
        self.assertEqual(2, len(self.sandbox.state()["apps"]["shared"]))
        failure, = self.cli.json("status")["failures"]
        self.assertEqual(("ROTATION_AMBIGUOUS", "key/shared"),
                         (failure["code"], failure["credential"]))
        self.assertEqual(3, self.cli.run("status", "--check").code)

    def test_a_revoke_without_an_answer_is_sent_again(self):
        names = {"gone": {"fault": "lose_reply"}, "kept": {"fault": "reset_before"},
                 "busy": {"fault": "status", "status": 503}}
        self._declare(names, exclusive=True)
        self.sandbox.set_faults([self._rule(name, fault, "DELETE")
                                 for name, fault in names.items()])
        for name in names:
            self._begin(f"key/{name}")
        for name in names:
            self._wait_idle(f"key/{name}", 2)
            self._assert_no_orphan(name)
            self._assert_failure_lines(self._failures(f"key/{name}", "REVOKE_FAILED"),
                                       f"key/{name}", name, "listed")
            self._wait_resolved(f"key/{name}", "REVOKE_FAILED")

    def test_at_the_services_limit_nothing_is_deleted_and_the_log_says_so(self):
        sandbox = self.start(Sandbox(self.subdirectory("small"),
                                     config={"dify": {"max_keys_per_app": 1}}))
        self.cli.apply({
            "credentials": {"dify/admin": resources.STATIC, "key/full": resources.api_key("full")},
            "providers": {"full": resources.dify(sandbox, app_id="full")},
        }, self.directory).expect(0)
        self.cli.ok("put", "dify/admin", stdin=_ADMIN_KEY)
        wait_until(lambda: self._current("key/full") == 1, 20, "the first key")
        value = self.cli.ok("get", "key/full")
        self._begin("key/full")
        line = self.agent.wait_for_event("ROTATION_BLOCKED_LIMIT", credential="key/full")
        self._assert_failure_lines([line], "key/full", "full", "listed")
        self.assertEqual(value, self.cli.ok("get", "key/full"))
        self.assertTrue(sandbox.is_alive(value))

    def test_rotate_tells_its_caller_why_it_ended(self):
        self._declare(["told"], exclusive=True)
        self.sandbox.set_faults([self._rule("told", {"fault": "status", "status": 403})])
        result = self.cli.run("rotate", "key/told", deadline=20)
        self.assertEqual(1, result.code)
        self.assertIn("ROTATION_FAILED", result.stderr)
        self.assertIn("key/told", result.stderr)


class TokenTest(_FaultsTest):
    def setUp(self):
        super().setUp()
        self.agent = self.start_agent(changes={"egress": {"timeout": "5s"}})
        self.cli = self.agent.cli()

    def _sandbox(self, name, **oauth):
        return self.start(Sandbox(self.subdirectory(name), config={"oauth": {
            "access_token_ttl": "60s", **oauth}}))

    def _declare(self, credentials):
        self.cli.apply({"credentials": {"oauth/secret": resources.STATIC},
                        "policies": {"services": resources.reader("token/*")}},
                       self.directory).expect(0)
        self.cli.ok("put", "oauth/secret", stdin=_SECRET)
        self.cli.apply({"credentials": credentials}, self.directory).expect(0)

    @staticmethod
    def _host(sandbox):
        return sandbox.url.removeprefix("http://")

    def _refresh_token(self, name, *, config=None, **spec):
        """A credential with a seeded grant and its first token; returns (sandbox, token)."""
        sandbox = self._sandbox(name, **(config or {}))
        self._declare({f"token/{name}": resources.refresh_token(
            f"{sandbox.url}/oauth/token", _CLIENT, "oauth/secret", **spec)})
        self.cli.ok("put", f"token/{name}", stdin=sandbox.seed_refresh_token(_CLIENT))
        wait_until(lambda: self._current(f"token/{name}") == 1, 20, "the first token")
        return sandbox, self.cli.ok("get", f"token/{name}")

    def test_a_failing_token_endpoint_is_asked_again_until_it_answers(self):
        sandboxes = {name: self._sandbox(name) for name in _TOKEN_FAULTS}
        for name, fault in _TOKEN_FAULTS.items():
            sandboxes[name].set_faults([fault])
        self._declare({f"token/{name}": resources.client_credentials(
            f"{sandbox.url}/oauth/token", _CLIENT, "oauth/secret")
            for name, sandbox in sandboxes.items()})
        for name, sandbox in sandboxes.items():
            with self.subTest(name):
                credential = f"token/{name}"
                with grpc_calls.Client(self.agent.services_socket) as client:
                    value = wait_until(lambda: self._value_or_none(client, credential), 30,
                                       "a token")
                self.assertTrue(sandbox.is_alive(value))
                self._wait_resolved(credential, "REFRESH_FAILED")
                failures = self._failures(credential)
                self._assert_failure_lines(failures, credential, self._host(sandbox), "oauth")
                self.assertTrue(all("runway_s" in line for line in failures))
                if name == "html-403":
                    self.assertEqual([3], [line["attempt"] for line in failures])
                else:
                    self.assertEqual(_TOKEN_FAULTS[name]["count"], len(failures))
        line, = self._failures("token/limited")
        self.assertEqual(429, line["http_status"])
        self.assertGreaterEqual((_time(line["next_retry"]) - _time(line["time"]))
                                .total_seconds(), 1.9)
        self.assertNotRegex(self.agent.all_output(), r"(?i)<html")

    @staticmethod
    def _value_or_none(client, name):
        try:
            return client.value(name, timeout=5)
        except grpc.RpcError as error:
            code, reasons = grpc_calls.error_details(error)
            if code != grpc.StatusCode.UNAVAILABLE or reasons not in (["REFRESH_FAILED"], []):
                raise
            return None

    def test_a_token_that_is_valid_is_served_while_refreshes_fail(self):
        sandbox = self._sandbox("served")
        self._declare({"token/served": resources.client_credentials(
            f"{sandbox.url}/oauth/token", _CLIENT, "oauth/secret")})
        wait_until(lambda: self._current("token/served") == 1, 20, "the first token")
        value = self.cli.ok("get", "token/served")
        sandbox.set_faults([{"fault": "status", "status": 503, "count": -1}])
        self.assertEqual(1, self.cli.run("refresh", "token/served").code)
        self.assertEqual(value, self.cli.ok("get", "token/served"))
        summary = self.cli.json("show", "token/served")["summary"]
        self.assertEqual(("degraded", "REFRESH_FAILED"), (summary["health"], summary["failure"]))
        line = self._failures("token/served")[-1]
        self.assertGreater(line["runway_s"], 30)
        sandbox.clear_faults()
        self._wait_resolved("token/served", "REFRESH_FAILED")
        self.assertEqual("ok", self.cli.json("show", "token/served")["summary"]["health"])

    def test_a_wrong_client_secret_is_one_alert_and_no_storm(self):
        sandbox = self._sandbox("wrong")
        self._declare({"token/wrong": resources.client_credentials(
            f"{sandbox.url}/oauth/token", _CLIENT, "oauth/other"),
            "oauth/other": resources.STATIC})
        self.cli.ok("put", "oauth/other", stdin="canary-wrong-secret")
        line = self.agent.wait_for_event("REFRESH_FAILED", credential="token/wrong",
                                         http_status=401)
        self._assert_failure_lines([line], "token/wrong", self._host(sandbox), "oauth")
        self.assertGreater((_time(line["next_retry"]) - _time(line["time"])).total_seconds(), 800)
        self.cli.ok("put", "oauth/other", stdin=_SECRET)
        wait_until(lambda: self._current("token/wrong") == 1, 10, "a token with the right secret")
        self._wait_resolved("token/wrong", "REFRESH_FAILED")
        self.assertEqual({"invalid_client": 1}, sandbox.state()["oauth"]["token_errors"])

    def test_with_leeway_a_lost_refresh_keeps_the_grant(self):
        sandbox, _ = self._refresh_token("leeway", config={"reuse_leeway": "20s"},
                                         refresh_token="rotates", leeway="20s")
        sandbox.set_faults([{"match": {"path_prefix": "/oauth/token"}, "fault": "lose_reply"}])
        self.cli.run("refresh", "token/leeway")
        self._wait_resolved("token/leeway", "REFRESH_IN_DOUBT")
        self._assert_failure_lines(self._failures("token/leeway", "REFRESH_IN_DOUBT"),
                                   "token/leeway", self._host(sandbox), "oauth")
        self.cli.ok("refresh", "token/leeway")
        self.assertTrue(sandbox.is_alive(self.cli.ok("get", "token/leeway")))
        self.assertEqual({"issued": 1, "burned": 0}, sandbox.state()["oauth"]["grants"])

    def test_without_leeway_a_lost_refresh_is_not_repeated_while_the_token_lives(self):
        sandbox, value = self._refresh_token("careful", refresh_token="rotates")
        sandbox.set_faults([{"match": {"path_prefix": "/oauth/token"}, "fault": "lose_reply"}])
        self.cli.run("refresh", "token/careful")
        line = self.agent.wait_for_event("REFRESH_IN_DOUBT", credential="token/careful")
        self._assert_failure_lines([line], "token/careful", self._host(sandbox), "oauth")
        # 60 s of lifetime: the one retry waits for the hard point, 11 s before the end.
        wait = (_time(line["next_retry"]) - _time(line["time"])).total_seconds()
        self.assertGreater(wait, 30)
        self.assertGreater(line["runway_s"], wait)
        self.assertEqual(value, self.cli.ok("get", "token/careful"))
        # A restart does not forget the doubt.
        self.agent.kill()
        self.agent.start()
        again = self.agent.wait_for_event("REFRESH_IN_DOUBT", credential="token/careful")
        self.assertGreater((_time(again["next_retry"]) - _time(again["time"])).total_seconds(), 25)
        self.assertEqual(value, self.cli.ok("get", "token/careful"))
        self.assertEqual({"issued": 1, "burned": 0}, sandbox.state()["oauth"]["grants"])

    def test_without_leeway_the_one_retry_ends_in_consent_when_the_server_rotated(self):
        sandbox, _ = self._refresh_token("lost", config={"access_token_ttl": "6s"})
        sandbox.set_faults([{"match": {"path_prefix": "/oauth/token"}, "fault": "lose_reply"}])
        self.agent.wait_for_event("REFRESH_IN_DOUBT", credential="token/lost")
        line = self.agent.wait_for_event("NEEDS_CONSENT", credential="token/lost",
                                         http_status=400)
        self._assert_failure_lines([line], "token/lost", self._host(sandbox), "oauth",
                                   retried=False)
        self.assertIn("keyturn put token/lost", line["detail"])
        self.assertEqual(1, sandbox.state()["oauth"]["grants"]["burned"])
        self._wait_resolved("token/lost", "REFRESH_IN_DOUBT")

        def refused():
            result = self.cli.run("get", "token/lost")
            return result if result.code else None
        result = wait_until(refused, 10, "the end of the last token")
        self.assertEqual(6, result.code)
        self.assertIn("NEEDS_CONSENT", result.stderr)
        self.cli.ok("put", "token/lost", stdin=sandbox.seed_refresh_token(_CLIENT))
        self._wait_resolved("token/lost", "NEEDS_CONSENT")
        self.assertTrue(sandbox.is_alive(self.cli.ok("get", "token/lost")))

    def test_without_leeway_the_one_retry_saves_the_grant_when_nothing_had_happened(self):
        sandbox, value = self._refresh_token("saved", config={"access_token_ttl": "6s"})
        sandbox.set_faults([{"match": {"path_prefix": "/oauth/token"}, "fault": "reset_before"}])
        self._wait_resolved("token/saved", "REFRESH_IN_DOUBT")
        new = self.cli.ok("get", "token/saved")
        self.assertNotEqual(value, new)
        self.assertTrue(sandbox.is_alive(new))
        self.assertEqual({"issued": 1, "burned": 0}, sandbox.state()["oauth"]["grants"])
        self.assertEqual(["no_refresh_token"], [line["cause"] for line in self._failures(
            "token/saved", "NEEDS_CONSENT")])  # before the first one was stored

    def test_a_server_that_keeps_refresh_tokens_is_simply_asked_again(self):
        sandbox, value = self._refresh_token("keeps", config={"rotate_refresh_tokens": False},
                                             refresh_token="keeps")
        sandbox.set_faults([{"match": {"path_prefix": "/oauth/token"}, "fault": "lose_reply"}])
        self.cli.run("refresh", "token/keeps")
        self._wait_resolved("token/keeps", "REFRESH_FAILED")
        self.assertEqual([], self._failures("token/keeps", "REFRESH_IN_DOUBT"))
        new = self.cli.ok("get", "token/keeps")
        self.assertNotEqual(value, new)
        self.assertTrue(sandbox.is_alive(new))


if __name__ == "__main__":
    unittest.main(verbosity=2)
