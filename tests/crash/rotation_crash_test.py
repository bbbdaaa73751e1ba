# SPDX-License-Identifier: Apache-2.0
"""The agent is killed with SIGKILL at every step of a rotation and started again, for every
provider class: the rotation ends by itself, what is handed out works, and the service holds exactly
the keys that the agent knows. Which steps there are is read off one undisturbed rotation; a step
that is passed twice is two.

Classes roll and self_roll have their stated exception: the old key dies with the making of the new
one. A lost key of class self_roll is reported, and made again by the credential's `recovery`, or by
a person where it says `accept_loss`. KEYTURN_CRASH_LIVES=N sets how many agents work at the same
time.
"""

import unittest

# First: it makes the harness importable.
from rotation_lives import LivesTest, cases_of  # isort: skip

import rotated_classes


class _RotationCrashTest(LivesTest):
    def test_every_step_of_a_rotation(self):
        first = self.first_life()
        points = first.undisturbed()
        names = {point for point, _ in points}
        self.assertEqual(set(), set(self.rotated_class.expected) - names)

        def crash(life, job):
            life.killed_at(*job)
            life.recovered(first_kill=True)
        self.share(first, points, crash)
        print(f"{self.rotated_class.__name__}: killed at {len(points)} points, "
              f"{self.reads} reads, none of them a dead key")


CASES, load_tests = cases_of(_RotationCrashTest, "Test", rotated_classes.ALL)
globals().update(CASES)


if __name__ == "__main__":
    unittest.main()
