// SPDX-License-Identifier: Apache-2.0
// The Keeper as a whole: what it makes, hands out, refuses, and takes up again after a crash.
#include "agent/lifecycle/keeper.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using fakes::CommitFault;
using fakes::KeeperHouse;
using fakes::ProviderCall;
using Kind = fakes::ProviderFault::Kind;

constexpr char kYaml[] =
    "providers:\n  p: { recipe: fake, manager: p/admin }\n"
    "credentials:\n  p/admin: { static: {} }\n"
    "  app/key: { provider: p, rotate: { every: 1d, jitter: 0%, grace: 1h } }\n";

KeeperHouse::Options Tagged() {
  KeeperHouse::Options options;
  options.provider.traits.provider_class = providers::ProviderClass::kTagged;
  options.provider.traits.cached_for = absl::Minutes(11);
  options.provider.manager_secret = "admin-secret";
  return options;
}

class KeeperTest : public testing::Test {
 protected:
  void UseFirstKey() {
    ASSERT_TRUE(house_.Apply(kYaml).ok());
    ASSERT_TRUE(house_.Put("p/admin", "admin-secret").ok());
    ASSERT_TRUE(house_.AdvanceUntil([&] { return Key() != ""; }, absl::Minutes(5)));
    ASSERT_TRUE(house_.AdvanceUntil([&] { return State() == ""; }, absl::Minutes(5)));
  }
  std::string Key() { return house_.Published("app/key"); }
  std::string State() { return house_.RotationState("app/key"); }
  // Asks for a rotation; `end` holds how it ended.
  void Rotate(std::optional<absl::Status>& end, bool until_done = false) {
    v1::RotateRequest request;
    request.set_name("app/key");
    request.set_wait_until_done(until_done);
    house_.keeper().Rotate(
        std::move(request), [this](v1::RotateResponse r) { steps_ += r.state() + " "; },
        [&end](absl::Status status) { end = status; });
    house_.Advance(absl::ZeroDuration());
  }
  // Exactly one of our keys is left, and it is the one handed out.
  void ExpectOneKey() {
    const auto keys = house_.provider->existing_keys();
    ASSERT_EQ(keys.size(), 1u);
    EXPECT_EQ(keys.front().value, Key());
  }

  KeeperHouse house_{Tagged()};
  std::string steps_;
};

TEST_F(KeeperTest, MakesAFirstKeyAsSoonAsItsManagerHasAValue) {
  ASSERT_TRUE(house_.Apply(kYaml).ok());
  house_.Advance(absl::Minutes(3));
  EXPECT_EQ(Key(), "");
  EXPECT_EQ(base::ReasonOf(house_.sink.versions.at("app/key").unavailable), "NO_VALUE_YET");
  EXPECT_EQ(house_.provider->calls(ProviderCall::kCreate), 0);
  ASSERT_TRUE(house_.Put("p/admin", "admin-secret").ok());
  house_.Advance(absl::Seconds(2));
  EXPECT_TRUE(house_.provider->Works(Key()));
}

TEST_F(KeeperTest, RotatesWhenDueAndRevokesTheOldKeyAfterItsGrace) {
  UseFirstKey();
  const std::string old = Key();
  ASSERT_TRUE(house_.AdvanceUntil([&] { return Key() != old; }, absl::Hours(25)));
  EXPECT_TRUE(house_.provider->Works(Key()));
  house_.Advance(absl::Minutes(59));
  EXPECT_TRUE(house_.provider->Works(old));
  EXPECT_EQ(State(), "retiring");
  house_.Advance(absl::Minutes(13));
  EXPECT_FALSE(house_.provider->Works(old));
  EXPECT_EQ(State(), "");
  ExpectOneKey();
}

TEST_F(KeeperTest, TellsWhoeverAskedForARotationHowItGoes) {
  UseFirstKey();
  std::optional<absl::Status> handed_out, done;
  Rotate(handed_out);
  ASSERT_TRUE(house_.AdvanceUntil([&] { return handed_out.has_value(); }, absl::Minutes(1)));
  EXPECT_TRUE(handed_out->ok()) << *handed_out;
  EXPECT_TRUE(absl::StrContains(steps_, "creating minted verified retiring")) << steps_;
  Rotate(done);
  ASSERT_TRUE(done.has_value());
  EXPECT_TRUE(absl::IsFailedPrecondition(*done));
  EXPECT_EQ(base::ReasonOf(*done), "ROTATION_UNDER_WAY");
}

TEST_F(KeeperTest, ARotationThatIsRefusedLeavesTheKeyAndSaysWhy) {
  UseFirstKey();
  const std::string old = Key();
  house_.provider->InjectNext(ProviderCall::kCreate, {Kind::kRefuse, {}, {}});
  std::optional<absl::Status> end;
  Rotate(end);
  ASSERT_TRUE(house_.AdvanceUntil([&] { return end.has_value(); }, absl::Minutes(1)));
  EXPECT_EQ(base::ReasonOf(*end), "ROTATION_FAILED");
  EXPECT_EQ(Key(), old);
  EXPECT_EQ(house_.log.Failures("ROTATION_FAILED"), 1);
  house_.Advance(absl::Minutes(6));
  EXPECT_NE(Key(), old) << "no other attempt was made";
  EXPECT_EQ(house_.log.Resolved("ROTATION_FAILED"), 1);
}

TEST_F(KeeperTest, ARefusalIsNotRepeatedWithinAMinute) {
  UseFirstKey();
  house_.provider->SetFaults([](ProviderCall call) {
    return call == ProviderCall::kCreate ? fakes::ProviderFault{Kind::kRefuse, {}, {}}
                                         : fakes::ProviderFault{};
  });
  std::optional<absl::Status> end;
  Rotate(end);
  ASSERT_TRUE(house_.AdvanceUntil([&] { return end.has_value(); }, absl::Minutes(1)));
  const int refused = house_.provider->calls(ProviderCall::kCreate);
  for (int attempt = 1; attempt <= 5; ++attempt) {
    house_.Advance(absl::Seconds(59));
    ASSERT_EQ(house_.provider->calls(ProviderCall::kCreate), refused + attempt - 1);
    ASSERT_TRUE(house_.AdvanceUntil(
        [&] { return house_.provider->calls(ProviderCall::kCreate) == refused + attempt; },
        absl::Minutes(10)))
        << "it gave up";
    house_.Advance(absl::Milliseconds(100));
  }
}

TEST_F(KeeperTest, AfterAnAttemptItLooksOnceMoreAndThenOnlyHourly) {
  UseFirstKey();
  std::optional<absl::Status> end;
  Rotate(end, /*until_done=*/true);
  ASSERT_TRUE(house_.AdvanceUntil([&] { return end.has_value(); }, absl::Hours(3)));
  const int listed = house_.provider->calls(ProviderCall::kList);
  house_.Advance(absl::Minutes(2));
  EXPECT_EQ(house_.provider->calls(ProviderCall::kList), listed + 1) << "one look for late effects";
  house_.Advance(absl::Minutes(50));
  EXPECT_EQ(house_.provider->calls(ProviderCall::kList), listed + 1);
  house_.Advance(absl::Hours(1));
  EXPECT_EQ(house_.provider->calls(ProviderCall::kList), listed + 2) << "the hourly sweep";
}

TEST_F(KeeperTest, WhileARotationIsOpenTheOneAfterItIsShown) {
  UseFirstKey();
  const absl::Time from = house_.clock.WallNow();
  const std::string old = Key();
  ASSERT_TRUE(house_.AdvanceUntil([&] { return Key() != old; }, absl::Hours(25)));
  ASSERT_EQ(State(), "retiring");
  const auto described = house_.Describe("app/key");
  ASSERT_TRUE(described.ok());
  EXPECT_GT(absl::FromUnixSeconds(described->summary().next_at().seconds()),
            from + absl::Hours(46));
}

TEST_F(KeeperTest, ALostReplyLeavesNoOrphan) {
  UseFirstKey();
  const std::string old = Key();
  house_.provider->InjectNext(ProviderCall::kCreate, {Kind::kLoseReply, {}, {}});
  std::optional<absl::Status> end;
  Rotate(end, /*until_done=*/true);
  ASSERT_TRUE(house_.AdvanceUntil([&] { return end.has_value(); }, absl::Hours(1)));
  EXPECT_FALSE(end->ok());
  ASSERT_TRUE(house_.AdvanceUntil([&] { return Key() != old; }, absl::Hours(1)));
  house_.Advance(absl::Hours(2));
  ExpectOneKey();
}

TEST_F(KeeperTest, AKeyThatAppearsLateIsSwept) {
  UseFirstKey();
  house_.provider->InjectNext(ProviderCall::kCreate, {Kind::kLateEffect, absl::Minutes(10), {}});
  std::optional<absl::Status> end;
  Rotate(end);
  house_.Advance(absl::Hours(3));
  ExpectOneKey();
}

TEST_F(KeeperTest, AFullDiskHoldsTheStepAndLosesNothing) {
  UseFirstKey();
  const std::string old = Key();
  std::optional<absl::Status> end;
  Rotate(end);
  ASSERT_TRUE(house_.AdvanceUntil([&] { return State() == "creating"; }, absl::Minutes(1)));
  house_.store.faults().FailAllCommits(CommitFault::kDiskFull);
  house_.Advance(absl::Minutes(5));
  EXPECT_EQ(State(), "creating");
  EXPECT_EQ(Key(), old);
  EXPECT_GE(house_.log.Failures("STORE_FULL"), 1);
  house_.store.faults().FailAllCommits(std::nullopt);
  house_.Advance(absl::Minutes(1));
  EXPECT_NE(Key(), old);
  EXPECT_EQ(house_.provider->calls(ProviderCall::kCreate), 2);
  EXPECT_EQ(house_.log.Resolved("STORE_FULL"), 1);
}

TEST_F(KeeperTest, APromotionThatWasHeldUpStillGivesItsWholeGrace) {
  UseFirstKey();
  const std::string old = Key();
  std::optional<absl::Status> end;
  Rotate(end);
  ASSERT_TRUE(house_.AdvanceUntil([&] { return State() == "minted"; }, absl::Minutes(1)));
  house_.store.faults().FailAllCommits(CommitFault::kDiskFull);
  house_.Advance(absl::Hours(2));
  house_.store.faults().FailAllCommits(std::nullopt);
  ASSERT_TRUE(house_.AdvanceUntil([&] { return Key() != old; }, absl::Minutes(5)));
  house_.store.faults().FailAllCommits(std::nullopt);
  house_.Advance(absl::Minutes(59));
  EXPECT_TRUE(house_.provider->Works(old));
}

TEST_F(KeeperTest, APromotionHeldUpBetweenItsCommitsStillGivesItsWholeGrace) {
  UseFirstKey();
  const std::string old = Key();
  std::optional<absl::Status> end;
  Rotate(end);
  ASSERT_TRUE(house_.AdvanceUntil([&] { return State() == "minted"; }, absl::Minutes(1)));
  house_.store.faults().FailCommit(2, CommitFault::kDiskFull);  // verified, then promoted
  const absl::Time from = house_.clock.WallNow();
  ASSERT_TRUE(house_.AdvanceUntil([&] { return Key() != old; }, absl::Minutes(5)));
  ASSERT_GT(house_.clock.WallNow() - from, absl::Milliseconds(500)) << "nothing was held up";
  const auto described = house_.Describe("app/key");
  absl::Time grace_until;
  for (const auto& version : described->versions()) {
    if (version.state() == "retiring") {
      grace_until = absl::FromUnixSeconds(version.grace_until().seconds()) +
                    absl::Nanoseconds(version.grace_until().nanos());
    }
  }
  EXPECT_GE(grace_until - house_.clock.WallNow(), absl::Hours(1) - absl::Milliseconds(1));
}

TEST_F(KeeperTest, APromotionHeldUpWhileTheDateIsSetStillGivesItsWholeGrace) {
  for (const absl::Duration step : {absl::Hours(2), -absl::Hours(2)}) {
    if (Key().empty()) UseFirstKey();
    const std::string old = Key();
    std::optional<absl::Status> end;
    Rotate(end);
    ASSERT_TRUE(house_.AdvanceUntil([&] { return State() == "minted"; }, absl::Minutes(1)));
    house_.store.faults().FailAllCommits(CommitFault::kDiskFull);
    house_.Advance(absl::Minutes(5));
    house_.clock.StepWall(step);
    house_.store.faults().FailAllCommits(std::nullopt);
    ASSERT_TRUE(house_.AdvanceUntil([&] { return Key() != old; }, absl::Minutes(5)));
    house_.Advance(absl::Minutes(59));
    EXPECT_TRUE(house_.provider->Works(old)) << step;
    ASSERT_TRUE(house_.AdvanceUntil([&] { return State() == ""; }, absl::Hours(4))) << step;
  }
}

TEST_F(KeeperTest, RefusesToDeleteWhatIsUsed) {
  UseFirstKey();
  EXPECT_TRUE(absl::IsFailedPrecondition(house_.Delete("provider", "p")));
  EXPECT_TRUE(absl::IsFailedPrecondition(house_.Delete("credential", "p/admin")));
  EXPECT_TRUE(absl::IsNotFound(house_.Delete("credential", "no/such")));
  EXPECT_TRUE(absl::IsNotFound(house_.Delete("policy", "none")));
  EXPECT_TRUE(absl::IsInvalidArgument(house_.Delete("planet", "p")));
  std::optional<absl::Status> end;
  Rotate(end);
  ASSERT_TRUE(house_.AdvanceUntil([&] { return State() == "creating"; }, absl::Minutes(1)));
  EXPECT_TRUE(absl::IsFailedPrecondition(house_.Delete("credential", "app/key")));
  ASSERT_TRUE(house_.AdvanceUntil([&] { return State() == "retiring"; }, absl::Minutes(1)));
  EXPECT_TRUE(house_.Delete("credential", "app/key").ok());
  EXPECT_EQ(house_.sink.versions.count("app/key"), 0u);
  EXPECT_TRUE(house_.Delete("provider", "p").ok());
  house_.Advance(absl::Hours(48));  // nothing of it acts any more
}

TEST_F(KeeperTest, WhatIsDeletedIsGoneAfterARestart) {
  UseFirstKey();
  ASSERT_TRUE(house_.Delete("credential", "app/key").ok());
  house_.Crash();
  ASSERT_TRUE(house_.Start().ok());
  EXPECT_TRUE(absl::IsNotFound(house_.Describe("app/key").status()));
}

TEST_F(KeeperTest, PutReplacesAStaticValueAndChecksIt) {
  ASSERT_TRUE(house_.Apply("credentials:\n  a/pw: { static: { expires_in: 1h } }\n").ok());
  EXPECT_EQ(base::ReasonOf(house_.sink.versions.at("a/pw").unavailable), "NO_VALUE_YET");
  EXPECT_TRUE(absl::IsNotFound(house_.Put("a/none", "x").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(house_.Put("a/pw", "").status()));
  EXPECT_TRUE(
      absl::IsInvalidArgument(house_.Put("a/pw", std::string(64 * 1024 + 1, 'x')).status()));
  EXPECT_EQ(house_.Put("a/pw", "one")->version(), 1u);
  EXPECT_EQ(house_.Put("a/pw", "two")->version(), 2u);
  EXPECT_EQ(house_.Published("a/pw"), "two");
  house_.Advance(absl::Hours(1));
  EXPECT_LE(house_.sink.versions.at("a/pw").expires, house_.clock.BootNow());
  EXPECT_GE(house_.log.Failures("EXPIRES_SOON"), 1);
}

TEST_F(KeeperTest, ARestartHandsOutEverythingBeforeAnythingIsAsked) {
  UseFirstKey();
  const std::string key = Key();
  house_.Crash();
  house_.sink.versions.clear();
  const int calls = house_.provider->calls(ProviderCall::kList);
  ASSERT_TRUE(house_.Start().ok());
  EXPECT_EQ(Key(), key);
  EXPECT_EQ(house_.provider->calls(ProviderCall::kList), calls);
}

// The agent dies in each state of a rotation, with the provider's reply on its way.
class KeeperRestartTest : public KeeperTest, public testing::WithParamInterface<const char*> {};

TEST_P(KeeperRestartTest, TheRotationEndsAndNothingIsOrphaned) {
  UseFirstKey();
  const std::string old = Key();
  std::optional<absl::Status> end;
  if (GetParam() == std::string("reconcile") || GetParam() == std::string("aborting")) {
    house_.provider->InjectNext(ProviderCall::kCreate, {Kind::kLoseReply, {}, {}});
  }
  Rotate(end);
  ASSERT_TRUE(house_.AdvanceUntil([&] { return State() == GetParam(); }, absl::Hours(3)));
  house_.Crash();
  house_.Advance(absl::Minutes(1));
  ASSERT_TRUE(house_.Start().ok());
  EXPECT_NE(Key(), "");
  EXPECT_TRUE(house_.provider->Works(Key()));
  house_.Advance(absl::Hours(4));
  EXPECT_EQ(State(), "");
  EXPECT_NE(Key(), old);
  EXPECT_FALSE(house_.provider->Works(old));
  ExpectOneKey();
}

INSTANTIATE_TEST_SUITE_P(State, KeeperRestartTest,
                         testing::Values("creating", "reconcile", "minted", "retiring", "revoking",
                                         "dying", "aborting"));

}  // namespace
}  // namespace keyturn::lifecycle
