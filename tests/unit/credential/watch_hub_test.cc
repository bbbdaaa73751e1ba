// SPDX-License-Identifier: Apache-2.0
// Watchers hear of changes once, in bounded memory, and never after they have left.
#include "agent/credential/watch_hub.h"

#include <gmock/gmock.h>
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
  const auto subscription = hub.Subscribe("someone", {"a", "b"}, [&] { ++woken; });
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
  const auto subscription = hub.Subscribe("someone", {"a"}, [&] { ++woken; });
  hub.Changed("b");
  EXPECT_EQ(woken, 0);
}

TEST(WatchHub, EachWatcherIsToldAndNobodyAfterLeaving) {
  WatchHub hub;
  int one = 0, two = 0;
  auto first = hub.Subscribe("someone", {"a"}, [&] { ++one; });
  const auto second = hub.Subscribe("someone", {"a"}, [&] { ++two; });
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
    const auto subscription =
        hub.Subscribe("someone", {"a"}, [counter = alive.get()] { ++*counter; });
    subscription->TakeChanged();
  }  // the subscription ends before what it wakes
  stop = true;
  writer.join();
}

TEST(WatchHub, KnowsWhoWatches) {
  WatchHub hub;
  auto one = hub.Subscribe("one", {"a", "b"}, [] {});
  auto two = hub.Subscribe("two", {"a"}, [] {});
  EXPECT_THAT(hub.Watching("a"), testing::UnorderedElementsAre("one", "two"));
  EXPECT_THAT(hub.Watching("b"), testing::ElementsAre("one"));
  one = nullptr;
  EXPECT_THAT(hub.Watching("a"), testing::ElementsAre("two"));
  EXPECT_THAT(hub.Watching("b"), testing::IsEmpty());
}

}  // namespace
}  // namespace keyturn::credential
