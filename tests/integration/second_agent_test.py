# SPDX-License-Identifier: Apache-2.0
"""Another process writes to the store of a running agent, past the lock: the agent notices at its
next change of what was written, says so, and ends; started again, it goes on from what is stored.
"""

import sqlite3

from harness import *

_EXIT_STORE_IN_USE = 3
_RESOURCES = {"credentials": {"team/secret": {"static": {}}}}


class SecondAgentTest(IntegrationTest):
    def _write_past_the_lock(self, key):
        """What another agent's commit leaves: the row at a newer revision."""
        store = sqlite3.connect(self.agent.store_path)
        try:
            with store:
                store.execute("UPDATE revision SET last = last + 1")
                changed = store.execute("UPDATE entry SET revision = (SELECT last FROM revision) "
                                        "WHERE key = ?", (key.encode(),))
                self.assertEqual(1, changed.rowcount)
        finally:
            store.close()

    def test_the_agent_ends_and_starts_again(self):
        self.agent = self.start_agent()
        cli = self.agent.cli()
        cli.apply(_RESOURCES, self.directory).expect(0)
        cli.ok("put", "team/secret", stdin="first")
        self._write_past_the_lock("credential/team/secret")
        self.assertEqual("first", cli.ok("get", "team/secret"))
        self.assertNotEqual(0, cli.run("put", "team/secret", stdin="second").code)
        self.assertEqual(_EXIT_STORE_IN_USE, self.agent.wait(20), self.agent.tail())
        taken = [record for record in self.agent.log() if record["event"] == "store_taken"]
        self.assertEqual(["error"], [record["level"] for record in taken])
        self.agent.start()
        self.assertEqual("first", cli.ok("get", "team/secret"))
        cli.ok("put", "team/secret", stdin="third")
        self.assertEqual("third", cli.ok("get", "team/secret"))


if __name__ == "__main__":
    unittest.main()
