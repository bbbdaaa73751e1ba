// SPDX-License-Identifier: Apache-2.0
// The simulated executor keeps the contract of base::Executor and the order of the real one.
#include "tests/fakes/simulated_executor.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/fakes/seeded_random.h"

namespace keyturn::fakes {
namespace {

class SimulatedExecutorTest : public testing::Test {
 protected:
  base::Executor::Task Note(const std::string& name) {
    return [this, name] { ran_.push_back(name); };
  }

  SimulatedClock clock_;
  SimulatedExecutor executor_{clock_};
  std::vector<std::string> ran_;
};

TEST_F(SimulatedExecutorTest, RunsTimersByTimeThenAgeAndShowsEachItsOwnTime) {
  const absl::Time start = clock_.WallNow();
  std::vector<absl::Duration> at;
  executor_.After(absl::Seconds(2), Note("late"));
  executor_.After(absl::Seconds(1), Note("first"));
  executor_.After(absl::Seconds(1), Note("second"));
  executor_.After(absl::Seconds(1), [&] { at.push_back(clock_.WallNow() - start); });
  EXPECT_EQ(executor_.AdvanceBy(absl::Milliseconds(999)), 0u);
  EXPECT_EQ(executor_.AdvanceBy(absl::Seconds(10)), 4u);
  EXPECT_EQ(ran_, (std::vector<std::string>{"first", "second", "late"}));
  EXPECT_EQ(at, std::vector<absl::Duration>{absl::Seconds(1)});
  EXPECT_EQ(clock_.WallNow() - start, absl::Milliseconds(10999));
}

TEST_F(SimulatedExecutorTest, ATimerSetByATaskRunsWithinTheSameAdvance) {
  executor_.Post([this] {
    ran_.push_back("posted");
    executor_.After(absl::Seconds(1), [this] {
      ran_.push_back("one");
      executor_.After(absl::Seconds(1), Note("two"));
    });
  });
  executor_.AdvanceBy(absl::Seconds(2));
  EXPECT_EQ(ran_, (std::vector<std::string>{"posted", "one", "two"}));
}

TEST_F(SimulatedExecutorTest, CancelStopsATimerOnceAndADueOneFromATask) {
  const auto id = executor_.After(absl::Seconds(1), Note("cancelled"));
  EXPECT_TRUE(executor_.Cancel(id));
  EXPECT_FALSE(executor_.Cancel(id));
  EXPECT_FALSE(executor_.Cancel(0));
  base::Executor::TimerId second = 0;
  executor_.After(absl::Seconds(1), [&] { EXPECT_TRUE(executor_.Cancel(second)); });
  second = executor_.After(absl::Seconds(1), Note("due at the same time"));
  executor_.AdvanceBy(absl::Seconds(5));
  EXPECT_TRUE(ran_.empty());
  EXPECT_TRUE(executor_.idle());
}

TEST_F(SimulatedExecutorTest, StepWallMovesTheWallClockAloneAndRunsNothing) {
  executor_.After(absl::Hours(1), Note("timer"));
  const base::BootTime boot = clock_.BootNow();
  clock_.StepWall(absl::Hours(24) * 3650);
  EXPECT_EQ(executor_.RunReady(), 0u);
  EXPECT_TRUE(clock_.BootNow() == boot);
  EXPECT_TRUE(executor_.NextTimerAt() == boot + absl::Hours(1));
  EXPECT_FALSE(executor_.AdvanceToNextTimer(absl::Minutes(59)));
  EXPECT_TRUE(executor_.AdvanceToNextTimer());
  EXPECT_EQ(ran_, std::vector<std::string>{"timer"});
}

TEST(SeededRandomTest, TheSameSeedGivesTheSameBytes) {
  SeededRandom a(7), b(7), c(8);
  const std::string bytes = a.Bytes(100);
  EXPECT_EQ(bytes, b.Bytes(100));
  EXPECT_NE(bytes, c.Bytes(100));
  EXPECT_NE(bytes, a.Bytes(100));
}

}  // namespace
}  // namespace keyturn::fakes
