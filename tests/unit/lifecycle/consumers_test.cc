// SPDX-License-Identifier: Apache-2.0
// The rules by which a version counts as used, and the queue in front of them.
#include "agent/lifecycle/consumers.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "agent/lifecycle/delivery_queue.h"

namespace keyturn::lifecycle {
namespace {

constexpr char kOne[] = "unix:uid=7,user=bot,gid=7,pid=100";
constexpr char kTwo[] = "unix:uid=7,user=bot,gid=7,pid=200";
constexpr char kOther[] = "unix:uid=8,user=web,gid=8,pid=300";
constexpr char kElsewhere[] = "unix:uid=7,user=bot,gid=7,pid=0";

class ConsumersTest : public testing::Test {
 protected:
  RecordChange Give(const std::string& principal, uint64_t version) {
    return Remember(record_, {"a", principal, version, now_, false});
  }
  RecordChange Acknowledge(const std::string& principal, uint64_t version) {
    return Remember(record_, {"a", principal, version, now_, true});
  }
  bool MovedOn(uint64_t old_version, uint64_t current) const {
    return ConsumersMovedOn(record_, old_version, current, now_);
  }
  RecordChange PruneEnded(const std::set<std::string>& ended) {
    return Prune(record_, now_, [&](absl::string_view principal) {
      return ended.count(std::string(principal)) != 0;
    });
  }

  store::ConsumersRecord record_;
  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
};

TEST_F(ConsumersTest, NobodyHoldsWhatNobodyWasGiven) { EXPECT_TRUE(MovedOn(1, 2)); }

TEST_F(ConsumersTest, AConsumerMovesOnWhenItIsGivenTheNewVersion) {
  EXPECT_EQ(Give(kOne, 1), RecordChange::kNews);
  EXPECT_EQ(Give(kOther, 1), RecordChange::kNews);
  EXPECT_FALSE(MovedOn(1, 2));
  Give(kOne, 2);
  ASSERT_EQ(HoldersOf(record_, 1, 2, now_).size(), 1u);
  EXPECT_EQ(HoldersOf(record_, 1, 2, now_)[0].principal, kOther);
  Give(kOther, 2);
  EXPECT_TRUE(MovedOn(1, 2));
}

TEST_F(ConsumersTest, WhoHasEverAcknowledgedMovesOnByAcknowledgingOnly) {
  Give(kOne, 1);
  EXPECT_EQ(Acknowledge(kOne, 1), RecordChange::kNews);
  Give(kOne, 2);
  EXPECT_FALSE(MovedOn(1, 2)) << "it has the new key, and may not use it yet";
  EXPECT_TRUE(HoldersOf(record_, 1, 2, now_)[0].acknowledged);
  Acknowledge(kOne, 2);
  EXPECT_TRUE(MovedOn(1, 2));
  EXPECT_FALSE(MovedOn(2, 3));
}

TEST_F(ConsumersTest, AnAcknowledgementOfSomethingNeverSeenGivenCounts) {
  EXPECT_EQ(Acknowledge(kOne, 1), RecordChange::kNews);
  EXPECT_FALSE(MovedOn(1, 2));
}

TEST_F(ConsumersTest, AfterAnUndoTheLowerNumberIsTheNewOne) {
  Give(kOne, 1);
  Give(kOne, 2);
  EXPECT_FALSE(MovedOn(2, 1));
  Give(kOne, 1);
  EXPECT_TRUE(MovedOn(2, 1));
}

TEST_F(ConsumersTest, WhoIsNotSeenForADayHasGone) {
  Give(kOne, 1);
  now_ += kConsumerGoneAfter;
  EXPECT_FALSE(MovedOn(1, 2));
  now_ += absl::Seconds(1);
  EXPECT_TRUE(MovedOn(1, 2));
  EXPECT_TRUE(HoldersOf(record_, now_).empty());
  EXPECT_EQ(PruneEnded({}), RecordChange::kNews);
  EXPECT_TRUE(record_.consumers.empty());
}

TEST_F(ConsumersTest, BeingSeenAgainIsNoNews) {
  Give(kOne, 1);
  EXPECT_EQ(Give(kOne, 1), RecordChange::kNone);
  now_ += absl::Hours(1);
  EXPECT_EQ(Give(kOne, 1), RecordChange::kSeenAgain);
  EXPECT_EQ(HoldersOf(record_, now_)[0].since, now_ - absl::Hours(1));
  EXPECT_EQ(HoldersOf(record_, now_)[0].last_given, now_);
}

TEST_F(ConsumersTest, ProcessesThatCannotBeToldApartHoldUntilTheyHaveGone) {
  Give(kElsewhere, 1);
  Give(kElsewhere, 2);
  Acknowledge(kElsewhere, 2);
  EXPECT_FALSE(MovedOn(1, 2)) << "another one of them may still use the old version";
  now_ += kConsumerGoneAfter + absl::Seconds(1);
  EXPECT_TRUE(MovedOn(1, 2));
}

TEST_F(ConsumersTest, BeyondTheMostThatAreNamedTheOthersHoldAsOne) {
  for (size_t i = 0; i < kConsumersMax; ++i) Give(absl::StrCat("unix:uid=1,gid=1,pid=", i + 1), 2);
  EXPECT_TRUE(MovedOn(1, 2));
  EXPECT_EQ(Give(kOne, 2), RecordChange::kNews);
  EXPECT_EQ(Acknowledge(kOther, 2), RecordChange::kNone);
  EXPECT_EQ(record_.consumers.size(), kConsumersMax + 1);
  const auto holders = HoldersOf(record_, 1, 2, now_);
  ASSERT_EQ(holders.size(), 1u);
  EXPECT_EQ(holders[0].principal, "");
}

TEST_F(ConsumersTest, AProcessThatEndedIsSucceededByAnotherOfItsUser) {
  Give(kOne, 1);
  now_ += absl::Minutes(1);
  Give(kOther, 1);
  EXPECT_EQ(PruneEnded({kOne}), RecordChange::kNone) << "nobody has come in its place";
  Give(kTwo, 2);
  EXPECT_EQ(PruneEnded({}), RecordChange::kNone) << "it still runs";
  EXPECT_EQ(PruneEnded({kOne}), RecordChange::kNews);
  ASSERT_EQ(HoldersOf(record_, 1, 2, now_).size(), 1u);
  EXPECT_EQ(HoldersOf(record_, 1, 2, now_)[0].principal, kOther);
}

TEST_F(ConsumersTest, AProcessThatWasThereBeforeIsNoSuccessor) {
  Give(kTwo, 2);
  now_ += absl::Minutes(1);
  Give(kOne, 1);  // after an undo, say
  EXPECT_EQ(PruneEnded({kOne}), RecordChange::kNone);
}

TEST_F(ConsumersTest, OfManyShortProcessesOneIsRemembered) {
  std::set<std::string> ended;
  for (int i = 1; i <= 500; ++i) {
    const std::string principal = absl::StrCat("unix:uid=7,gid=7,pid=", i);
    Give(principal, 1);
    ended.insert(principal);
    PruneEnded(ended);
    now_ += absl::Minutes(1);
  }
  ASSERT_EQ(record_.consumers.size(), 1u);
  EXPECT_FALSE(MovedOn(1, 2));
  Give("unix:uid=7,gid=7,pid=501", 2);
  PruneEnded(ended);
  EXPECT_TRUE(MovedOn(1, 2));
}

TEST(DeliveryQueue, KeepsTheLastDeliveryToEachPrincipal) {
  DeliveryQueue queue;
  EXPECT_TRUE(queue.Push({"a", kOne, 1, {}, false}));
  EXPECT_FALSE(queue.Push({"a", kOne, 2, {}, false}));
  EXPECT_FALSE(queue.Push({"b", kOne, 1, {}, false}));
  uint64_t of_a = 0;
  const auto taken = queue.Take();
  for (const Delivery& delivery : taken) of_a += delivery.credential == "a" ? delivery.version : 0;
  EXPECT_EQ(taken.size(), 2u);
  EXPECT_EQ(of_a, 2u);
  EXPECT_TRUE(queue.Push({"a", kOne, 2, {}, false}));
}

TEST(DeliveryQueue, WhatFindsNoRoomIsADeliveryToSomebody) {
  DeliveryQueue queue(2);
  queue.Push({"a", kOne, 1, {}, false});
  queue.Push({"a", kTwo, 1, {}, false});
  for (int i = 0; i < 100; ++i) queue.Push({"b", absl::StrCat("p", i), 1, {}, false});
  queue.Push({"a", kTwo, 2, {}, false});
  const auto taken = queue.Take();
  ASSERT_EQ(taken.size(), 3u);
  for (const Delivery& delivery : taken) {
    if (delivery.credential == "b") {
      EXPECT_EQ(delivery.principal, "");
    } else if (delivery.principal == kTwo) {
      EXPECT_EQ(delivery.version, 2u);
    }
  }
}

}  // namespace
}  // namespace keyturn::lifecycle
