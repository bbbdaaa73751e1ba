// SPDX-License-Identifier: Apache-2.0
// Exchanges that bring no token: what is remembered of each, what whoever waits is told, and when
// the next one is. Beyond what refresher_test.cc shows of doubt.
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using fakes::CommitFault;
using fakes::KeeperHouse;
using fakes::TokenFault;
using providers::TokenOutcome;
using Kind = TokenFault::Kind;
using Waiting = std::shared_ptr<std::optional<absl::Status>>;

class RefresherFailuresTest : public testing::Test {
 protected:
  void Apply(const std::string& oauth, const std::string& others = "") {
    const absl::Status applied = house_.Apply(
        absl::StrCat("credentials:\n", others, "  t:\n    oauth: { token_url: https://h/t, ",
                     "client_id: app, ", oauth, " }\n"));
    ASSERT_TRUE(applied.ok()) << applied;
  }
  void UseMachine() {
    Apply("client_auth: none, grant: client_credentials");
    house_.Advance(absl::Seconds(1));
    ASSERT_NE(Now(), "");
  }
  void UseRefreshToken(const std::string& more = "") {
    Apply(absl::StrCat("client_auth: none, grant: refresh_token", more));
    ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("app")).ok());
    house_.Advance(absl::Seconds(1));
    ASSERT_NE(Now(), "");
    house_.log.Clear();
  }
  // To just after the next exchange began.
  void ToNextRequest() {
    const int before = house_.endpoint.requests();
    ASSERT_TRUE(
        house_.AdvanceUntil([&] { return house_.endpoint.requests() > before; }, absl::Hours(2)));
  }
  // Asleep, until the token has expired. Its refresh is not yet sent.
  void ToItsEnd() {
    house_.clock.Advance(house_.sink.versions.at("t").expires - house_.clock.BootNow());
  }
  Waiting Ask(absl::Duration timeout = absl::Minutes(10)) {
    auto answer = std::make_shared<std::optional<absl::Status>>();
    house_.keeper().EnsureFresh("t", timeout, [answer](absl::Status s) { *answer = s; });
    house_.Advance(absl::ZeroDuration());
    return answer;
  }
  void SayOnce(TokenOutcome outcome, const char* cause, int status) {
    auto said = std::make_shared<bool>(false);
    house_.endpoint.EditReplies([=](providers::TokenReply& reply) {
      if (std::exchange(*said, true)) return;
      reply.outcome = outcome;
      reply.cause = cause;
      reply.http_status = status;
    });
  }
  void Restart() {
    house_.Crash();
    ASSERT_TRUE(house_.Start().ok());
  }
  std::string Now() { return house_.Published("t"); }
  int Requests() { return house_.endpoint.requests(); }

  KeeperHouse house_{{}};
};

TEST_F(RefresherFailuresTest, ARefusedGrantOfAMachineIsAskedAgainAndNeedsNobody) {
  UseMachine();
  SayOnce(TokenOutcome::kInvalidGrant, "invalid_grant", 400);
  ToNextRequest();
  const int before = Requests();
  house_.Advance(absl::Minutes(14));
  EXPECT_EQ(Requests(), before);
  EXPECT_EQ(house_.log.Count({"REFRESH_FAILED", "invalid_grant"}), 1);
  EXPECT_EQ(house_.log.Failures("NEEDS_CONSENT"), 0);
  house_.Advance(absl::Minutes(3));
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
  EXPECT_EQ(house_.log.Resolved("REFRESH_FAILED"), 1);
}

// It has a record of its own for the key, but no refresh token in it that anybody could renew.
TEST_F(RefresherFailuresTest, ARefusedGrantOfAMachineWhoseTokensAreBoundNeedsNobody) {
  Apply("client_auth: none, grant: client_credentials, dpop: true");
  house_.Advance(absl::Seconds(1));
  ASSERT_NE(Now(), "");
  SayOnce(TokenOutcome::kInvalidGrant, "invalid_grant", 400);
  ToNextRequest();
  house_.Advance(absl::Minutes(17));
  EXPECT_EQ(house_.log.Failures("NEEDS_CONSENT"), 0);
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
}

TEST_F(RefresherFailuresTest, AServerThatWasBusyLeavesNoDoubtBehind) {
  UseRefreshToken();
  house_.endpoint.InjectNext({Kind::kTransient, {}, absl::Minutes(1)});
  ToNextRequest();
  house_.Advance(absl::Seconds(1));
  EXPECT_EQ(house_.log.Failures("REFRESH_FAILED"), 1);
  Restart();
  house_.Advance(absl::Minutes(2));
  EXPECT_EQ(house_.log.Failures("REFRESH_IN_DOUBT"), 0) << "it had done nothing";
  EXPECT_EQ(house_.endpoint.replays(), 0);
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
}

TEST_F(RefresherFailuresTest, ARefusalThatCouldNotBeStoredIsLearntAgain) {
  UseRefreshToken();
  house_.endpoint.NewGrant("app");  // the old one is not known any more
  ToNextRequest();
  house_.store.faults().FailAllCommits(CommitFault::kDiskFull);
  house_.Advance(absl::Seconds(1));
  EXPECT_EQ(house_.log.Failures("NEEDS_CONSENT"), 1);
  house_.store.faults().FailAllCommits(std::nullopt);
  Restart();
  house_.Advance(absl::Minutes(20));
  EXPECT_EQ(house_.log.Failures("NEEDS_CONSENT"), 2);
  const int requests = Requests();
  house_.Advance(absl::Hours(2));
  EXPECT_EQ(Requests(), requests);
}

TEST_F(RefresherFailuresTest, WhoeverWaitsIsNotToldOfDoubtWhenTheRetryIsAtHand) {
  UseRefreshToken();
  ToItsEnd();
  house_.endpoint.InjectNext({Kind::kServerError, {}, {}});
  const int before = Requests();
  const Waiting answer = Ask();
  house_.Advance(absl::Seconds(1));
  ASSERT_TRUE(answer->has_value()) << "nothing was left to lose";
  EXPECT_TRUE((**answer).ok()) << **answer;
  EXPECT_EQ(Requests(), before + 2);
  EXPECT_EQ(house_.log.Failures("REFRESH_IN_DOUBT"), 1);
  EXPECT_EQ(house_.log.Resolved("REFRESH_IN_DOUBT"), 1);
}

TEST_F(RefresherFailuresTest, AfterTheOneRetryTheWaitsGrow) {
  UseRefreshToken();
  ToItsEnd();
  house_.endpoint.SetFaults([] { return TokenFault{Kind::kServerError, {}, {}}; });
  const int before = Requests();
  const Waiting answer = Ask();
  house_.Advance(absl::Minutes(5));
  ASSERT_TRUE(answer->has_value());
  EXPECT_TRUE(absl::IsUnavailable(**answer)) << **answer;
  EXPECT_EQ(base::ReasonOf(**answer), "REFRESH_IN_DOUBT");
  EXPECT_GE(Requests(), before + 4);
  EXPECT_LE(Requests(), before + 40);
  house_.endpoint.SetFaults(nullptr);
  house_.Advance(absl::Minutes(10));
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
  EXPECT_EQ(house_.log.Resolved("REFRESH_IN_DOUBT"), 1);
}

TEST_F(RefresherFailuresTest, WhoeverWaitsForASecretIsToldWhichOne) {
  Apply("client_secret: { credential: s, field: part }, grant: client_credentials",
        "  s: { static: {} }\n");
  ASSERT_TRUE(house_.Put("s", "whole").ok());
  const Waiting first = Ask();
  house_.Advance(absl::Minutes(1));
  ASSERT_TRUE(first->has_value());
  EXPECT_TRUE(absl::IsFailedPrecondition(**first)) << **first;
  EXPECT_TRUE(absl::StrContains((**first).message(), "keyturn put s")) << **first;
  const Waiting again = Ask(absl::ZeroDuration());
  ASSERT_TRUE(again->has_value());
  EXPECT_TRUE(absl::StrContains((**again).message(), "keyturn put s"))
      << "also while the next attempt is waited for: " << **again;
  EXPECT_EQ(Requests(), 0);
}

TEST_F(RefresherFailuresTest, WhatIsToldIsTheLastFailure) {
  UseMachine();
  ToItsEnd();
  int calls = 0;
  house_.endpoint.SetFaults([&calls] {
    return ++calls == 1 ? TokenFault{Kind::kRefuseClient, {}, {}}
                        : TokenFault{Kind::kTransient, {}, absl::Minutes(5)};
  });
  const Waiting refused = Ask();
  house_.Advance(absl::Seconds(1));
  ASSERT_TRUE(refused->has_value());
  EXPECT_TRUE(absl::StrContains((**refused).message(), "invalid_client")) << **refused;
  house_.Advance(absl::Minutes(20));
  const Waiting busy = Ask(absl::ZeroDuration());
  ASSERT_TRUE(busy->has_value());
  EXPECT_TRUE(absl::StrContains((**busy).message(), "http_429")) << **busy;
}

TEST_F(RefresherFailuresTest, AnAskIsToldToComeBackAfterAQuarterOfAnHourAtMost) {
  UseMachine();
  ToItsEnd();
  house_.endpoint.SetFaults([] { return TokenFault{Kind::kTransient, {}, absl::Hours(3)}; });
  (void)Ask();
  house_.Advance(absl::Seconds(1));
  const Waiting answer = Ask(absl::ZeroDuration());
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ(base::RetryOf(**answer).value_or(absl::ZeroDuration()), absl::Minutes(15));
}

TEST_F(RefresherFailuresTest, NobodyKeepsATokenThatIsNotThere) {
  auto answer = std::make_shared<std::optional<absl::Status>>();
  house_.keeper().EnsureFresh("none", absl::Seconds(1), [answer](absl::Status s) { *answer = s; });
  house_.Advance(absl::ZeroDuration());
  ASSERT_TRUE(answer->has_value());
  EXPECT_TRUE(absl::IsNotFound(**answer)) << **answer;
  EXPECT_EQ(base::ReasonOf(**answer), "NO_SUCH_CREDENTIAL");
}

TEST_F(RefresherFailuresTest, AStoreThatFailsBeforeTheRequestIsNamedForWhatItIs) {
  UseRefreshToken();
  ToItsEnd();
  for (const auto& [fault, cause] : {std::pair(CommitFault::kDiskFull, "disk_full"),
                                     std::pair(CommitFault::kBrokenDisk, "store_error")}) {
    house_.log.Clear();
    house_.store.faults().FailAllCommits(fault);
    const int before = Requests();
    const Waiting answer = Ask(absl::Seconds(30));
    house_.Advance(absl::Minutes(1));
    EXPECT_EQ(Requests(), before) << "sent what could not be journaled";
    EXPECT_GE(house_.log.Count({"STORE_FULL", cause}), 1) << cause;
    ASSERT_TRUE(answer->has_value());
    EXPECT_TRUE(absl::IsUnavailable(**answer)) << **answer;
    house_.store.faults().FailAllCommits(std::nullopt);
    house_.Advance(absl::Minutes(5));
    EXPECT_TRUE(house_.endpoint.Accepts(Now()));
    ToItsEnd();
  }
}

TEST_F(RefresherFailuresTest, AReplyThatABrokenStoreCannotTakeIsHeld) {
  UseRefreshToken();
  ToNextRequest();
  house_.store.faults().FailAllCommits(CommitFault::kBrokenDisk);
  house_.Advance(absl::Seconds(3));
  EXPECT_GE(house_.log.Count({"STORE_FULL", "store_error"}), 1);
  house_.store.faults().FailAllCommits(std::nullopt);
  house_.Advance(absl::Seconds(2));
  house_.Advance(absl::Hours(2));
  EXPECT_EQ(house_.endpoint.replays(), 0);
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
}

TEST_F(RefresherFailuresTest, AReplyThatIsHeldOutlivesNoDeletedCredential) {
  UseRefreshToken();
  ToNextRequest();
  house_.store.faults().FailAllCommits(CommitFault::kDiskFull);
  house_.Advance(absl::Seconds(3));
  house_.store.faults().FailAllCommits(std::nullopt);
  ASSERT_TRUE(house_.Delete("credential", "t").ok());
  house_.Advance(absl::Hours(1));
  EXPECT_EQ(house_.sink.versions.count("t"), 0u);
  EXPECT_FALSE(house_.Describe("t").ok());
}

TEST_F(RefresherFailuresTest, WhatIsStoredOfARefreshTokenIsWhatTheServerSaid) {
  Apply("client_auth: none, grant: refresh_token");
  house_.endpoint.EditReplies(
      [](providers::TokenReply& reply) { reply.refresh_expires_in = absl::Hours(24 * 60); });
  ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("app")).ok());
  house_.Advance(absl::Seconds(1));
  const auto until = house_.Describe("t")->summary().consent_until().seconds();
  EXPECT_NEAR(static_cast<double>(until),
              static_cast<double>(absl::ToUnixSeconds(house_.clock.WallNow()) + 60 * 86400), 2);
  // A reply that says nothing about it does not put it off.
  house_.endpoint.EditReplies(nullptr);
  house_.Advance(absl::Hours(1));
  EXPECT_EQ(house_.Describe("t")->summary().consent_until().seconds(), until);
}

TEST_F(RefresherFailuresTest, AServerThatSendsNoNewRefreshTokenKeepsTheOld) {
  KeeperHouse::Options options;
  options.endpoint.rotates = false;
  KeeperHouse house(options);
  ASSERT_TRUE(house
                  .Apply("credentials:\n  t:\n    oauth: { token_url: https://h/t, client_id: app, "
                         "client_auth: none, grant: refresh_token }\n")
                  .ok());
  const std::string token = house.endpoint.NewGrant("app");
  ASSERT_TRUE(house.Put("t", token).ok());
  house.Advance(absl::Hours(3));
  EXPECT_EQ(house.endpoint.last_request().refresh_token.Reveal(), token);
  EXPECT_TRUE(house.endpoint.Accepts(house.Published("t")));
}

TEST_F(RefresherFailuresTest, ARefreshGoesToItsOwnAddress) {
  UseRefreshToken(", refresh_url: https://Other/r");
  EXPECT_EQ(house_.endpoint.last_request().server.endpoints.refresh, "https://Other/r");
}

// What happened while it could not be asked is not known, and then no longer matters.
TEST_F(RefresherFailuresTest, AServerThatIsNowSaidToKeepItsTokensLeavesNoDoubt) {
  KeeperHouse::Options options;
  options.endpoint.rotates = false;
  KeeperHouse house(options);
  const std::string yaml =
      "credentials:\n  t:\n    oauth: { token_url: https://h/t, client_id: app, client_auth: none, "
      "grant: refresh_token";
  ASSERT_TRUE(house.Apply(yaml + " }\n").ok());
  ASSERT_TRUE(house.Put("t", house.endpoint.NewGrant("app")).ok());
  house.Advance(absl::Seconds(1));
  house.endpoint.InjectNext({Kind::kLoseReply, {}, {}});
  const int before = house.endpoint.requests();
  ASSERT_TRUE(
      house.AdvanceUntil([&] { return house.endpoint.requests() > before; }, absl::Hours(1)));
  house.Advance(absl::Seconds(31));
  EXPECT_EQ(house.log.Failures("REFRESH_IN_DOUBT"), 1);
  ASSERT_TRUE(house.Apply(yaml + ", refresh_token: keeps }\n").ok());
  house.Crash();
  ASSERT_TRUE(house.Start().ok());
  house.Advance(absl::Seconds(5));
  EXPECT_EQ(house.log.Failures("REFRESH_IN_DOUBT"), 1) << "told of again";
  EXPECT_GE(house.endpoint.requests(), before + 2) << "the access token is used up first";
  EXPECT_LE(house.endpoint.requests(), before + 3);
  EXPECT_TRUE(house.endpoint.Accepts(house.Published("t")));
}

TEST_F(RefresherFailuresTest, WhoeverAsksWhileARevocationFailsIsServedAfterIt) {
  Apply("client_auth: none, grant: client_credentials, revocation_url: https://h/r");
  house_.Advance(absl::Seconds(1));
  house_.endpoint.SetRevocation(absl::UnavailableError("down"));
  v1::RevokeRequest request;
  request.set_name("t");
  house_.keeper().Revoke(request, [](const auto&) {});
  const Waiting answer = Ask();
  EXPECT_FALSE(answer->has_value());
  const int before = Requests();
  house_.Advance(absl::Seconds(5));
  ASSERT_TRUE(answer->has_value());
  EXPECT_TRUE((**answer).ok()) << **answer;
  EXPECT_EQ(Requests(), before + 1);
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
}

// Of three tokens of a server that is down, one has not failed yet.
TEST_F(RefresherFailuresTest, ATokenOfAServerThatIsDownIsNotWaitedForInVain) {
  const std::string others =
      "  u:\n    oauth: { token_url: https://H/t, client_id: u, client_auth: none, grant: "
      "client_credentials }\n  v:\n    oauth: { token_url: https://h/t, client_id: v, "
      "client_auth: none, grant: client_credentials }\n";
  Apply("client_auth: none, grant: client_credentials");
  house_.Advance(absl::Minutes(6));
  house_.endpoint.SetFaults([] { return TokenFault{Kind::kServerError, {}, {}}; });
  ASSERT_TRUE(house_.Apply("credentials:\n" + others).ok());
  ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.log.Failures("PROVIDER_DOWN") > 0; },
                                  absl::Minutes(4)));
  const int before = Requests();
  const Waiting answer = Ask(absl::Seconds(2));
  ASSERT_TRUE(answer->has_value()) << "it waits for nothing";
  EXPECT_TRUE(absl::IsUnavailable(**answer)) << **answer;
  EXPECT_GT(base::RetryOf(**answer).value_or(absl::ZeroDuration()), absl::Seconds(2));
  EXPECT_EQ(Requests(), before);
  const auto refreshed = house_.Refreshing("t");
  ASSERT_TRUE(refreshed->has_value());
  EXPECT_TRUE(absl::IsUnavailable(**refreshed)) << **refreshed;
  EXPECT_EQ(Requests(), before) << "an administrator does not get through either";
}

TEST_F(RefresherFailuresTest, WithoutATokenUrlTheIssuerIsTheServerThatIsSpared) {
  const auto token = [](const std::string& name) {
    return absl::StrCat("  ", name, ":\n    oauth: { issuer: https://idp.test, client_id: ", name,
                        ", client_auth: none, grant: client_credentials }\n");
  };
  house_.endpoint.SetFaults([] { return TokenFault{Kind::kServerError, {}, {}}; });
  ASSERT_TRUE(house_.Apply("credentials:\n" + token("t") + token("u") + token("v")).ok());
  ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.log.Failures("PROVIDER_DOWN") > 0; },
                                  absl::Minutes(4)));
  EXPECT_EQ(house_.log.Count({"PROVIDER_DOWN", "\"provider\":\"idp.test\""}), 1);
}

TEST_F(RefresherFailuresTest, ApplyingDuringAFlightDoesNotBeginAnother) {
  UseRefreshToken();
  ToNextRequest();
  const int requests = Requests();
  Apply("client_auth: none, grant: refresh_token, scopes: [a]");
  house_.Advance(absl::Seconds(5));
  EXPECT_EQ(house_.endpoint.most_in_flight(), 1);
  EXPECT_LE(Requests(), requests + 1);
  EXPECT_EQ(house_.endpoint.replays(), 0);
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
}

}  // namespace
}  // namespace keyturn::lifecycle
