// SPDX-License-Identifier: Apache-2.0
// Refresh tokens that may be used up: repeated within a leeway, over restarts and reboots, and
// after an older copy of the store was put back.
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

using fakes::KeeperHouse;
using fakes::MemoryBackend;
using Kind = fakes::TokenFault::Kind;

KeeperHouse::Options ServerWith(absl::Duration leeway, absl::Duration lifetime) {
  KeeperHouse::Options options;
  options.endpoint.leeway = leeway;
  options.endpoint.lifetime = lifetime;
  return options;
}

class RefreshDoubtTest : public testing::Test {
 protected:
  // Handed out and used once; `leeway` as the credential declares it.
  void Use(KeeperHouse& house, const std::string& leeway) {
    const absl::Status applied = house.Apply(absl::StrCat(
        "credentials:\n  t:\n    oauth: { token_url: https://crm.example.com/token, "
        "client_id: app, client_auth: none, grant: refresh_token, refresh_token: rotates",
        leeway.empty() ? "" : ", leeway: ", leeway, " }\n"));
    ASSERT_TRUE(applied.ok()) << applied;
    ASSERT_TRUE(house.Put("t", house.endpoint.NewGrant("app")).ok());
    house.Advance(absl::Seconds(1));
    ASSERT_NE(house.Published("t"), "");
    house.log.Clear();
  }
  void ToNextRequest(KeeperHouse& house) {
    const int before = house.endpoint.requests();
    ASSERT_TRUE(
        house.AdvanceUntil([&] { return house.endpoint.requests() > before; }, absl::Hours(24)));
  }
  absl::Status Refresh(KeeperHouse& house, bool in_doubt) {
    const auto answer = house.Refreshing("t", in_doubt);
    house.AdvanceUntil([&] { return answer->has_value(); }, absl::Minutes(1));
    return answer->value_or(absl::InternalError("no answer"));
  }
};

TEST_F(RefreshDoubtTest, TheLeewayCountsFromTheFirstUse) {
  KeeperHouse house(ServerWith(absl::Minutes(2), absl::Hours(8)));
  Use(house, "2m");
  // Each use takes effect and each reply is lost.
  house.endpoint.SetFaults([] { return fakes::TokenFault{Kind::kLoseReply, {}, {}}; });
  ToNextRequest(house);
  const absl::Time first = house.clock.WallNow();
  while (house.clock.WallNow() - first < absl::Hours(1)) {
    const int before = house.endpoint.requests();
    if (!house.AdvanceUntil([&] { return house.endpoint.requests() > before; }, absl::Hours(1))) {
      break;
    }
    ASSERT_LT(house.clock.WallNow() - first, absl::Minutes(2))
        << "repeated when the leeway was over";
  }
  EXPECT_EQ(house.endpoint.replays(), 0);
  EXPECT_TRUE(house.endpoint.GrantAlive("app"));
}

TEST_F(RefreshDoubtTest, TheLeewayCountsFromTheFirstUseOverRestarts) {
  KeeperHouse house(ServerWith(absl::Minutes(3), absl::Hours(8)));
  Use(house, "3m");
  ToNextRequest(house);
  const absl::Time first = house.clock.WallNow();
  // Killed in the middle of each of its repetitions.
  for (int lives = 0; lives < 20; ++lives) {
    house.Crash();
    ASSERT_TRUE(house.Start().ok());
    const int before = house.endpoint.requests();
    if (!house.AdvanceUntil([&] { return house.endpoint.requests() > before; }, absl::Hours(1))) {
      break;
    }
    ASSERT_LT(house.clock.WallNow() - first, absl::Minutes(3));
  }
  EXPECT_EQ(house.endpoint.replays(), 0);
}

TEST_F(RefreshDoubtTest, ARefusalOfTheRepetitionDoesNotEndTheDoubt) {
  KeeperHouse house(ServerWith(absl::Minutes(2), absl::Hours(8)));
  Use(house, "2m");
  ToNextRequest(house);
  house.Crash();
  ASSERT_TRUE(house.Start().ok());
  // The repetition is refused for now, and says nothing about the first use.
  house.endpoint.InjectNext({Kind::kTransient, {}, absl::Minutes(10)});
  ToNextRequest(house);
  const int before = house.endpoint.requests();
  house.Advance(absl::Minutes(30));
  EXPECT_EQ(house.endpoint.requests(), before) << "tried again when the leeway was over";
  EXPECT_EQ(house.endpoint.replays(), 0);
}

TEST_F(RefreshDoubtTest, ADateSetBackWhileTheAgentIsDownDoesNotHideHowLongAgoItWas) {
  KeeperHouse house(ServerWith(absl::Minutes(2), absl::Hours(8)));
  Use(house, "2m");
  ToNextRequest(house);
  const int before = house.endpoint.requests();
  house.Crash();
  house.clock.Advance(absl::Minutes(10));
  house.clock.StepWall(-absl::Minutes(9) - absl::Seconds(30));  // by the dates, 30 s ago
  ASSERT_TRUE(house.Start().ok());
  house.Advance(absl::Minutes(5));
  EXPECT_EQ(house.endpoint.requests(), before);
  EXPECT_EQ(house.endpoint.replays(), 0);
}

TEST_F(RefreshDoubtTest, AReboot) {
  KeeperHouse house(ServerWith(absl::Minutes(10), absl::Hours(8)));
  Use(house, "10m");
  ToNextRequest(house);
  const std::string served = house.Published("t");
  house.Crash();
  house.world.RunReady();
  house.clock.Advance(absl::Minutes(1));
  house.world.RunReady();
  house.clock.Reboot(absl::Minutes(2));
  ASSERT_TRUE(house.Start().ok());
  EXPECT_EQ(house.Published("t"), served) << "its lifetime goes by the date now";
  const int before = house.endpoint.requests();
  house.Advance(absl::Minutes(2));
  EXPECT_EQ(house.endpoint.requests(), before + 1);
  EXPECT_TRUE(house.endpoint.GrantAlive("app"));
  EXPECT_NE(house.Published("t"), served);
}

TEST_F(RefreshDoubtTest, AnAdministratorMayTakeTheRisk) {
  KeeperHouse house(ServerWith(absl::ZeroDuration(), absl::Hours(8)));
  Use(house, "");
  house.endpoint.InjectNext({Kind::kLoseRequest, {}, {}});
  ToNextRequest(house);
  house.Advance(absl::Minutes(1));
  const absl::Status refused = Refresh(house, /*in_doubt=*/false);
  EXPECT_EQ(base::ReasonOf(refused), "REFRESH_IN_DOUBT");
  EXPECT_TRUE(absl::StrContains(refused.message(), "keyturn refresh t --in-doubt")) << refused;
  const absl::Status allowed = Refresh(house, /*in_doubt=*/true);
  EXPECT_TRUE(allowed.ok()) << allowed;
  EXPECT_EQ(house.log.Resolved("REFRESH_IN_DOUBT"), 1);
}

// What a person who restores a backup does to the agent, and what the agent makes of it.
class RestoredStoreTest : public RefreshDoubtTest {
 protected:
  void SetUp() override {
    Use(house_, "");
    const MemoryBackend::Copy backup = house_.store.backend().Save();
    ToNextRequest(house_);
    house_.Advance(absl::Seconds(1));
    house_.Crash();
    house_.store.backend().PutBack(backup);
    house_.log.Clear();
    ASSERT_TRUE(house_.Start().ok());
  }

  KeeperHouse house_{ServerWith(absl::ZeroDuration(), absl::Hours(8))};
};

TEST_F(RestoredStoreTest, NoRefreshTokenIsUsedBeforeSomebodySaysSo) {
  EXPECT_EQ(house_.log.Failures("ROLLBACK_DETECTED"), 1);
  EXPECT_EQ(house_.log.Failures("REFRESH_IN_DOUBT"), 1);
  const int before = house_.endpoint.requests();
  house_.Advance(absl::Hours(24));
  EXPECT_EQ(house_.endpoint.requests(), before);
  EXPECT_EQ(house_.endpoint.replays(), 0);
  EXPECT_TRUE(house_.endpoint.GrantAlive("app"));
  std::optional<absl::Status> answer;
  house_.keeper().EnsureFresh("t", absl::Minutes(1), [&](absl::Status s) { answer = s; });
  house_.Advance(absl::ZeroDuration());
  ASSERT_TRUE(answer.has_value()) << "whoever asks is told at once";
  EXPECT_EQ(base::ReasonOf(*answer), "REFRESH_IN_DOUBT");
  EXPECT_TRUE(absl::StrContains(answer->message(), "older copy of the store")) << *answer;
}

TEST_F(RestoredStoreTest, ItIsNotForgottenByARestart) {
  house_.Crash();
  ASSERT_TRUE(house_.Start().ok());
  EXPECT_EQ(house_.log.Failures("ROLLBACK_DETECTED"), 1)
      << "told once: the store is the newest now";
  const int before = house_.endpoint.requests();
  house_.Advance(absl::Hours(24));
  EXPECT_EQ(house_.endpoint.requests(), before);
}

TEST_F(RestoredStoreTest, AnAdministratorDecides) {
  EXPECT_EQ(base::ReasonOf(Refresh(house_, /*in_doubt=*/false)), "REFRESH_IN_DOUBT");
  EXPECT_EQ(house_.endpoint.replays(), 0);
  // That copy's refresh token was used up, so this is how it ends; but it was a decision.
  EXPECT_EQ(base::ReasonOf(Refresh(house_, /*in_doubt=*/true)), "NEEDS_CONSENT");
  EXPECT_EQ(house_.endpoint.replays(), 1);
  EXPECT_EQ(house_.log.Resolved("ROLLBACK_DETECTED"), 1);
}

TEST_F(RestoredStoreTest, NewConsentEndsTheDoubt) {
  ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("app")).ok());
  house_.Advance(absl::Seconds(1));
  EXPECT_EQ(house_.log.Resolved("REFRESH_IN_DOUBT"), 1);
  EXPECT_EQ(house_.log.Resolved("ROLLBACK_DETECTED"), 1) << "nothing is left to decide";
  EXPECT_TRUE(house_.endpoint.Accepts(house_.Published("t")));
  house_.Advance(absl::Hours(24));
  EXPECT_EQ(house_.endpoint.replays(), 0);
  EXPECT_TRUE(house_.endpoint.Accepts(house_.Published("t")));
}

TEST_F(RefreshDoubtTest, ACopyFromAfterTheLastUseIsAsGoodAsTheStore) {
  KeeperHouse house(ServerWith(absl::ZeroDuration(), absl::Hours(8)));
  Use(house, "");
  const MemoryBackend::Copy backup = house.store.backend().Save();
  house.Advance(absl::Hours(1));
  house.Crash();
  house.store.backend().PutBack(backup);
  ASSERT_TRUE(house.Start().ok());
  EXPECT_EQ(house.log.Failures("ROLLBACK_DETECTED"), 0);
  house.Advance(absl::Hours(24));
  EXPECT_EQ(house.endpoint.replays(), 0);
  EXPECT_TRUE(house.endpoint.Accepts(house.Published("t")));
}

TEST_F(RefreshDoubtTest, AnAnchorThatCannotBeReadAsOursCountsAsALaterOne) {
  KeeperHouse house(ServerWith(absl::ZeroDuration(), absl::Hours(8)));
  Use(house, "");
  for (const char* content : {"keyturn-anchor 1\nrevision 1\ncode 00\n", "garbage"}) {
    house.Crash();
    house.log.Clear();
    house.store.anchor().content = content;
    ASSERT_TRUE(house.Start().ok());
    EXPECT_EQ(house.log.Failures("ROLLBACK_DETECTED"), 1) << content;
  }
}

TEST_F(RefreshDoubtTest, AnAnchorThatCannotBeWrittenStopsNobody) {
  KeeperHouse house(ServerWith(absl::ZeroDuration(), absl::Hours(8)));
  Use(house, "");
  house.store.anchor().broken = true;
  house.Advance(absl::Hours(7));
  house.Crash();
  house.store.anchor().content = "restored\n";
  ASSERT_TRUE(house.Start().ok()) << "not even after a rollback";
  ASSERT_TRUE(house.Put("t", house.endpoint.NewGrant("app")).ok());
  house.Advance(absl::Hours(24));
  EXPECT_TRUE(house.endpoint.Accepts(house.Published("t")));
  EXPECT_GE(house.log.Count({"anchor_not_written"}), 1);
}

TEST_F(RefreshDoubtTest, OnlyWhatIsUsedUpByItsUseIsInDoubtAfterARestore) {
  KeeperHouse house(ServerWith(absl::ZeroDuration(), absl::Hours(8)));
  const std::string oauth =
      "oauth: { token_url: https://crm.example.com/token, client_auth: none, ";
  ASSERT_TRUE(house
                  .Apply(absl::StrCat(
                      "credentials:\n  keeps: { ", oauth,
                      "client_id: k, grant: refresh_token, refresh_token: keeps } }\n  machine: { ",
                      oauth, "client_id: m, grant: client_credentials } }\n  never: { ", oauth,
                      "client_id: n, grant: refresh_token } }\n  over: { ", oauth,
                      "client_id: o, grant: refresh_token } }\n  two: { ", oauth,
                      "client_id: w, grant: refresh_token } }\n"))
                  .ok());
  Use(house, "");
  ASSERT_TRUE(house.Put("keeps", house.endpoint.NewGrant("k")).ok());
  ASSERT_TRUE(house.Put("two", house.endpoint.NewGrant("w")).ok());
  ASSERT_TRUE(house.Put("over", "not a token of theirs").ok());
  house.Advance(absl::Seconds(5));
  house.Crash();
  house.store.anchor().content = "restored\n";
  house.log.Clear();
  house.store.faults().FailAllCommits(fakes::CommitFault::kDiskFull);
  EXPECT_FALSE(house.Start().ok()) << "what is in doubt could not be stored";
  house.store.faults().FailAllCommits(std::nullopt);
  ASSERT_TRUE(house.Start().ok());
  for (const char* name : {"t", "two"}) {
    EXPECT_GE(house.log.Count({"REFRESH_IN_DOUBT", absl::StrCat("\"credential\":\"", name, "\"")}),
              1);
  }
  for (const char* name : {"keeps", "machine", "never", "over"}) {
    EXPECT_EQ(house.log.Count({"REFRESH_IN_DOUBT", absl::StrCat("\"credential\":\"", name, "\"")}),
              0);
  }
  ASSERT_TRUE(house.Put("two", house.endpoint.NewGrant("w")).ok());
  house.Advance(absl::Seconds(5));
  EXPECT_EQ(house.log.Resolved("ROLLBACK_DETECTED"), 0) << "one is left to decide";
  house.store.faults().FailAllCommits(fakes::CommitFault::kDiskFull);
  EXPECT_FALSE(Refresh(house, /*in_doubt=*/true).ok());
  house.store.faults().FailAllCommits(std::nullopt);
  EXPECT_EQ(base::ReasonOf(Refresh(house, /*in_doubt=*/false)), "REFRESH_IN_DOUBT")
      << "a decision that is not stored is none";
  EXPECT_TRUE(Refresh(house, /*in_doubt=*/true).ok());
  EXPECT_EQ(house.log.Resolved("ROLLBACK_DETECTED"), 1);
}

TEST_F(RefreshDoubtTest, AfterARebootWithTheDateSetBackALeewayIsOver) {
  KeeperHouse house(ServerWith(absl::Minutes(10), absl::Hours(8)));
  Use(house, "10m");
  ToNextRequest(house);
  const int before = house.endpoint.requests();
  house.Crash();
  house.world.RunReady();
  house.clock.Reboot(absl::Minutes(1));
  house.clock.StepWall(-absl::Minutes(5));
  ASSERT_TRUE(house.Start().ok());
  house.Advance(absl::Minutes(9));
  EXPECT_EQ(house.endpoint.requests(), before);
}

TEST_F(RefreshDoubtTest, ADecisionThatNothingCanFollowFromIsNotUsedUp) {
  KeeperHouse house(ServerWith(absl::ZeroDuration(), absl::Hours(8)));
  Use(house, "");
  const std::string machine =
      "{ oauth: { token_url: https://crm.example.com/token, client_auth: none, "
      "grant: client_credentials, client_id: m } }\n";
  ASSERT_TRUE(house.Apply(absl::StrCat("credentials:\n  u: ", machine, "  v: ", machine)).ok());
  house.Advance(absl::Seconds(5));
  house.Crash();
  house.store.anchor().content = "restored\n";
  ASSERT_TRUE(house.Start().ok());
  house.endpoint.SetFaults([] { return fakes::TokenFault{Kind::kServerError, {}, {}}; });
  ASSERT_TRUE(
      house.AdvanceUntil([&] { return house.log.Failures("PROVIDER_DOWN") > 0; }, absl::Hours(9)));
  const absl::Status down = Refresh(house, /*in_doubt=*/true);
  EXPECT_TRUE(absl::IsUnavailable(down)) << down;
  house.endpoint.SetFaults(nullptr);
  house.Advance(absl::Minutes(11));
  EXPECT_EQ(base::ReasonOf(Refresh(house, /*in_doubt=*/false)), "REFRESH_IN_DOUBT");
  const absl::Status decided = Refresh(house, /*in_doubt=*/true);
  EXPECT_TRUE(decided.ok()) << decided;
}

TEST_F(RestoredStoreTest, DeletingWhatWasLeftToDecideEndsIt) {
  ASSERT_TRUE(house_.Delete("credential", "t").ok());
  EXPECT_EQ(house_.log.Resolved("ROLLBACK_DETECTED"), 1);
}

}  // namespace
}  // namespace keyturn::lifecycle
