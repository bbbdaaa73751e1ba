# SPDX-License-Identifier: Apache-2.0
"""What crash tests share: an agent that dies at a named point, or whose n-th commit or n-th write to
a file fails, and the list of points that one undisturbed run passes."""

import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from harness import Agent, IntegrationTest, binary, wait_until  # noqa: E402

__all__ = ["CrashTest", "wait_until"]


class CrashingAgent(Agent):
    """The agent built with its crash points observed; the environment is set per start."""

    def __init__(self, directory, log_path, changes):
        super().__init__(directory, changes=changes)
        self.argv[0] = binary("keyturnd-crashing")
        self._log_path = log_path

    def run_from(self, point=None, count=1, fail_commit=None, fail_write=None):
        """Starts it, to be killed at the point if one is given; "*" is any point of a rotation.
        `fail_commit`, as N:KIND, lets the N-th commit of a rotation fail; `fail_write` the N-th
        call of SQLite to its files."""
        self.env = {**os.environ, "KEYTURN_CRASH_LOG": self._log_path}
        if point is not None:
            self.env["KEYTURN_CRASH_AT"] = f"{point}:{count}"
        if fail_commit is not None:
            self.env["KEYTURN_FAIL_COMMIT"] = fail_commit
        if fail_write is not None:
            self.env["KEYTURN_FAIL_WRITE"] = fail_write
        return self.start()

    def wait_killed(self, what):
        code = self.wait(30)
        if code != -signal.SIGKILL:
            raise AssertionError(f"{what}: the agent ended with {code} instead of being killed")


class CrashTest(IntegrationTest):
    def make_agent(self, name, changes=None):
        directory = self.subdirectory(name)
        os.chmod(self.directory, 0o711)
        agent = CrashingAgent(directory, self.path(f"{name}.points"), changes)
        self.processes.append(agent)
        self.addCleanup(self._end, agent)
        return agent

    def points_passed(self, name):
        """The points in the order of their first passing."""
        with open(self.path(f"{name}.points"), encoding="utf-8") as file:
            return list(dict.fromkeys(file.read().split()))

    def forget_points(self, name):
        path = self.path(f"{name}.points")
        if os.path.exists(path):
            os.remove(path)
