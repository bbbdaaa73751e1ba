// SPDX-License-Identifier: Apache-2.0
// Stored moments: by the boot they are of, else by the date.
#include "agent/base/clock.h"

#include <gtest/gtest.h>

#include "tests/fakes/simulated_clock.h"

namespace keyturn::base {
namespace {

TEST(Clock, TheMachineNamesItsBoot) {
  EXPECT_FALSE(SystemClock().BootId().empty());
  EXPECT_EQ(SystemClock().BootId(), SystemClock().BootId());
}

TEST(Clock, AMomentOfThisBootDoesNotMoveWithTheDate) {
  fakes::SimulatedClock clock;
  const absl::Time wall = clock.WallNow();
  const BootStamp stamp = clock.Stamp(clock.BootNow());
  clock.Advance(absl::Hours(2));
  clock.StepWall(-absl::Hours(50));
  EXPECT_EQ(clock.BootNow() - clock.ToBoot(wall, stamp), absl::Hours(2));
  EXPECT_EQ(clock.BootNow() - clock.ToBoot(wall), -absl::Hours(48));
}

TEST(Clock, AMomentOfAnotherBootGoesByTheDate) {
  fakes::SimulatedClock clock;
  const absl::Time wall = clock.WallNow();
  const BootStamp stamp = clock.Stamp(clock.BootNow());
  clock.Reboot(absl::Minutes(3));
  EXPECT_FALSE(clock.IsOfThisBoot(stamp));
  EXPECT_EQ(clock.BootNow() - clock.ToBoot(wall, stamp), absl::Minutes(3));
}

TEST(Clock, AMomentWithoutABootGoesByTheDate) {
  fakes::SimulatedClock clock;
  const absl::Time wall = clock.WallNow();
  clock.StepWall(absl::Hours(1));
  EXPECT_EQ(clock.BootNow() - clock.ToBoot(wall, {}), absl::Hours(1));
}

}  // namespace
}  // namespace keyturn::base
