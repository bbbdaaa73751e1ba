# SPDX-License-Identifier: Apache-2.0
"""Two kills: the agent is killed at step i of a rotation, started again, and killed at the j-th
step of what it does then; after the third start everything has to hold as after one kill. For
classes tagged, dual_slot and self_roll (with and without recovery).

By default a sample that takes about a minute: the pairs (i, j) with i + 2j divisible by
SAMPLE_EVERY, one in seven, evenly spread over the square. The whole square, which takes about ten
minutes:

    KEYTURN_CRASH_PAIRS=all ctest --test-dir build/release -R rotation_pairs --verbose
"""

import itertools
import os
import unittest

# First: it makes the harness importable.
from rotation_lives import LivesTest, cases_of  # isort: skip

import rotated_classes

SAMPLE_EVERY = 1 if os.environ.get("KEYTURN_CRASH_PAIRS") == "all" else 7


class _PairsCrashTest(LivesTest):
    def test_two_kills(self):
        first = self.first_life()
        points = first.undisturbed()
        killed = []  # (i, j) that did kill twice

        def crash_twice(life, job):
            i, (point, count) = job
            for j in itertools.count(1):
                if (i + 2 * j) % SAMPLE_EVERY != 0:
                    if j > len(points):
                        return
                    continue
                life.killed_at(point, count)
                if not life.killed_in_recovery(j):
                    life.check()
                    life.stop()
                    return  # the recovery has fewer steps
                killed.append((i, j))
                life.recovered(first_kill=False)
        self.share(first, list(enumerate(points)), crash_twice)
        self.assertGreater(len(killed), len(points) // 3)
        print(f"{self.rotated_class.__name__}: killed twice at {len(killed)} pairs of points, "
              f"{self.reads} reads, none of them a dead key")


CASES, load_tests = cases_of(_PairsCrashTest, "PairsTest",
                             (rotated_classes.Tagged, rotated_classes.DualSlot,
                              rotated_classes.SelfRoll, rotated_classes.SelfRollAlone))
globals().update(CASES)


if __name__ == "__main__":
    unittest.main()
