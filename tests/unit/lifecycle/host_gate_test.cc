// SPDX-License-Identifier: Apache-2.0
// What a gate lets through, for every order of wishes and outcomes.
#include "agent/lifecycle/oauth/host_gate.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace keyturn::lifecycle::oauth {
namespace {

using Outcome = HostGate::Outcome;

const base::BootTime kStart{absl::Hours(1)};

HostGate::Wish Plain(const std::string& name) {
  return {name, false, false, kStart + absl::Hours(1)};
}

TEST(HostGate, ABurstGoesAtOnceAndTheRestOneASecond) {
  HostGate gate;
  for (int i = 0; i < 30; ++i) gate.Want(Plain(absl::StrCat("c", i)));
  int sent = 0;
  while (gate.Take(kStart)) ++sent;
  EXPECT_EQ(sent, 20);
  EXPECT_EQ(gate.NextAt(kStart), kStart + absl::Seconds(1));
  EXPECT_FALSE(gate.Take(kStart + absl::Milliseconds(999)));
  EXPECT_TRUE(gate.Take(kStart + absl::Seconds(1)));
  EXPECT_FALSE(gate.Take(kStart + absl::Seconds(1)));
}

TEST(HostGate, WhoIsWaitedForGoesFirstAndThenWhoseTokenEndsSoonest) {
  HostGate gate;
  gate.Want({"late", false, false, kStart + absl::Minutes(9)});
  gate.Want({"soon", false, false, kStart + absl::Minutes(1)});
  gate.Want({"awaited", false, true, kStart + absl::Minutes(8)});
  gate.Want({"urgent", false, true, kStart - absl::Minutes(1)});
  gate.Want({"also late", false, false, kStart + absl::Minutes(9)});
  std::vector<std::string> order;
  while (auto permit = gate.Take(kStart)) order.push_back(permit->credential);
  EXPECT_EQ(order, (std::vector<std::string>{"urgent", "awaited", "soon", "late", "also late"}));
}

TEST(HostGate, AWishThatIsRepeatedCountsOnceAsItWasSaidLast) {
  HostGate gate;
  gate.Want(Plain("a"));
  gate.Want(Plain("b"));
  gate.Want({"b", false, true, kStart});
  EXPECT_TRUE(gate.Wants("b"));
  EXPECT_EQ(gate.Take(kStart)->credential, "b");
  EXPECT_FALSE(gate.Wants("b"));
  gate.Forget("a");
  EXPECT_FALSE(gate.Take(kStart));
  EXPECT_EQ(gate.NextAt(kStart), base::BootTime::InfiniteFuture());
}

// Sends one and fails it.
void Fail(HostGate& gate, base::BootTime at, Outcome outcome = Outcome::kDown) {
  gate.Want(Plain("a"));
  const auto permit = gate.Take(at);
  ASSERT_TRUE(permit);
  gate.Report(*permit, outcome, at);
}

TEST(HostGate, FiveFailuresInARowStopEverythingButOneProbe) {
  HostGate gate;
  for (int i = 0; i < 4; ++i) Fail(gate, kStart + absl::Seconds(i));
  EXPECT_FALSE(gate.down());
  const base::BootTime down = kStart + absl::Seconds(5);
  Fail(gate, down);
  EXPECT_TRUE(gate.down());
  EXPECT_EQ(gate.down_until(), down + absl::Seconds(30));
  gate.Want(Plain("a"));
  gate.Want(Plain("b"));
  EXPECT_EQ(gate.NextAt(down), gate.down_until());
  EXPECT_FALSE(gate.Take(down + absl::Seconds(29)));
  const base::BootTime probe_at = gate.down_until();
  const auto probe = gate.Take(probe_at);
  ASSERT_TRUE(probe);
  EXPECT_TRUE(probe->probe);
  EXPECT_FALSE(gate.Take(probe_at)) << "a second probe beside the first";
  EXPECT_EQ(gate.NextAt(probe_at), base::BootTime::InfiniteFuture());
  gate.Report(*probe, Outcome::kDown, probe_at + absl::Seconds(1));
  EXPECT_EQ(gate.down_until(), probe_at + absl::Seconds(61)) << "twice as long";
}

TEST(HostGate, ThePauseEndsAtFiveMinutesAndASuccessForgetsAll) {
  HostGate gate;
  for (int i = 0; i < 5; ++i) Fail(gate, kStart);
  for (int i = 0; i < 8; ++i) {
    gate.Want(Plain("a"));
    const base::BootTime at = gate.down_until();
    const auto probe = gate.Take(at);
    ASSERT_TRUE(probe);
    gate.Report(*probe, i % 2 == 0 ? Outcome::kDown : Outcome::kUnclear, at);
    EXPECT_LE(gate.down_until() - at, absl::Minutes(5));
  }
  gate.Want(Plain("a"));
  const base::BootTime at = gate.down_until();
  gate.Report(*gate.Take(at), Outcome::kUp, at);
  EXPECT_FALSE(gate.down());
  for (int i = 0; i < 4; ++i) Fail(gate, at);
  EXPECT_FALSE(gate.down());
}

TEST(HostGate, FailuresThatAreNotInARowOrLongAgoDoNotCount) {
  HostGate gate;
  for (int i = 0; i < 20; ++i) Fail(gate, kStart + i * absl::Seconds(16));
  EXPECT_FALSE(gate.down()) << "four a minute";
  const base::BootTime later = kStart + absl::Hours(1);
  for (int i = 0; i < 12; ++i) {
    Fail(gate, later + i * absl::Seconds(1), i % 4 == 3 ? Outcome::kUp : Outcome::kDown);
  }
  EXPECT_FALSE(gate.down());
  for (int i = 0; i < 9; ++i) Fail(gate, later + absl::Hours(1), Outcome::kUnclear);
  EXPECT_FALSE(gate.down()) << "a proxy's page says nothing about the host";
}

TEST(HostGate, AProbeThatWasNotSentLeavesRoomForTheNext) {
  HostGate gate;
  for (int i = 0; i < 5; ++i) Fail(gate, kStart);
  gate.Want(Plain("a"));
  gate.Want(Plain("b"));
  const base::BootTime at = gate.down_until();
  gate.Report(*gate.Take(at), Outcome::kNotSent, at);
  EXPECT_TRUE(gate.down());
  const auto next = gate.Take(at);
  ASSERT_TRUE(next);
  EXPECT_TRUE(next->probe);
}

TEST(HostGate, ALateReplyOfBeforeIsHeard) {
  HostGate gate;
  gate.Want(Plain("slow"));
  gate.Want(Plain("slower"));
  const auto slow = gate.Take(kStart);
  const auto slower = gate.Take(kStart);
  for (int i = 0; i < 5; ++i) Fail(gate, kStart);
  const base::BootTime until = gate.down_until();
  gate.Report(*slow, Outcome::kDown, kStart + absl::Seconds(20));
  EXPECT_EQ(gate.down_until(), until) << "the pause was lengthened by an old failure";
  gate.Want(Plain("a"));
  const auto probe = gate.Take(until);
  ASSERT_TRUE(probe);
  gate.Report(*slower, Outcome::kUp, until);
  EXPECT_FALSE(gate.down());
  gate.Report(*probe, Outcome::kDown, until + absl::Seconds(1));
  EXPECT_FALSE(gate.down()) << "one failure after a success";
}

TEST(HostGate, ALoneTokenMayTryAgainThreeTimesAMinute) {
  HostGate gate;
  const auto retry = [&](base::BootTime at) {
    gate.Want({"a", true, true, kStart});
    return gate.Take(at).has_value();
  };
  EXPECT_TRUE(retry(kStart));
  EXPECT_TRUE(retry(kStart + absl::Seconds(1)));
  EXPECT_TRUE(retry(kStart + absl::Seconds(2)));
  EXPECT_FALSE(retry(kStart + absl::Seconds(3)));
  EXPECT_EQ(gate.NextAt(kStart + absl::Seconds(3)), kStart + absl::Seconds(60));
  // What is no retry overtakes it.
  gate.Want(Plain("b"));
  EXPECT_EQ(gate.NextAt(kStart + absl::Seconds(3)), kStart + absl::Seconds(3));
  EXPECT_EQ(gate.Take(kStart + absl::Seconds(3))->credential, "b");
  EXPECT_EQ(gate.Take(kStart + absl::Seconds(60))->credential, "a");
}

struct Sent {
  base::BootTime at;
  bool retry;
  bool probe;
};

// Whatever is wished for and however it goes, the host is never asked more than it is promised, and
// nothing that is wished for waits for ever.
RC_GTEST_PROP(HostGate, KeepsItsPromises, ()) {
  HostGate gate;
  base::BootTime now = kStart;
  std::deque<HostGate::Permit> under_way;
  std::vector<Sent> sent;
  std::map<std::string, bool> wished;
  const int steps = *rc::gen::inRange(1, 400);
  for (int i = 0; i < steps; ++i) {
    now = now + absl::Milliseconds(*rc::gen::weightedOneOf<int>(
                    {{6, rc::gen::inRange(0, 300)}, {1, rc::gen::inRange(0, 60'000)}}));
    switch (*rc::gen::inRange(0, 4)) {
      case 0: {
        const std::string name = absl::StrCat("c", *rc::gen::inRange(0, 40));
        const bool retry = *rc::gen::weightedElement<bool>({{3, false}, {1, true}});
        wished[name] = retry;
        gate.Want({name, retry, *rc::gen::arbitrary<bool>(),
                   now + absl::Seconds(*rc::gen::inRange(-60, 600))});
        break;
      }
      case 1:
        if (!under_way.empty()) {
          gate.Report(under_way.front(),
                      *rc::gen::weightedElement<Outcome>({{2, Outcome::kUp},
                                                          {5, Outcome::kDown},
                                                          {1, Outcome::kUnclear},
                                                          {1, Outcome::kNotSent}}),
                      now);
          under_way.pop_front();
        }
        break;
      default: {
        const base::BootTime next = gate.NextAt(now);
        const bool due = next <= now;
        const auto permit = gate.Take(now);
        RC_ASSERT(permit.has_value() == due);
        if (!permit) break;
        RC_ASSERT(wished.count(permit->credential) == 1u);
        RC_ASSERT(permit->probe == gate.down());
        sent.push_back({now, wished[permit->credential], permit->probe});
        wished.erase(permit->credential);
        under_way.push_back(*permit);
      }
    }
  }
  for (size_t i = 0; i < sent.size(); ++i) {
    size_t minute = 0, of_ten = 0, retries = 0, retries_minute = 0;
    for (size_t j = 0; j <= i; ++j) {
      const absl::Duration ago = sent[i].at - sent[j].at;
      if (ago < absl::Seconds(60)) ++minute;
      if (ago < absl::Minutes(10)) ++of_ten;
      if (!sent[j].retry || sent[j].probe) continue;
      if (ago < absl::Minutes(10)) ++retries;
      if (ago < absl::Seconds(60)) ++retries_minute;
    }
    RC_ASSERT(minute <= 80u);
    if (sent[i].retry && !sent[i].probe) {
      RC_ASSERT(static_cast<double>(retries) <= 0.10 * static_cast<double>(of_ten) + 1e-9 ||
                retries_minute <= 3u);
    }
  }
  // Let all that is under way end well: the rest goes, each at the time that was told.
  for (const HostGate::Permit& permit : under_way) gate.Report(permit, Outcome::kUp, now);
  for (size_t left = wished.size(); left > 0; --left) {
    const base::BootTime next = gate.NextAt(now);
    RC_ASSERT(next < base::BootTime::InfiniteFuture());
    now = std::max(now, next);
    const auto permit = gate.Take(now);
    RC_ASSERT(permit.has_value());
    gate.Report(*permit, Outcome::kUp, now);
  }
  RC_ASSERT(gate.NextAt(now) == base::BootTime::InfiniteFuture());
}

}  // namespace
}  // namespace keyturn::lifecycle::oauth
