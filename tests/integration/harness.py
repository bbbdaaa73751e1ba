# SPDX-License-Identifier: Apache-2.0
"""What an integration test imports: `from harness import *`.

IntegrationTest gives every test a private directory and ends everything the test started, checks
that it ended cleanly, and prints what the programs wrote when the test failed. The pieces live in
processes, http_calls, peer_servers, keyturn_programs and grpc_calls.
"""

import os
import shutil
import sys
import tempfile
import unittest

import http_calls
from keyturn_programs import Agent, Cli, CliResult, Sandbox, as_yaml, binary, connects, merge
from peer_servers import OidcProvider, Verdaccio, node_get, node_program, peers_directory, run_node
from processes import Deadline, HttpServerProcess, Process, as_deadline, spawn, wait_until

__all__ = [
    "Agent", "Cli", "CliResult", "Deadline", "HttpServerProcess", "IntegrationTest",
    "OidcProvider", "Process", "Sandbox", "Verdaccio", "as_deadline", "as_yaml", "binary",
    "connects", "http_calls", "merge", "node_get", "node_program", "peers_directory",
    "private_directory", "run_node", "spawn", "unittest", "wait_until",
]


def private_directory():
    """A new directory of mode 0700 with a path short enough for unix sockets."""
    return tempfile.mkdtemp(prefix="kt-", dir="/tmp")


class IntegrationTest(unittest.TestCase):
    """Base of every integration test."""

    maxDiff = None

    def setUp(self):
        self.directory = private_directory()
        self.addCleanup(self._remove_directory)
        self.processes = []

    def path(self, *parts):
        return os.path.join(self.directory, *parts)

    def subdirectory(self, name):
        path = self.path(name)
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    def start(self, process, deadline=30):
        """Starts it and sees to its clean end; returns it."""
        self.processes.append(process)
        self.addCleanup(self._end, process)
        return process.start(deadline)

    def allow_others(self):
        """Lets servers that run as another user reach what is theirs below the directory."""
        os.chmod(self.directory, 0o711)

    def start_agent(self, name="agent", **options):
        """A running agent whose services socket programs of other users can reach."""
        self.allow_others()
        return self.start(Agent(self.subdirectory(name), **options))

    def run(self, result=None):
        result = self.defaultTestResult() if result is None else result
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) > before:
            for process in getattr(self, "processes", []):
                print(process.tail(), file=sys.stderr)
        return result

    @staticmethod
    def _end(process):
        if process.running:
            process.stop()

    def _remove_directory(self):
        if os.environ.get("KEYTURN_KEEP_TEST_DIRS"):
            print(f"kept {self.directory}", file=sys.stderr)
        else:
            shutil.rmtree(self.directory)
