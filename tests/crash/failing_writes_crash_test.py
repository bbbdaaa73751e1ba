# SPDX-License-Identifier: Apache-2.0
"""Every call with which SQLite changes a file in the course of a rotation fails once: each write,
sync, truncation and growing of an index, of the WAL and of the database. The disk is full and stays
so for a while, it is broken, half of a write arrives, a sync fails and what was not synced is gone,
or the process is killed with half a write done. SQLite checkpoints every 6 pages here, so those
calls are among them. The rotation ends by itself, nothing is lost, nothing is left over.

A point is a call and a kind of failure. By default a sample that takes about a minute: one point in
SAMPLE_EVERY, for two classes. All points of all classes, which takes about half an hour:

    KEYTURN_CRASH_WRITES=all ctest --test-dir build/release -R failing_writes --verbose
"""

import os
import unittest

# First: it makes the harness importable.
from rotation_lives import LivesTest, cases_of  # isort: skip

import grpc
import rotated_classes

ALL = os.environ.get("KEYTURN_CRASH_WRITES") == "all"
SAMPLE_EVERY = 1 if ALL else 9
KINDS = {"write": ("disk_full", "io_error", "short", "killed"),
         "sync": ("disk_full", "io_error", "lost_sync", "killed"),
         "truncate": ("disk_full", "io_error", "killed"),
         "grow": ("disk_full", "io_error", "killed")}


class _FailingWritesTest(LivesTest):
    def test_every_write_of_a_rotation(self):
        first = self.first_life()
        calls = self._undisturbed(first)
        for call in ("write:wal", "sync:wal", "write:db", "sync:db"):
            self.assertIn(call, calls)
        points = [(nth, kind) for nth, call in enumerate(calls, 1)
                  for kind in KINDS[call.split(":")[0]]]
        jobs = points[::SAMPLE_EVERY]
        self.outcomes = []
        self.share(first, jobs, self._fail)
        count = self.outcomes.count
        # How many calls there are differs a little from one rotation to the next.
        self.assertGreater(len(jobs) - count("not reached"), 0.9 * len(jobs))
        print(f"{self.rotated_class.__name__}: {len(jobs)} of {len(points)} points, at "
              f"{len(calls)} calls: {count('held')} steps held, {count('unharmed')} passed unharmed, "
              f"{count('killed')} killed, "
              f"{count('not reached')} not reached; {self.reads} reads, none of them a dead key")

    def _calls(self, life):
        return [line for line in self.all_points(life.name) if line.count(":") == 1]

    def _undisturbed(self, life):
        self.forget_points(life.name)
        life.start(fail_write="0:io_error")
        life.rotated.rotate(life.agent)
        life.check()
        calls = self._calls(life)
        life.stop()
        return calls

    def _fail(self, life, job):
        nth, kind = job
        self.forget_points(life.name)
        life.start(fail_write=f"{nth}:{kind}")
        before = life.value()
        try:
            life.rotated.rotate(life.agent)
            life.check()
        except (AssertionError, grpc.RpcError):
            if kind != "killed":
                raise
            life.agent.wait_killed(f"call {nth}")
            self.outcomes.append("killed")
            life.recovered(first_kill=True)
            return
        assert life.value() != before, "nothing was rotated"
        reached = len(self._calls(life)) >= nth
        self.outcomes.append(self._reported(life) if reached else "not reached")
        if reached:
            life.stop()
        else:
            life.kill()  # what is to come may come as it closes the store

    @staticmethod
    def _reported(life):
        """What fails in a commit is reported, and that it passed later; a checkpoint that fails is
        made up for by the next and harms nobody."""
        events = life.agent.events("STORE_FULL")
        causes = [record.get("cause") for record in events if record["event"] == "failure"]
        assert set(causes) <= {"disk_full", "store_error"}, f"reported: {events}"
        assert not causes or events[-1]["event"] == "RESOLVED", f"reported: {events}"
        return "held" if causes else "unharmed"


CASES, load_tests = cases_of(_FailingWritesTest, "WritesTest",
                             (rotated_classes.ALL if ALL else
                              (rotated_classes.Untagged, rotated_classes.DualSlot)))
globals().update(CASES)


if __name__ == "__main__":
    unittest.main()
