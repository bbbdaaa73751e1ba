// SPDX-License-Identifier: Apache-2.0
// What the Keeper knows of a key's consumers, and what of it a crash takes away.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using fakes::KeeperHouse;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

constexpr char kName[] = "app/key";
constexpr char kYaml[] =
    "providers:\n  p: { recipe: fake, manager: p/admin }\n"
    "credentials:\n  p/admin: { static: {} }\n"
    "  app/key: { provider: p, rotate: { every: 7d, jitter: 0%, grace: 2d } }\n";
constexpr char kBot[] = "unix:uid=7,user=bot,gid=7,pid=100";
constexpr char kBotAgain[] = "unix:uid=7,user=bot,gid=7,pid=101";
constexpr char kWeb[] = "unix:uid=8,user=web,gid=8,pid=300";

KeeperHouse::Options Tagged() {
  KeeperHouse::Options options;
  options.provider.traits.provider_class = providers::ProviderClass::kTagged;
  options.provider.manager_secret = "admin-secret";
  return options;
}

class KeeperConsumersTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(house_.Apply(kYaml).ok());
    ASSERT_TRUE(house_.Put("p/admin", "admin-secret").ok());
    ASSERT_TRUE(house_.AdvanceUntil([&] { return Current() == 1; }, absl::Minutes(5)));
  }
  uint64_t Current() {
    const auto found = house_.sink.versions.find(kName);
    return found == house_.sink.versions.end() ? 0 : found->second.version;
  }
  // To the moment at which version 2 is handed out.
  void Promote() {
    v1::RotateRequest request;
    request.set_name(kName);
    house_.keeper().Rotate(
        std::move(request), [](const v1::RotateResponse&) {}, [](const absl::Status&) {});
    ASSERT_TRUE(house_.AdvanceUntil([&] { return Current() == 2; }, absl::Minutes(5)));
    ASSERT_EQ(house_.RotationState(kName), "retiring");
  }
  void Restart() {
    house_.Crash();
    ASSERT_TRUE(house_.Start().ok());
  }

  KeeperHouse house_{Tagged()};
};

TEST_F(KeeperConsumersTest, ShowsWhoStillHoldsTheRetiringVersion) {
  house_.Give(kName, kBot, 1);
  house_.Give(kName, kWeb, 1);
  EXPECT_THAT(house_.Holders(kName, 1), UnorderedElementsAre(kBot, kWeb));
  Promote();
  EXPECT_THAT(house_.Holders(kName, 1), UnorderedElementsAre(kBot, kWeb));
  EXPECT_THAT(house_.Holders(kName, 2), IsEmpty());
  house_.Give(kName, kBot, 2);
  EXPECT_THAT(house_.Holders(kName, 1), ElementsAre(kWeb));
  EXPECT_THAT(house_.Holders(kName, 2), ElementsAre(kBot));
  house_.Advance(kConsumerGoneAfter + absl::Minutes(1));
  EXPECT_THAT(house_.Holders(kName, 1), IsEmpty());
}

TEST_F(KeeperConsumersTest, WhoAcknowledgesHoldsTheOldVersionUntilItAcknowledgesTheNewOne) {
  house_.Give(kName, kBot, 1);
  EXPECT_EQ(house_.Acknowledge(kName, kBot, 1).value(), 1u);
  Promote();
  house_.Give(kName, kBot, 2);
  EXPECT_THAT(house_.Holders(kName, 1), ElementsAre(kBot));
  EXPECT_EQ(house_.Acknowledge(kName, kBot, 2).value(), 2u);
  EXPECT_THAT(house_.Holders(kName, 1), IsEmpty());
  EXPECT_TRUE(house_.Describe(kName)->versions(0).holders(0).acknowledged());
}

TEST_F(KeeperConsumersTest, OnlyAVersionThatWasHandedOutCanBeAcknowledged) {
  for (const uint64_t version : {uint64_t{0}, uint64_t{2}}) {
    const auto refused = house_.Acknowledge(kName, kBot, version);
    EXPECT_TRUE(absl::IsInvalidArgument(refused.status())) << version;
    EXPECT_EQ(base::ReasonOf(refused.status()), "NO_SUCH_VERSION");
  }
  EXPECT_TRUE(absl::IsNotFound(house_.Acknowledge("no/such", kBot, 1).status()));
  EXPECT_THAT(house_.Holders(kName, 1), IsEmpty());
}

TEST_F(KeeperConsumersTest, DeliveriesSurviveACrashSecondsLater) {
  house_.Give(kName, kBot, 1);
  house_.Advance(absl::Seconds(4));
  house_.Give(kName, kWeb, 1);
  Restart();
  EXPECT_THAT(house_.Holders(kName, 1), ElementsAre(kBot)) << "the other one came too late";
}

TEST_F(KeeperConsumersTest, APromotionIsNeverStoredWithoutTheOldVersionsConsumers) {
  Restart();  // leaves nothing to be saved by a timer
  v1::RotateRequest request;
  request.set_name(kName);
  house_.keeper().Rotate(
      std::move(request), [](const v1::RotateResponse&) {}, [](const absl::Status&) {});
  // A new consumer at every step before the promotion, each less than the saving's wait ago.
  int given = 0;
  ASSERT_TRUE(house_.AdvanceUntil(
      [&] {
        if (Current() == 2) return true;
        house_.keeper().Given({kName, absl::StrCat("unix:uid=9,gid=9,pid=", ++given), 1,
                               house_.clock.WallNow(), false});
        return false;
      },
      absl::Minutes(5)));
  ASSERT_GT(given, 0);
  Restart();
  ASSERT_EQ(house_.RotationState(kName), "retiring");
  EXPECT_EQ(house_.Holders(kName, 1).size(), static_cast<size_t>(given));
}

TEST_F(KeeperConsumersTest, WhoWatchesIsSeenForAsLongAsItWatches) {
  house_.Give(kName, kBot, 1);
  house_.sink.watching[kName] = {kBot};
  house_.Advance(absl::Hours(72));
  EXPECT_THAT(house_.Holders(kName, 1), ElementsAre(kBot));
  Promote();
  house_.sink.watching.clear();
  house_.Advance(absl::Hours(23));
  EXPECT_THAT(house_.Holders(kName, 1), ElementsAre(kBot)) << "it left less than a day ago";
  house_.Advance(absl::Hours(2));
  EXPECT_THAT(house_.Holders(kName, 1), IsEmpty());
}

TEST_F(KeeperConsumersTest, AServiceThatWasRestartedHasMovedOn) {
  house_.Give(kName, kBot, 1);
  Promote();
  house_.Advance(absl::Minutes(1));
  house_.Give(kName, kBotAgain, 2);
  EXPECT_THAT(house_.Holders(kName, 1), ElementsAre(kBot)) << "both run";
  house_.ended.insert(kBot);
  EXPECT_THAT(house_.Holders(kName, 1), IsEmpty());
  EXPECT_THAT(house_.Holders(kName, 2), ElementsAre(kBotAgain));
}

TEST_F(KeeperConsumersTest, OnlyKeysHaveConsumersAndOnlyForAsLongAsTheyExist) {
  house_.Give("p/admin", kBot, 1);
  house_.Give("no/such", kBot, 1);
  EXPECT_THAT(house_.Holders("p/admin", 1), IsEmpty());
  ASSERT_TRUE(
      house_.AdvanceUntil([&] { return house_.RotationState(kName).empty(); }, absl::Minutes(30)));
  house_.Give(kName, kBot, 1);
  house_.Advance(absl::Seconds(4));
  ASSERT_TRUE(house_.Delete("credential", kName).ok());
  house_.Give(kName, kBot, 1);
  Restart();  // would find a row without its credential
  ASSERT_TRUE(house_.Apply(kYaml).ok());
  ASSERT_TRUE(house_.AdvanceUntil([&] { return Current() == 1; }, absl::Minutes(5)));
  EXPECT_THAT(house_.Holders(kName, 1), IsEmpty());
}

TEST_F(KeeperConsumersTest, WhatCannotBeSavedIsSavedLater) {
  house_.Give(kName, kBot, 1);
  house_.store.faults().FailAllCommits(fakes::CommitFault::kDiskFull);
  house_.Advance(absl::Seconds(4));
  house_.store.faults().FailAllCommits(std::nullopt);
  house_.Advance(absl::Seconds(31));
  Restart();
  EXPECT_THAT(house_.Holders(kName, 1), ElementsAre(kBot));
}

// The grace waits for them: at least an hour, at most ten.
class WaitForConsumersTest : public KeeperConsumersTest {
 protected:
  void SetUp() override {
    KeeperConsumersTest::SetUp();
    ASSERT_TRUE(
        house_
            .Apply(absl::StrCat("credentials:\n  app/key: { provider: p, rotate: { every: 7d,"
                                " jitter: 0%, grace: { min: 1h, max: 10h, "
                                "wait_for: consumers } } }\n"))
            .ok());
    old_ = house_.Published(kName);
    house_.Give(kName, kBot, 1);
    house_.Give(kName, kWeb, 1);
    Promote();
  }
  bool OldWorks() { return house_.provider->Works(old_); }

  std::string old_;
};

TEST_F(WaitForConsumersTest, TheOldKeyEndsAsSoonAsTheLastConsumerHasMovedOn) {
  house_.Give(kName, kBot, 2);
  house_.Advance(absl::Hours(5));
  EXPECT_TRUE(OldWorks()) << "one consumer still uses it";
  house_.Give(kName, kWeb, 2);
  house_.Advance(absl::Seconds(5));
  EXPECT_FALSE(OldWorks()) << "nobody woke the rotation";
}

TEST_F(WaitForConsumersTest, NotBeforeTheLeastGrace) {
  house_.Give(kName, kBot, 2);
  house_.Give(kName, kWeb, 2);
  house_.Advance(absl::Minutes(59));
  EXPECT_TRUE(OldWorks());
  house_.Advance(absl::Minutes(2));
  EXPECT_FALSE(OldWorks());
}

TEST_F(WaitForConsumersTest, AConsumerThatNeverMovesOnIsWaitedForUntilTheMost) {
  house_.Give(kName, kBot, 2);
  house_.Advance(absl::Hours(10) - absl::Minutes(1));
  EXPECT_TRUE(OldWorks());
  house_.Advance(absl::Minutes(3));
  EXPECT_FALSE(OldWorks());
}

TEST_F(WaitForConsumersTest, ARestartForgetsNobody) {
  house_.Give(kName, kBot, 2);
  house_.Advance(absl::Seconds(10));  // saved by now
  Restart();
  house_.Advance(absl::Hours(5));
  EXPECT_TRUE(OldWorks());
  house_.Give(kName, kWeb, 2);
  house_.Advance(absl::Seconds(5));
  EXPECT_FALSE(OldWorks());
}

}  // namespace
}  // namespace keyturn::lifecycle
