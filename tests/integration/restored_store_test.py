# SPDX-License-Identifier: Apache-2.0
"""An older copy of the store is put back: the agent finds out by its anchor, hands out what it has,
and uses no refresh token that its use uses up before somebody says so. No grant is burned."""

import os
import shutil

import grpc_calls
import resources
from harness import *

_NAME = "team/token"
_CLIENT = "sandbox-client"


class RestoredStoreTest(IntegrationTest):
    def setUp(self):
        super().setUp()
        self.sandbox = self.start(Sandbox(
            self.directory, config={"oauth": {"access_token_ttl": "1h"}}))
        self.agent = self.start_agent()
        self.cli = self.agent.cli()
        self.cli.apply({
            "credentials": {
                "team/secret": resources.STATIC,
                _NAME: resources.refresh_token(
                    f"{self.sandbox.url}/oauth/token", _CLIENT, "team/secret",
                    refresh_token="rotates")},
            "policies": {"services": resources.reader("team/*")},
        }, self.directory).expect(0)
        self.cli.ok("put", "team/secret", stdin="sandbox-secret")
        self.cli.ok("put", _NAME, stdin=self.sandbox.seed_refresh_token(_CLIENT))
        wait_until(lambda: self.cli.run("get", _NAME).code == 0, 20, "the first token")

    def _put_back(self, changes):
        """Copies the store, lets `changes` happen, and puts the copy back."""
        copy = os.path.join(self.directory, "copy.db")
        self.agent.stop()
        shutil.copyfile(self.agent.store_path, copy)
        self.agent.start()
        changes()
        self.agent.stop()
        for end in ("", "-wal", "-shm"):
            if os.path.exists(self.agent.store_path + end):
                os.remove(self.agent.store_path + end)
        shutil.copyfile(copy, self.agent.store_path)
        os.chmod(self.agent.store_path, 0o600)
        self.agent.mark_log()
        self.agent.start()

    def _value(self):
        with grpc_calls.Client(self.agent.services_socket) as client:
            return client.value(_NAME)

    def _burned(self):
        return self.sandbox.state()["oauth"]["grants"]["burned"]

    def test_nothing_is_sent_before_somebody_decides(self):
        old = self._value()
        self._put_back(lambda: self.cli.ok("refresh", _NAME))
        self.agent.wait_for_event("ROLLBACK_DETECTED")
        self.agent.wait_for_event("REFRESH_IN_DOUBT", credential=_NAME, cause="restored_backup")
        self.assertEqual(old, self._value(), "the copy's own access token goes on being served")
        refused = self.cli.run("refresh", _NAME)
        self.assertNotEqual(0, refused.code)
        self.assertIn("older copy of the store", refused.stderr)
        self.assertIn(f"keyturn refresh {_NAME} --in-doubt", refused.stderr)
        # It outlives restarts, which tell of it again.
        self.agent.kill()
        self.agent.start()
        self.assertNotEqual(0, self.cli.run("refresh", _NAME).code)
        self.assertEqual(0, self._burned())
        # A new grant ends the doubt, and is refreshed like any other.
        self.cli.ok("put", _NAME, stdin=self.sandbox.seed_refresh_token(_CLIENT))
        wait_until(lambda: self._value() != old, 20, "the token of the new grant")
        self.cli.ok("refresh", _NAME)
        self.assertTrue(self.sandbox.is_alive(self._value()))
        self.assertEqual(0, self._burned())

    def test_a_copy_from_after_the_last_refresh_needs_no_decision(self):
        self._put_back(lambda: self.cli.ok("show", _NAME))
        self.cli.ok("refresh", _NAME)
        self.assertTrue(self.sandbox.is_alive(self._value()))
        self.assertEqual([], self.agent.events("ROLLBACK_DETECTED"))
        self.assertEqual(0, self._burned())

    def test_the_risk_can_be_taken(self):
        self._put_back(lambda: self.cli.ok("refresh", _NAME))
        taken = self.cli.run("refresh", _NAME, "--in-doubt")
        self.assertNotEqual(0, taken.code)
        self.agent.wait_for_event("NEEDS_CONSENT", credential=_NAME)
        self.assertEqual(1, self._burned(), "the copy's refresh token was used up")

    def test_an_operator_can_say_that_a_store_was_restored(self):
        old = self._value()
        self.agent.stop()
        with open(self.agent.store_path + ".anchor", "w", encoding="ascii") as anchor:
            anchor.write("restored\n")
        self.agent.start()
        self.agent.wait_for_event("ROLLBACK_DETECTED")
        self.assertEqual(old, self._value())
        # This one is good: it was the newest all the time.
        self.cli.ok("refresh", _NAME, "--in-doubt")
        self.assertTrue(self.sandbox.is_alive(self._value()))
        self.assertEqual(0, self._burned())


if __name__ == "__main__":
    unittest.main(verbosity=2)
