# SPDX-License-Identifier: Apache-2.0
"""A backup of a running agent, checked and put back by keyturnd: everything is there, the store that
was there before too, and the agent knows that this is an older one."""

import os
import shutil
import stat
import subprocess

import grpc_calls
import resources
from harness import *

_NAMES = [f"team/secret-{i}" for i in range(20)]


class BackupTest(IntegrationTest):
    def setUp(self):
        super().setUp()
        self.agent = self.start_agent()
        self.cli = self.agent.cli()
        self.cli.apply({
            "credentials": {name: resources.STATIC for name in _NAMES},
            "policies": {"services": resources.reader("team/*")},
        }, self.directory).expect(0)
        for name in _NAMES:
            self.cli.ok("put", name, stdin=f"old-value-of-{name}")
        self.backup = os.path.join(self.directory, "keyturn.backup")

    def _keyturnd(self, *arguments):
        done = subprocess.run([binary("keyturnd"), "--config", self.agent.config_path, *arguments],
                              capture_output=True, text=True,
                              timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    def _values(self):
        with grpc_calls.Client(self.agent.services_socket) as client:
            return {name: client.value(name) for name in _NAMES}

    def test_what_was_backed_up_is_given_back(self):
        before = self._values()
        made = self.cli.ok("backup", self.backup)
        self.assertIn(self.backup, made)
        self.assertEqual(0o600, stat.S_IMODE(os.stat(self.backup).st_mode))
        with open(self.backup, "rb") as file:
            content = file.read()
        for name in _NAMES:
            self.assertNotIn(name.encode(), content)
            self.assertNotIn(before[name].encode(), content)
        for name in _NAMES:
            self.cli.ok("put", name, stdin=f"new-value-of-{name}")
        code, said = self._keyturnd("--restore", self.backup)
        self.assertEqual(3, code, "the agent runs")
        self.assertIn("in use", said)
        self.agent.stop()
        code, said = self._keyturnd("--verify-backup", self.backup)
        self.assertEqual(0, code, said)
        self.assertIn("20 credentials", said)
        code, said = self._keyturnd("--restore", self.backup)
        self.assertEqual(0, code, said)
        self.assertIn(self.agent.store_path + ".replaced", said)
        self.agent.mark_log()
        self.agent.start()
        self.assertEqual(before, self._values())
        self.agent.wait_for_event("ROLLBACK_DETECTED")
        # And the store that was there is still a store.
        self.agent.stop()
        shutil.move(self.agent.store_path + ".replaced", self.agent.store_path)
        self.agent.start()
        self.assertEqual({name: f"new-value-of-{name}" for name in _NAMES}, self._values())

    def test_an_earlier_store_that_was_set_aside_is_not_lost(self):
        self.cli.ok("backup", self.backup)
        self.agent.stop()
        self.assertEqual(0, self._keyturnd("--restore", self.backup)[0])
        code, said = self._keyturnd("--restore", self.backup)
        self.assertEqual(4, code)
        self.assertIn(".replaced is there already", said)
        self.agent.start()
        self.assertEqual(20, len(self._values()))

    def test_an_empty_host_takes_a_backup(self):
        before = self._values()
        self.cli.ok("backup", self.backup)
        self.agent.stop()
        for end in ("", "-wal", "-shm", ".anchor", ".lock"):
            if os.path.exists(self.agent.store_path + end):
                os.remove(self.agent.store_path + end)
        code, said = self._keyturnd("--restore", self.backup)
        self.assertEqual(0, code, said)
        self.assertNotIn("replaced", said)
        self.agent.start()
        self.assertEqual(before, self._values())

    def test_what_is_no_good_backup_changes_nothing(self):
        before = self._values()
        self.cli.ok("backup", self.backup)
        self.agent.stop()
        with open(self.backup, "rb") as file:
            good = file.read()
        middle = len(good) // 2
        for bad, words in ((good[:-1], "cut short"), (good[:40], "cut short"),
                           (good + b"x", "goes on behind its end"),
                           (good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1:], "changed"),
                           (b"SQLite format 3", "no backup that keyturn made")):
            with open(self.backup, "wb") as file:
                file.write(bad)
            for option in ("--verify-backup", "--restore"):
                code, said = self._keyturnd(option, self.backup)
                self.assertEqual(4, code, said)
                self.assertIn(words, said)
        self.agent.mark_log()
        self.agent.start()
        self.assertEqual(before, self._values())
        self.assertEqual([], self.agent.events("ROLLBACK_DETECTED"))

    def test_a_file_that_is_there_is_not_replaced_by_chance(self):
        with open(self.backup, "w", encoding="ascii") as file:
            file.write("something else")
        refused = self.cli.run("backup", self.backup)
        self.assertNotEqual(0, refused.code)
        self.assertIn("--force", refused.stderr)
        with open(self.backup, encoding="ascii") as file:
            self.assertEqual("something else", file.read())
        self.cli.ok("backup", self.backup, "--force")
        self.assertEqual([], [name for name in os.listdir(self.directory) if name.endswith(".part")])
        refused = self.cli.run("backup", os.path.join(self.directory, "nowhere", "file"))
        self.assertIn("nowhere", refused.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
