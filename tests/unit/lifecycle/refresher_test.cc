// SPDX-License-Identifier: Apache-2.0
// The refresher within its Keeper, against a token endpoint that loses replies and detects reuse.
#include "agent/lifecycle/oauth/refresher.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using fakes::CommitFault;
using fakes::KeeperHouse;
using fakes::TokenFault;
using Kind = fakes::TokenFault::Kind;

std::string TokenYaml(const std::string& more) {
  return absl::StrCat(
      "credentials:\n  crm/token:\n    oauth:\n      token_url: https://crm.example.com/token\n"
      "      client_id: app\n      client_auth: none\n",
      more);
}

class RefresherTest : public testing::Test {
 protected:
  void UseClientCredentials() {
    ASSERT_TRUE(house_.Apply(TokenYaml("      grant: client_credentials\n")).ok());
  }
  // A refresh token that rotates, put and used once.
  void UseRefreshToken(const std::string& more = "") {
    ASSERT_TRUE(house_.Apply(TokenYaml("      grant: refresh_token\n" + more)).ok());
    ASSERT_TRUE(house_.Put("crm/token", house_.endpoint.NewGrant("app")).ok());
    house_.Advance(absl::Seconds(1));
    ASSERT_NE(Now(), "");
    house_.log.Clear();  // of the wait for the first refresh token
  }
  std::string Now() { return house_.Published("crm/token"); }
  const PublishedVersion& Version() { return house_.sink.versions.at("crm/token"); }
  // Fills `answer` when it comes.
  void Ask(absl::Duration timeout, std::optional<absl::Status>& answer) {
    house_.keeper().EnsureFresh("crm/token", timeout,
                                [&answer](absl::Status status) { answer = status; });
  }
  // To just after the next background refresh was sent.
  void ToNextRequest() {
    const int before = house_.endpoint.requests();
    ASSERT_TRUE(
        house_.AdvanceUntil([&] { return house_.endpoint.requests() > before; }, absl::Hours(2)));
  }

  KeeperHouse house_{{}};
};

TEST_F(RefresherTest, FetchesAFirstTokenAndKeepsItFresh) {
  UseClientCredentials();
  for (int i = 0; i < 600; ++i) {
    house_.Advance(absl::Seconds(10));
    ASSERT_TRUE(house_.endpoint.Accepts(Now())) << "after " << i * 10 << " s";
  }
  // 100 minutes of ten-minute tokens, each used for 70 to 80 percent.
  EXPECT_GE(house_.endpoint.requests(), 100 / 8);
  EXPECT_LE(house_.endpoint.requests(), 100 / 7 + 2);
}

TEST_F(RefresherTest, AThousandWhoAskShareOneRequest) {
  UseClientCredentials();
  house_.Advance(absl::Seconds(1));
  const int before = house_.endpoint.requests();
  int answered = 0;
  for (int i = 0; i < 1000; ++i) {
    house_.keeper().EnsureFresh("crm/token", absl::Seconds(10), [&](absl::Status status) {
      EXPECT_TRUE(status.ok()) << status;
      ++answered;
    });
  }
  house_.Advance(absl::Seconds(1));
  EXPECT_EQ(answered, 1000);
  EXPECT_EQ(house_.endpoint.requests(), before + 1);
  EXPECT_EQ(house_.endpoint.most_in_flight(), 1);
}

TEST_F(RefresherTest, WhoeverGivesUpLeavesTheFlightGoingOn) {
  UseClientCredentials();
  const std::string before = Now();
  std::optional<absl::Status> hasty, patient;
  Ask(absl::Milliseconds(5), hasty);
  Ask(absl::Seconds(5), patient);
  house_.Advance(absl::Milliseconds(6));
  ASSERT_TRUE(hasty.has_value());
  EXPECT_TRUE(absl::IsDeadlineExceeded(*hasty)) << *hasty;
  EXPECT_FALSE(patient.has_value());
  house_.Advance(absl::Seconds(1));
  ASSERT_TRUE(patient.has_value());
  EXPECT_TRUE(patient->ok()) << *patient;
  EXPECT_NE(Now(), before);
}

TEST_F(RefresherTest, AskingDoesNotHurryTheNextAttempt) {
  UseClientCredentials();
  house_.Advance(absl::Seconds(1));
  house_.endpoint.SetFaults([] { return TokenFault{Kind::kTransient, {}, absl::Minutes(2)}; });
  ToNextRequest();
  house_.Advance(absl::Seconds(1));
  const int failed = house_.endpoint.requests();
  std::optional<absl::Status> answer;
  for (int i = 0; i < 50; ++i) {
    answer.reset();
    Ask(absl::Seconds(1), answer);
    house_.Advance(absl::Seconds(1));
    ASSERT_TRUE(answer.has_value());
    EXPECT_TRUE(absl::IsUnavailable(*answer)) << *answer;
    EXPECT_GT(base::RetryOf(*answer).value_or(absl::ZeroDuration()), absl::Seconds(1));
  }
  EXPECT_EQ(house_.endpoint.requests(), failed);
  // Retry-After is a floor, not for ever.
  house_.Advance(absl::Minutes(10));
  EXPECT_GT(house_.endpoint.requests(), failed);
}

TEST_F(RefresherTest, AFailureIsReportedAndResolved) {
  UseClientCredentials();
  house_.Advance(absl::Seconds(1));
  house_.endpoint.InjectNext({Kind::kTransient, {}, {}});
  ToNextRequest();
  house_.Advance(absl::Minutes(1));
  EXPECT_EQ(house_.log.Failures("REFRESH_FAILED"), 1);
  EXPECT_EQ(house_.log.Resolved("REFRESH_FAILED"), 1);
}

TEST_F(RefresherTest, ARefusedClientIsAskedAgainOnlyAfterAQuarterOfAnHour) {
  UseClientCredentials();
  house_.Advance(absl::Seconds(1));
  house_.endpoint.SetFaults([] { return TokenFault{Kind::kRefuseClient, {}, {}}; });
  ToNextRequest();
  const int before = house_.endpoint.requests();
  house_.Advance(absl::Minutes(14));
  EXPECT_EQ(house_.endpoint.requests(), before);
  house_.endpoint.SetFaults(nullptr);
  house_.Advance(absl::Minutes(3));
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
}

TEST_F(RefresherTest, AProxysPageIsReportedOnceItPersistsAndNeverEndsTheGrant) {
  UseRefreshToken();
  house_.log.Clear();
  int pages = 0;
  house_.endpoint.SetFaults([&] {
    return ++pages <= 3 ? TokenFault{Kind::kProxyPage, {}, {}} : TokenFault{};
  });
  ASSERT_TRUE(house_.AdvanceUntil([&] { return pages >= 2; }, absl::Hours(1)));
  house_.Advance(absl::Milliseconds(100));
  EXPECT_EQ(house_.log.Failures("REFRESH_FAILED"), 0);
  ASSERT_TRUE(house_.AdvanceUntil([&] { return pages >= 4; }, absl::Hours(1)));
  house_.Advance(absl::Seconds(1));
  EXPECT_EQ(house_.log.Failures("REFRESH_FAILED"), 1);
  EXPECT_TRUE(house_.endpoint.GrantAlive("app"));
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
}

TEST_F(RefresherTest, RotatingRefreshTokensStayAliveOverManyRefreshes) {
  UseRefreshToken();
  house_.Advance(absl::Hours(10));
  EXPECT_GT(house_.endpoint.requests(), 60);
  EXPECT_EQ(house_.endpoint.replays(), 0);
  EXPECT_TRUE(house_.endpoint.GrantAlive("app"));
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
}

TEST_F(RefresherTest, InvalidGrantNeedsConsentAndSaysSoAtOnceUntilATokenIsPut) {
  UseRefreshToken();
  house_.endpoint.NewGrant("app");  // the old one is not known any more
  ToNextRequest();
  house_.Advance(absl::Seconds(1));
  EXPECT_EQ(house_.log.Failures("NEEDS_CONSENT"), 1);
  const int requests = house_.endpoint.requests();
  std::optional<absl::Status> answer;
  Ask(absl::Seconds(30), answer);
  house_.Advance(absl::Hours(1));
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(absl::IsFailedPrecondition(*answer)) << *answer;
  EXPECT_EQ(base::ReasonOf(*answer), "NEEDS_CONSENT");
  EXPECT_EQ(house_.endpoint.requests(), requests) << "it goes on asking with a dead token";
  ASSERT_TRUE(house_.Put("crm/token", house_.endpoint.NewGrant("app")).ok());
  house_.Advance(absl::Seconds(1));
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
  EXPECT_EQ(house_.log.Resolved("NEEDS_CONSENT"), 1);
}

TEST_F(RefresherTest, ConsentIsStillNeededAfterARestart) {
  UseRefreshToken();
  house_.endpoint.NewGrant("app");
  ToNextRequest();
  house_.Advance(absl::Seconds(1));
  const int requests = house_.endpoint.requests();
  house_.Crash();
  ASSERT_TRUE(house_.Start().ok());
  house_.Advance(absl::Hours(1));
  EXPECT_EQ(house_.endpoint.requests(), requests);
}

TEST_F(RefresherTest, ATokenThatIsPutDuringAFlightWins) {
  UseRefreshToken();
  ToNextRequest();  // with the old grant
  const std::string token = house_.endpoint.NewGrant("app");
  ASSERT_TRUE(house_.Put("crm/token", token).ok());
  house_.Advance(absl::Seconds(2));
  // The flight failed (its grant is gone); the new token is used instead of asking for consent.
  EXPECT_EQ(house_.log.Failures("NEEDS_CONSENT"), 0);
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
  house_.Advance(absl::Hours(2));
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
}

TEST_F(RefresherTest, ATokenThatIsPutDuringALostFlightIsNotInDoubtItself) {
  UseRefreshToken();
  house_.endpoint.InjectNext({Kind::kLoseReply, {}, {}});
  ToNextRequest();
  ASSERT_TRUE(house_.Put("crm/token", house_.endpoint.NewGrant("app")).ok());
  const int requests = house_.endpoint.requests();
  house_.Advance(absl::Seconds(40));  // the flight has timed out
  EXPECT_EQ(house_.endpoint.requests(), requests + 1) << "the new token was never sent before";
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
  EXPECT_EQ(house_.log.Failures("REFRESH_IN_DOUBT"), 0);
}

TEST_F(RefresherTest, AReplyToTheOldTokenDoesNotOverwriteTheOneThatWasPut) {
  UseRefreshToken();
  ToNextRequest();
  house_.Advance(absl::Milliseconds(30));  // the exchange is done, its reply on its way
  const std::string token = house_.endpoint.NewGrant("app");
  ASSERT_TRUE(house_.Put("crm/token", token).ok());
  house_.Advance(absl::Hours(2));
  EXPECT_EQ(house_.endpoint.replays(), 0);
  EXPECT_EQ(house_.log.Failures("NEEDS_CONSENT"), 0);
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
}

TEST_F(RefresherTest, InDoubtWithoutLeewayTheTokenInHandIsUsedUpFirst) {
  UseRefreshToken();
  const std::string served = Now();
  house_.endpoint.InjectNext({Kind::kLoseRequest, {}, {}});
  ToNextRequest();
  const int requests = house_.endpoint.requests();
  house_.Advance(absl::Seconds(31));
  EXPECT_EQ(house_.log.Failures("REFRESH_IN_DOUBT"), 1);
  const base::BootTime hard = Version().hard;
  house_.Advance(hard - house_.clock.BootNow() - absl::Seconds(1));
  EXPECT_EQ(house_.endpoint.requests(), requests) << "a replay before it had to be";
  EXPECT_EQ(Now(), served);
  house_.Advance(absl::Seconds(2));
  EXPECT_EQ(house_.endpoint.requests(), requests + 1);
  EXPECT_NE(Now(), served);
  EXPECT_EQ(house_.log.Resolved("REFRESH_IN_DOUBT"), 1);
}

TEST_F(RefresherTest, InDoubtAnAdministratorsRefreshIsRefusedUntilTheTryIsAtHand) {
  UseRefreshToken();
  house_.endpoint.InjectNext({Kind::kLoseRequest, {}, {}});
  ToNextRequest();
  const int requests = house_.endpoint.requests();
  house_.Advance(absl::Seconds(31));
  const auto early = house_.Refreshing("crm/token");
  ASSERT_TRUE(early->has_value()) << "it waits for minutes";
  EXPECT_TRUE(absl::IsFailedPrecondition(**early)) << **early;
  EXPECT_EQ(base::ReasonOf(**early), "REFRESH_IN_DOUBT");
  EXPECT_EQ(house_.endpoint.requests(), requests) << "a replay before it had to be";
  house_.Advance(Version().hard - house_.clock.BootNow() - absl::Seconds(3));
  const auto late = house_.Refreshing("crm/token");
  EXPECT_FALSE(late->has_value()) << **late;
  EXPECT_EQ(house_.endpoint.requests(), requests) << "hurried by an administrator";
  ASSERT_TRUE(house_.AdvanceUntil([&] { return late->has_value(); }, absl::Seconds(10)));
  EXPECT_TRUE((**late).ok()) << **late;
  EXPECT_EQ(house_.endpoint.requests(), requests + 1);
}

TEST_F(RefresherTest, InDoubtTheLastTryThatFailsNeedsConsent) {
  UseRefreshToken();
  house_.endpoint.InjectNext({Kind::kLoseReply, {}, {}});
  ToNextRequest();
  house_.Advance(absl::Hours(1));
  EXPECT_EQ(house_.endpoint.replays(), 1);
  EXPECT_EQ(house_.log.Failures("NEEDS_CONSENT"), 1);
}

TEST_F(RefresherTest, InDoubtWithinTheLeewayTheSameTokenIsTriedAgainSoon) {
  KeeperHouse::Options options;
  options.endpoint.leeway = absl::Minutes(2);
  KeeperHouse house(options);
  ASSERT_TRUE(house
                  .Apply(TokenYaml("      grant: refresh_token\n      refresh_token: rotates\n"
                                   "      leeway: 2m\n"))
                  .ok());
  ASSERT_TRUE(house.Put("crm/token", house.endpoint.NewGrant("app")).ok());
  house.Advance(absl::Seconds(1));
  const int before = house.endpoint.requests();
  house.endpoint.InjectNext({Kind::kLoseReply, {}, {}});
  ASSERT_TRUE(
      house.AdvanceUntil([&] { return house.endpoint.requests() > before; }, absl::Hours(1)));
  house.Advance(absl::Seconds(40));
  EXPECT_EQ(house.endpoint.requests(), before + 2);
  EXPECT_EQ(house.endpoint.replays(), 0);
  EXPECT_TRUE(house.endpoint.GrantAlive("app"));
}

TEST_F(RefresherTest, ARestartDuringAFlightIsDoubtAsWell) {
  UseRefreshToken();
  const std::string served = Now();
  ToNextRequest();
  const int requests = house_.endpoint.requests();
  house_.Crash();
  ASSERT_TRUE(house_.Start().ok());
  EXPECT_EQ(Now(), served) << "the token in hand is handed out at once";
  EXPECT_EQ(house_.log.Failures("REFRESH_IN_DOUBT"), 1);
  house_.Advance(absl::Seconds(30));
  EXPECT_EQ(house_.endpoint.requests(), requests);
}

TEST_F(RefresherTest, AServerThatKeepsRefreshTokensIsSimplyAskedAgain) {
  KeeperHouse::Options options;
  options.endpoint.rotates = false;
  KeeperHouse house(options);
  ASSERT_TRUE(
      house.Apply(TokenYaml("      grant: refresh_token\n      refresh_token: keeps\n")).ok());
  ASSERT_TRUE(house.Put("crm/token", house.endpoint.NewGrant("app")).ok());
  house.Advance(absl::Seconds(1));
  const int before = house.endpoint.requests();
  house.endpoint.InjectNext({Kind::kLoseReply, {}, {}});
  ASSERT_TRUE(
      house.AdvanceUntil([&] { return house.endpoint.requests() > before; }, absl::Hours(1)));
  house.Advance(absl::Minutes(1));
  EXPECT_EQ(house.endpoint.requests(), before + 2);
  EXPECT_EQ(house.log.Failures("REFRESH_IN_DOUBT"), 0);
}

TEST_F(RefresherTest, AReplyThatCannotBeStoredIsHeldAndNotHandedOut) {
  UseRefreshToken();
  const std::string served = Now();
  ToNextRequest();
  house_.store.faults().FailAllCommits(CommitFault::kDiskFull);
  const int requests = house_.endpoint.requests();
  house_.Advance(absl::Seconds(20));
  EXPECT_EQ(Now(), served) << "handed out what a crash would lose";
  EXPECT_EQ(house_.endpoint.requests(), requests);
  EXPECT_GE(house_.log.Failures("STORE_FULL"), 1);
  house_.store.faults().FailAllCommits(std::nullopt);
  house_.Advance(absl::Seconds(2));
  EXPECT_NE(Now(), served);
  EXPECT_EQ(house_.endpoint.requests(), requests);
  EXPECT_EQ(house_.log.Resolved("STORE_FULL"), 1);
  house_.Advance(absl::Hours(1));
  EXPECT_EQ(house_.endpoint.replays(), 0);
}

TEST_F(RefresherTest, NothingIsSentThatCouldNotBeJournaled) {
  UseRefreshToken();
  house_.store.faults().FailAllCommits(CommitFault::kDiskFull);
  const int requests = house_.endpoint.requests();
  house_.Advance(absl::Hours(1));
  EXPECT_EQ(house_.endpoint.requests(), requests);
  house_.store.faults().FailAllCommits(std::nullopt);
  house_.Advance(absl::Minutes(10));
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
  EXPECT_EQ(house_.endpoint.replays(), 0);
}

TEST_F(RefresherTest, AnExpiredTokenIsRefreshedOnceTheMachineWakes) {
  UseClientCredentials();
  house_.Advance(absl::Seconds(1));
  house_.clock.Advance(absl::Hours(9));  // asleep: no timer ran
  house_.Advance(absl::Seconds(1));
  EXPECT_TRUE(house_.endpoint.Accepts(Now()));
}

TEST_F(RefresherTest, SettingTheDateDoesNotChangeWhenATokenExpires) {
  UseClientCredentials();
  house_.Advance(absl::Seconds(1));
  const base::BootTime expires = Version().expires;
  house_.clock.StepWall(-absl::Hours(20));
  const int before = house_.endpoint.requests();
  ASSERT_TRUE(
      house_.AdvanceUntil([&] { return house_.endpoint.requests() > before; }, absl::Hours(1)));
  EXPECT_LT(house_.clock.BootNow(), expires);
}

TEST_F(RefresherTest, DeletingTheCredentialEndsTheWaiting) {
  UseClientCredentials();
  house_.endpoint.InjectNext({Kind::kLoseReply, {}, {}});
  std::optional<absl::Status> answer;
  Ask(absl::Minutes(1), answer);
  house_.Advance(absl::Milliseconds(1));
  ASSERT_TRUE(house_.Delete("credential", "crm/token").ok());
  ASSERT_TRUE(answer.has_value());
  EXPECT_FALSE(answer->ok());
  house_.Advance(absl::Hours(1));  // its reply finds nobody
  EXPECT_EQ(house_.sink.versions.count("crm/token"), 0u);
}

}  // namespace
}  // namespace keyturn::lifecycle
