// SPDX-License-Identifier: Apache-2.0
// The refresher behind the gates of its servers: servers that are down, agents that sleep, consent
// that ends, tokens that are bound to a key, lifetimes that only the server knows.
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/lifecycle/oauth/consent_expiry.h"
#include "agent/lifecycle/oauth/refresher.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using fakes::KeeperHouse;
using fakes::TokenFault;
using Kind = fakes::TokenFault::Kind;

std::string Token(const std::string& name, const std::string& more) {
  return absl::StrCat("  ", name, ":\n    oauth: { token_url: https://crm.example.com/token, ",
                      "client_id: app, client_auth: none, ", more, " }\n");
}

class RefresherQueueTest : public testing::Test {
 protected:
  void Apply(const std::string& credentials) {
    const absl::Status status = house_.Apply(absl::StrCat("credentials:\n", credentials));
    ASSERT_TRUE(status.ok()) << status;
  }
  void UseClientCredentials(const std::string& more = "") {
    Apply(Token("t", absl::StrCat("grant: client_credentials", more)));
    house_.Advance(absl::Seconds(1));
    ASSERT_NE(house_.Published("t"), "");
  }
  // One token alone is not tried often enough to show that its server is down.
  void UseTwoMore() {
    Apply(Token("u", "grant: client_credentials"));
    Apply(Token("v", "grant: client_credentials"));
    house_.Advance(absl::Seconds(1));
  }
  void UseRefreshToken(const std::string& more) {
    Apply(Token("t", absl::StrCat("grant: refresh_token", more)));
    ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("app")).ok());
    house_.Advance(absl::Seconds(1));
    ASSERT_NE(house_.Published("t"), "");
    house_.log.Clear();
  }
  void ToNextRequest(absl::Duration limit = absl::Hours(2)) {
    const int before = house_.endpoint.requests();
    ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.endpoint.requests() > before; }, limit));
  }
  absl::Status Ask(absl::Duration timeout) {
    std::optional<absl::Status> answer;
    house_.keeper().EnsureFresh("t", timeout, [&](absl::Status status) { answer = status; });
    house_.AdvanceUntil([&] { return answer.has_value(); }, timeout + absl::Seconds(1));
    return answer.value_or(absl::InternalError("no answer"));
  }

  KeeperHouse house_{{}};
};

TEST_F(RefresherQueueTest, AServerThatIsDownIsSparedAndToldOfOnce) {
  UseClientCredentials();
  UseTwoMore();
  house_.endpoint.SetFaults([] { return TokenFault{Kind::kServerError, {}, {}}; });
  ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.log.Failures("PROVIDER_DOWN") > 0; },
                                  absl::Hours(1)));
  const int before = house_.endpoint.requests();
  EXPECT_GE(before, 6);
  // Asking does not get through, and says when to come back.
  const absl::Status answer = Ask(absl::Seconds(1));
  EXPECT_TRUE(absl::IsUnavailable(answer)) << answer;
  EXPECT_GT(base::RetryOf(answer).value_or(absl::ZeroDuration()), absl::ZeroDuration());
  house_.Advance(absl::Seconds(25));
  EXPECT_EQ(house_.endpoint.requests(), before);
  // One probe after each pause, each twice as long, five minutes at most.
  house_.Advance(absl::Hours(1));
  EXPECT_LE(house_.endpoint.requests(), before + 16);
  EXPECT_GE(house_.endpoint.requests(), before + 8);
  EXPECT_EQ(house_.log.Resolved("PROVIDER_DOWN"), 0);
  house_.endpoint.SetFaults(nullptr);
  house_.Advance(absl::Minutes(11));
  EXPECT_EQ(house_.log.Resolved("PROVIDER_DOWN"), 1);
  EXPECT_TRUE(house_.endpoint.Accepts(house_.Published("t")));
}

TEST_F(RefresherQueueTest, WhoeverWaitsWhenTheServerGoesDownIsToldWhenToComeBack) {
  UseClientCredentials();
  UseTwoMore();
  house_.endpoint.SetFaults([] { return TokenFault{Kind::kServerError, {}, {}}; });
  ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.log.Failures("PROVIDER_DOWN") > 0; },
                                  absl::Hours(1)));
  // With a patience beyond the pause, the probe is waited for.
  house_.endpoint.SetFaults(nullptr);
  const absl::Status answer = Ask(absl::Minutes(6));
  EXPECT_TRUE(answer.ok()) << answer;
}

TEST_F(RefresherQueueTest, DeletingTheLastTokenOfAServerThatIsDownEndsTheReport) {
  UseClientCredentials();
  UseTwoMore();
  house_.endpoint.SetFaults([] { return TokenFault{Kind::kServerError, {}, {}}; });
  ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.log.Failures("PROVIDER_DOWN") > 0; },
                                  absl::Hours(1)));
  ASSERT_TRUE(house_.Delete("credential", "t").ok());
  ASSERT_TRUE(house_.Delete("credential", "u").ok());
  EXPECT_EQ(house_.log.Resolved("PROVIDER_DOWN"), 0);
  ASSERT_TRUE(house_.Delete("credential", "v").ok());
  EXPECT_EQ(house_.log.Resolved("PROVIDER_DOWN"), 1);
  house_.Advance(absl::Hours(1));
}

TEST_F(RefresherQueueTest, AnAdministratorsRefreshIsNoRetry) {
  UseClientCredentials();
  // Failures that keep the breaker shut use up what a lone token may retry.
  house_.endpoint.SetFaults([] { return TokenFault{Kind::kProxyPage, {}, {}}; });
  ToNextRequest();
  house_.Advance(absl::Minutes(5));
  house_.endpoint.SetFaults(nullptr);
  for (int i = 0; i < 5; ++i) {
    const auto answer = house_.Refreshing("t");
    house_.Advance(absl::Seconds(1));
    ASSERT_TRUE(answer->has_value()) << "a person waits";
    EXPECT_TRUE((**answer).ok()) << **answer;
    house_.endpoint.InjectNext({Kind::kProxyPage, {}, {}});
    house_.keeper().EnsureFresh("t", absl::ZeroDuration(), [](absl::Status) {});
    house_.Advance(absl::Seconds(1));
  }
}

TEST_F(RefresherQueueTest, ATokenThatHasEndedIsNotHandedOutAndAnotherIsFetched) {
  UseClientCredentials();
  house_.endpoint.InjectNext({Kind::kEndedToken, {}, {}});
  ToNextRequest();
  house_.Advance(absl::Milliseconds(100));
  EXPECT_FALSE(house_.clock.BootNow() < house_.sink.versions.at("t").expires);
  house_.Advance(absl::Seconds(5));
  EXPECT_TRUE(house_.endpoint.Accepts(house_.Published("t")));
  EXPECT_EQ(house_.log.Failures("REFRESH_FAILED"), 1);
  EXPECT_EQ(house_.log.Resolved("REFRESH_FAILED"), 1);
}

TEST_F(RefresherQueueTest, AServerThatGivesOnlyEndedTokensIsNotAskedForEver) {
  UseClientCredentials();
  house_.endpoint.SetFaults([] { return TokenFault{Kind::kEndedToken, {}, {}}; });
  ToNextRequest();
  const int before = house_.endpoint.requests();
  house_.Advance(absl::Hours(1));
  EXPECT_LE(house_.endpoint.requests(), before + 400);
  EXPECT_GE(house_.endpoint.requests(), before + 10);
}

TEST_F(RefresherQueueTest, ManyTokensOfOneServerDoNotAskAtOnce) {
  std::string all;
  for (int i = 0; i < 60; ++i)
    absl::StrAppend(&all, Token(absl::StrCat("t", i), "grant: client_credentials"));
  Apply(all);
  house_.Advance(absl::Milliseconds(500));
  EXPECT_EQ(house_.endpoint.requests(), 20);
  house_.Advance(absl::Seconds(45));
  EXPECT_EQ(house_.endpoint.requests(), 60);
  for (int i = 0; i < 60; ++i) {
    EXPECT_TRUE(house_.endpoint.Accepts(house_.Published(absl::StrCat("t", i)))) << i;
  }
}

TEST_F(RefresherQueueTest, ALeewayThatWasSleptThroughIsNotCountedOn) {
  KeeperHouse::Options options;
  options.endpoint.leeway = absl::Minutes(2);
  options.endpoint.lifetime = absl::Hours(8);
  KeeperHouse house(options);
  ASSERT_TRUE(house
                  .Apply(absl::StrCat("credentials:\n",
                                      Token("t",
                                            "grant: refresh_token, refresh_token: rotates, "
                                            "leeway: 2m")))
                  .ok());
  ASSERT_TRUE(house.Put("t", house.endpoint.NewGrant("app")).ok());
  house.Advance(absl::Seconds(1));
  house.endpoint.InjectNext({Kind::kLoseReply, {}, {}});
  const int before = house.endpoint.requests();
  ASSERT_TRUE(
      house.AdvanceUntil([&] { return house.endpoint.requests() > before; }, absl::Hours(8)));
  ASSERT_TRUE(house.AdvanceUntil([&] { return house.log.Failures("REFRESH_IN_DOUBT") > 0; },
                                 absl::Minutes(1)));
  house.clock.Advance(absl::Minutes(30));  // asleep, before the repetition
  house.Advance(absl::Seconds(10));
  EXPECT_EQ(house.endpoint.requests(), before + 1) << "repeated beyond the leeway";
  EXPECT_EQ(house.endpoint.replays(), 0);
}

TEST_F(RefresherQueueTest, ADateSetBackIsNoLeeway) {
  KeeperHouse::Options options;
  options.endpoint.leeway = absl::Minutes(2);
  options.endpoint.lifetime = absl::Hours(8);
  KeeperHouse house(options);
  ASSERT_TRUE(house
                  .Apply(absl::StrCat("credentials:\n",
                                      Token("t",
                                            "grant: refresh_token, refresh_token: rotates, "
                                            "leeway: 2m")))
                  .ok());
  ASSERT_TRUE(house.Put("t", house.endpoint.NewGrant("app")).ok());
  house.Advance(absl::Seconds(1));
  const int before = house.endpoint.requests();
  house.endpoint.InjectNext({Kind::kLoseReply, {}, {}});
  ASSERT_TRUE(
      house.AdvanceUntil([&] { return house.endpoint.requests() > before; }, absl::Hours(8)));
  house.Crash();
  house.clock.Advance(absl::Minutes(10));
  house.clock.StepWall(-absl::Hours(1));
  ASSERT_TRUE(house.Start().ok());
  house.Advance(absl::Minutes(5));
  EXPECT_EQ(house.endpoint.requests(), before + 1);
  EXPECT_EQ(house.endpoint.replays(), 0);
}

TEST_F(RefresherQueueTest, WhatMayStillBeOnItsWayIsWaitedFor) {
  KeeperHouse::Options options;
  options.endpoint.leeway = absl::Minutes(2);
  options.endpoint.latency = absl::Seconds(10);
  KeeperHouse house(options);
  ASSERT_TRUE(house
                  .Apply(absl::StrCat("credentials:\n",
                                      Token("t",
                                            "grant: refresh_token, refresh_token: rotates, "
                                            "leeway: 2m")))
                  .ok());
  ASSERT_TRUE(house.Put("t", house.endpoint.NewGrant("app")).ok());
  house.Advance(absl::Minutes(1));
  const int before = house.endpoint.requests();
  ASSERT_TRUE(
      house.AdvanceUntil([&] { return house.endpoint.requests() > before; }, absl::Hours(1)));
  house.Crash();  // the request arrives in ten seconds
  house.endpoint.ForgetCallers();
  ASSERT_TRUE(house.Start().ok());
  house.Advance(absl::Seconds(25));
  EXPECT_EQ(house.endpoint.requests(), before + 1);
  house.Advance(absl::Hours(2));
  EXPECT_EQ(house.endpoint.replays(), 0);
  EXPECT_TRUE(house.endpoint.GrantAlive("app"));
}

TEST_F(RefresherQueueTest, ARefreshTokenThatWouldDieOfIdlenessIsUsedInTime) {
  KeeperHouse::Options options;
  options.endpoint.lifetime = absl::Hours(24 * 30);
  KeeperHouse house(options);
  ASSERT_TRUE(house
                  .Apply(absl::StrCat("credentials:\n",
                                      Token("t", "grant: refresh_token, consent: { idle: 10d }")))
                  .ok());
  ASSERT_TRUE(house.Put("t", house.endpoint.NewGrant("app")).ok());
  house.Advance(absl::Seconds(1));
  const int before = house.endpoint.requests();
  house.Advance(absl::Hours(24 * 8 - 1));
  EXPECT_EQ(house.endpoint.requests(), before);
  house.Advance(absl::Hours(2));
  EXPECT_EQ(house.endpoint.requests(), before + 1);
  house.Advance(absl::Hours(24 * 8));
  EXPECT_EQ(house.endpoint.requests(), before + 2);
}

TEST_F(RefresherQueueTest, PeopleAreToldFourTimesThatConsentEnds) {
  UseRefreshToken(", consent: { lifetime: 30d }");
  const auto until = house_.Describe("t")->summary().consent_until();
  EXPECT_NEAR(static_cast<double>(until.seconds()),
              static_cast<double>(absl::ToUnixSeconds(house_.clock.WallNow() + absl::Hours(720))),
              5);
  house_.Advance(absl::Hours(24 * 15));
  EXPECT_EQ(house_.log.Failures("EXPIRES_SOON"), 0);
  house_.Advance(absl::Hours(24 * 2));
  EXPECT_EQ(house_.log.Failures("EXPIRES_SOON"), 1);
  house_.Advance(absl::Hours(24 * 12 + 12));
  EXPECT_EQ(house_.log.Failures("EXPIRES_SOON"), 4) << "at 14, 7, 3 and 1 days";
  EXPECT_EQ(house_.log.Resolved("EXPIRES_SOON"), 0) << "a refresh does not put it off";
  ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("app")).ok());
  house_.Advance(absl::Seconds(1));
  EXPECT_EQ(house_.log.Resolved("EXPIRES_SOON"), 1);
}

TEST(ConsentNotice, AShortConsentIsToldOfAtAHalfAndAQuarter) {
  const absl::Time since = absl::FromUnixSeconds(1767614400);
  const absl::Time until = since + absl::Hours(8);
  const auto due = [&](double hours) {
    return oauth::NoticeOf(since, until, since + absl::Hours(hours)).due;
  };
  EXPECT_EQ(due(3.9), 0);
  EXPECT_EQ(due(4), 1);
  EXPECT_EQ(due(6), 2);
  EXPECT_EQ(oauth::NoticeOf(since, until, since).next, since + absl::Hours(4));
  EXPECT_EQ(oauth::NoticeOf(since, until, since + absl::Hours(7)).next, absl::InfiniteFuture());
}

TEST_F(RefresherQueueTest, ABoundTokenIsHandedOutWithItsKey) {
  UseClientCredentials(", dpop: true");
  const PublishedVersion& version = house_.sink.versions.at("t");
  if (version.value.Find("dpop_key") == nullptr) {
    // This server gives tokens that are not bound, whatever the client offers.
    EXPECT_EQ(version.token_type, "Bearer");
    EXPECT_EQ(version.attach_format, "Bearer {value}");
  } else {
    EXPECT_EQ(version.token_type, "DPoP");
    EXPECT_EQ(version.attach_format, "DPoP {value}");
  }
}

}  // namespace
}  // namespace keyturn::lifecycle
