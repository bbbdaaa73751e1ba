# SPDX-License-Identifier: Apache-2.0
"""Every commit of a rotation fails once: the disk is full, the disk is broken, or the store cannot
say whether it wrote. The step is held and tried again, the rotation ends by itself, nothing is lost
and nothing is left over; STORE_FULL is in the log, and its RESOLVED.

When the store cannot say, it reads back: it finds what it wrote, or fails as for a broken disk.
"""

import itertools
import unittest

# First: it makes the harness importable.
from rotation_lives import LivesTest, cases_of  # isort: skip

import rotated_classes

# Kind -> the cause that is reported; None: reading back shows that the commit was done.
KINDS = {"disk_full": "disk_full", "broken_disk": "store_error", "unknown_before": "store_error",
         "unknown_after": None}


class _FailingCommitsTest(LivesTest):
    def test_every_commit_of_a_rotation(self):
        first = self.first_life()
        commits = sum(point.endswith(":before_commit") for point, _ in first.undisturbed())
        self.assertGreaterEqual(commits, 3)
        jobs = list(itertools.product(range(1, commits + 1), KINDS))
        self.share(first, jobs, self._fail)
        print(f"{self.rotated_class.__name__}: {commits} commits failed in {len(KINDS)} ways")

    def _fail(self, life, job):
        nth, kind = job
        life.start(fail_commit=f"{nth}:{kind}")
        before = life.value()
        life.rotated.rotate(life.agent)
        life.check()
        assert life.value() != before, "nothing was rotated"
        events = life.agent.events("STORE_FULL")
        causes = [record.get("cause") for record in events if record["event"] == "failure"]
        resolved = [record for record in events if record["event"] != "failure"]
        expected = [] if KINDS[kind] is None else [KINDS[kind]]
        assert causes == expected and len(resolved) == len(expected), f"reported: {events}"
        life.stop()


CASES, load_tests = cases_of(_FailingCommitsTest, "CommitsTest",
                             (rotated_classes.Untagged, rotated_classes.DualSlot,
                              rotated_classes.SelfRoll, rotated_classes.Manual))
globals().update(CASES)


if __name__ == "__main__":
    unittest.main()
