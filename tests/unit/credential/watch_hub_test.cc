// SPDX-License-Identifier: Apache-2.0
// Watchers hear of changes once, in bounded memory, and never after they have left.
#include "agent/credential/watch_hub.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <thread>

namespace keyturn::credential {
namespace {

TEST(WatchHub, WakesOnceUntilAllIsTaken) {
  WatchHub hub;
  int woken = 0;
  const auto subscription = hub.Subscribe({"a", "b"}, [&] { ++woken; });
  EXPECT_EQ(subscription->TakeChanged(), "");
  for (int i = 0; i < 1000; ++i) hub.Changed(i % 2 == 0 ? "a" : "b");
  EXPECT_EQ(woken, 1);
  std::set<std::string> taken = {subscription->TakeChanged(), subscription->TakeChanged()};
  EXPECT_EQ(taken, (std::set<std::string>{"a", "b"}));
  EXPECT_EQ(subscription->TakeChanged(), "") << "a thousand changes are one thing to tell";
  hub.Changed("a");
  EXPECT_EQ(woken, 2);
}

TEST(WatchHub, OthersNamesDoNotWake) {
  WatchHub hub;
  int woken = 0;
  const auto subscription = hub.Subscribe({"a"}, [&] { ++woken; });
  hub.Changed("b");
  EXPECT_EQ(woken, 0);
}

TEST(WatchHub, EachWatcherIsToldAndNobodyAfterLeaving) {
  WatchHub hub;
  int one = 0, two = 0;
  auto first = hub.Subscribe({"a"}, [&] { ++one; });
  const auto second = hub.Subscribe({"a"}, [&] { ++two; });
  hub.Changed("a");
  first.reset();
  second->TakeChanged();
  hub.Changed("a");
  EXPECT_EQ(one, 1);
  EXPECT_EQ(two, 2);
}

TEST(WatchHub, LeavingWhileBeingToldIsSafe) {
  WatchHub hub;
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    while (!stop) hub.Changed("a");
  });
  for (int i = 0; i < 2000; ++i) {
    auto alive = std::make_unique<std::atomic<int>>(0);
    const auto subscription = hub.Subscribe({"a"}, [counter = alive.get()] { ++*counter; });
    subscription->TakeChanged();
  }  // the subscription ends before what it wakes
  stop = true;
  writer.join();
}

}  // namespace
}  // namespace keyturn::credential
