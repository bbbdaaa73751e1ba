// SPDX-License-Identifier: Apache-2.0
// The real executor: order, timers, cancelling, stopping. Waits are for events, never for time.
#include "agent/base/serial_executor.h"

#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

namespace keyturn::base {
namespace {

TEST(SerialExecutor, RunsPostedTasksInOrderOnOneThread) {
  SerialExecutor executor("test");
  std::vector<int> ran;
  std::thread::id thread;
  absl::Notification done;
  executor.Post([&] { thread = std::this_thread::get_id(); });
  for (int i = 0; i < 1000; ++i) {
    executor.Post([&, i] {
      EXPECT_EQ(std::this_thread::get_id(), thread);
      ran.push_back(i);
    });
  }
  executor.Post([&] { done.Notify(); });
  done.WaitForNotification();
  EXPECT_NE(thread, std::this_thread::get_id());
  ASSERT_EQ(ran.size(), 1000u);
  for (int i = 0; i < 1000; ++i) EXPECT_EQ(ran[static_cast<size_t>(i)], i);
}

TEST(SerialExecutor, TimersRunByTimeThenAge) {
  SerialExecutor executor("test");
  std::vector<int> ran;
  absl::Notification done;
  executor.Post([&] {
    executor.After(absl::Milliseconds(20), [&] {
      ran.push_back(3);
      done.Notify();
    });
    executor.After(absl::Milliseconds(5), [&] { ran.push_back(1); });
    executor.After(absl::Milliseconds(5), [&] { ran.push_back(2); });
    executor.After(-absl::Seconds(1), [&] { ran.push_back(0); });
  });
  done.WaitForNotification();
  EXPECT_EQ(ran, (std::vector<int>{0, 1, 2, 3}));
}

TEST(SerialExecutor, ATimerIsNeverEarly) {
  SerialExecutor executor("test");
  absl::Notification done;
  const BootTime start = SystemClock().BootNow();
  executor.After(absl::Milliseconds(15), [&] { done.Notify(); });
  done.WaitForNotification();
  EXPECT_GE(SystemClock().BootNow() - start, absl::Milliseconds(15));
}

TEST(SerialExecutor, ATaskCanStillCancelATimerThatIsDueAsWell) {
  SerialExecutor executor("test");
  absl::Notification done;
  bool ran = false;
  executor.Post([&] {
    const auto second = std::make_shared<Executor::TimerId>(0);
    executor.After(absl::ZeroDuration(), [&, second] {
      EXPECT_TRUE(executor.Cancel(*second));
      EXPECT_FALSE(executor.Cancel(*second));
    });
    *second = executor.After(absl::ZeroDuration(), [&] { ran = true; });
    executor.After(absl::Milliseconds(1), [&] { done.Notify(); });
  });
  done.WaitForNotification();
  EXPECT_FALSE(ran);
  EXPECT_FALSE(executor.Cancel(0));
  EXPECT_FALSE(executor.Cancel(12345));
}

TEST(SerialExecutor, StopDestroysWhatDidNotRunWithoutRunningIt) {
  auto held = std::make_shared<int>(1);
  std::atomic<bool> ran = false;
  SerialExecutor executor("test");
  executor.After(absl::Hours(1), [held, &ran] { ran = true; });
  executor.After(absl::InfiniteDuration(), [held, &ran] { ran = true; });
  executor.Stop();
  EXPECT_EQ(held.use_count(), 1);
  executor.Post([held, &ran] { ran = true; });
  EXPECT_EQ(executor.After(absl::ZeroDuration(), [held, &ran] { ran = true; }), 0u);
  EXPECT_EQ(held.use_count(), 1);
  executor.Stop();
  EXPECT_FALSE(ran);
}

// Setting the clock to what it shows is a setting like any other, and disturbs nobody.
TEST(SerialExecutor, IsToldEachTimeTheDateIsSet) {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (clock_settime(CLOCK_REALTIME, &now) != 0) {
    GTEST_SKIP() << "only root, and not in every container, can set the clock";
  }
  SerialExecutor executor("test");
  absl::Mutex mu;
  int told = 0;
  executor.OnClockSet([&] {
    absl::MutexLock lock(&mu);
    ++told;
  });
  for (int i = 1; i <= 3; ++i) {
    clock_gettime(CLOCK_REALTIME, &now);
    ASSERT_EQ(clock_settime(CLOCK_REALTIME, &now), 0);
    const auto heard = [&] { return told >= i; };
    absl::MutexLock lock(&mu);
    EXPECT_TRUE(mu.AwaitWithTimeout(absl::Condition(&heard), absl::Seconds(30))) << i;
  }
}

}  // namespace
}  // namespace keyturn::base
