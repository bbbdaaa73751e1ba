// SPDX-License-Identifier: Apache-2.0
// What people do to a credential while its token is being refreshed, in doubt or waiting: nothing
// that was got in other terms is kept, nothing in doubt is hurried, and no refresh token is lost.
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
using fakes::TokenFault;
using Kind = TokenFault::Kind;

KeeperHouse::Options LongLived() {
  KeeperHouse::Options options;
  options.endpoint.lifetime = absl::Hours(8);
  options.endpoint.latency = absl::Seconds(1);
  return options;
}

class RefreshChangesTest : public testing::Test {
 protected:
  absl::Status Apply(const std::string& more, const std::string& description = "") {
    return house_.Apply(
        absl::StrCat("credentials:\n  t:\n    description: \"", description,
                     "\"\n    oauth: { token_url: https://crm.example.com/token, client_id: app, "
                     "client_auth: none, ",
                     more, " }\n"));
  }
  void Use(const std::string& more) {
    const absl::Status applied = Apply(more);
    ASSERT_TRUE(applied.ok()) << applied;
    if (more.find("refresh_token") != std::string::npos) {
      ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("app")).ok());
    }
    house_.Advance(absl::Seconds(5));
    ASSERT_NE(house_.Published("t"), "");
    house_.log.Clear();
  }
  // An exchange has just been sent.
  void ToNextRequest() {
    const int before = house_.endpoint.requests();
    ASSERT_TRUE(
        house_.AdvanceUntil([&] { return house_.endpoint.requests() > before; }, absl::Hours(24)));
  }
  bool Good() const { return house_.endpoint.Accepts(house_.Published("t")); }

  KeeperHouse house_{LongLived()};
};

TEST_F(RefreshChangesTest, AGrantThatIsCorrectedDuringAnExchangeLeavesAWholeStore) {
  for (const Kind kind : {Kind::kNone, Kind::kLoseReply, Kind::kRefuseClient}) {
    ASSERT_TRUE(Apply("grant: client_credentials").ok());
    house_.Advance(absl::Seconds(40));
    house_.endpoint.InjectNext({kind, {}, {}});
    house_.keeper().EnsureFresh("t", absl::ZeroDuration(), [](absl::Status) {});
    house_.Advance(absl::Milliseconds(10));
    ASSERT_TRUE(Apply("grant: refresh_token").ok());
    house_.Advance(absl::Minutes(2));
    house_.Crash();
    const absl::Status started = house_.Start();
    ASSERT_TRUE(started.ok()) << started;
    ASSERT_TRUE(house_.Delete("credential", "t").ok());
  }
}

TEST_F(RefreshChangesTest, OtherTermsDuringAnExchangeAreAskedForAtOnce) {
  Use("grant: client_credentials");
  ToNextRequest();
  const int before = house_.endpoint.requests();
  ASSERT_TRUE(Apply("grant: client_credentials, scopes: [more]").ok());
  const std::string old = house_.Published("t");
  house_.Advance(absl::Seconds(1) + absl::Milliseconds(500));
  EXPECT_EQ(house_.Published("t"), old) << "the token of the old terms is not even handed out";
  house_.Advance(absl::Seconds(5));
  EXPECT_EQ(house_.endpoint.requests(), before + 1);
  EXPECT_NE(house_.Published("t"), old);
}

TEST_F(RefreshChangesTest, OtherTermsDuringAnExchangeDoNotLoseTheNewRefreshToken) {
  Use("grant: refresh_token");
  ToNextRequest();
  const int before = house_.endpoint.requests();
  ASSERT_TRUE(Apply("grant: refresh_token, scopes: [more]").ok());
  house_.Advance(absl::Seconds(10));
  EXPECT_EQ(house_.endpoint.requests(), before + 1);
  EXPECT_EQ(house_.endpoint.replays(), 0);
  EXPECT_TRUE(Good());
}

TEST_F(RefreshChangesTest, ARefreshTokenThatIsPutDuringAnExchangeIsUsedAtOnce) {
  Use("grant: refresh_token");
  ToNextRequest();
  const std::string old = house_.Published("t");
  ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("app")).ok());
  const int before = house_.endpoint.requests();
  house_.Advance(absl::Seconds(10));
  EXPECT_EQ(house_.endpoint.requests(), before + 1);
  EXPECT_NE(house_.Published("t"), old);
  EXPECT_TRUE(Good());
  EXPECT_EQ(house_.endpoint.replays(), 0);
}

TEST_F(RefreshChangesTest, ATokenInDoubtIsNotHurriedByWhatPeopleDoBeside) {
  Use("grant: refresh_token");
  house_.endpoint.InjectNext({Kind::kLoseReply, {}, {}});
  ToNextRequest();
  ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.log.Failures("REFRESH_IN_DOUBT") > 0; },
                                  absl::Minutes(1)));
  const int before = house_.endpoint.requests();
  for (const char* description : {"one", "two", "three"}) {
    ASSERT_TRUE(Apply("grant: refresh_token", description).ok());
    house_.Advance(absl::Seconds(10));
  }
  EXPECT_EQ(house_.endpoint.requests(), before);
  EXPECT_EQ(house_.endpoint.replays(), 0);
  EXPECT_TRUE(house_.endpoint.GrantAlive("app"));
  EXPECT_EQ(house_.log.Failures("REFRESH_IN_DOUBT"), 1) << "told of once";
}

TEST_F(RefreshChangesTest, OtherTermsInDoubtAreNoRestart) {
  Use("grant: refresh_token");
  house_.endpoint.InjectNext({Kind::kLoseRequest, {}, {}});
  ToNextRequest();
  ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.log.Failures("REFRESH_IN_DOUBT") > 0; },
                                  absl::Minutes(1)));
  const int before = house_.endpoint.requests();
  ASSERT_TRUE(Apply("grant: refresh_token, scopes: [more]").ok());
  house_.Advance(absl::Minutes(1));
  EXPECT_EQ(house_.endpoint.requests(), before) << "in other terms it is the same refresh token";
  EXPECT_EQ(house_.log.Failures("REFRESH_IN_DOUBT"), 1);
  house_.Advance(absl::Hours(3));
  EXPECT_EQ(house_.log.Resolved("REFRESH_IN_DOUBT"), 1);
}

TEST_F(RefreshChangesTest, ASecretThatIsPutDuringAnExchangeCountsIfTheOldOneIsRefused) {
  for (const Kind kind : {Kind::kRefuseClient, Kind::kTransient}) {
    ASSERT_TRUE(house_
                    .Apply("credentials:\n  s: { static: {} }\n  t:\n    oauth: { token_url: "
                           "https://crm.example.com/token, client_id: app, client_secret: { "
                           "credential: s }, grant: client_credentials }\n")
                    .ok());
    ASSERT_TRUE(house_.Put("s", "old").ok());
    house_.Advance(absl::Seconds(5));
    house_.endpoint.InjectNext({kind, {}, absl::Minutes(10)});
    ToNextRequest();
    ASSERT_TRUE(house_.Put("s", "new").ok());
    const int before = house_.endpoint.requests();
    house_.Advance(absl::Seconds(10));
    // What the server put off for another reason stays put off.
    EXPECT_EQ(house_.endpoint.requests() - before, kind == Kind::kRefuseClient ? 1 : 0);
    house_.Advance(absl::Minutes(20));
  }
}

TEST_F(RefreshChangesTest, ARevocationThatFailsDoesNotHurryADoubt) {
  Use("grant: refresh_token, revocation_url: https://crm.example.com/revoke");
  house_.endpoint.InjectNext({Kind::kLoseReply, {}, {}});
  ToNextRequest();
  ASSERT_TRUE(house_.AdvanceUntil([&] { return house_.log.Failures("REFRESH_IN_DOUBT") > 0; },
                                  absl::Minutes(1)));
  house_.endpoint.SetRevocation(absl::UnavailableError("down"));
  const int before = house_.endpoint.requests();
  v1::RevokeRequest request;
  request.set_name("t");
  house_.keeper().Revoke(std::move(request), [](const absl::StatusOr<v1::RevokeResponse>&) {});
  house_.Advance(absl::Minutes(2));
  EXPECT_EQ(house_.endpoint.requests(), before);
  EXPECT_EQ(house_.endpoint.replays(), 0);
}

TEST_F(RefreshChangesTest, AnEditDoesNotHurryWhatTheServerPutOff) {
  Use("grant: client_credentials");
  house_.endpoint.SetFaults([] { return TokenFault{Kind::kTransient, {}, absl::Hours(1)}; });
  ToNextRequest();
  house_.Advance(absl::Seconds(5));
  const int before = house_.endpoint.requests();
  ASSERT_TRUE(Apply("grant: client_credentials", "edited").ok());
  house_.Advance(absl::Minutes(30));
  EXPECT_EQ(house_.endpoint.requests(), before);
}

TEST_F(RefreshChangesTest, RetryAfterIsAFloorInDoubtToo) {
  Use("grant: refresh_token");
  house_.Crash();
  house_.clock.Advance(absl::Hours(9));  // the access token has ended
  house_.endpoint.InjectNext({Kind::kServerError, {}, absl::Minutes(10)});
  ASSERT_TRUE(house_.Start().ok());
  house_.Advance(absl::Seconds(5));
  ASSERT_EQ(house_.log.Failures("REFRESH_IN_DOUBT"), 1);
  const int before = house_.endpoint.requests();
  house_.Advance(absl::Minutes(9));
  EXPECT_EQ(house_.endpoint.requests(), before);
  house_.Advance(absl::Minutes(2));
  EXPECT_EQ(house_.endpoint.requests(), before + 1);
}

TEST_F(RefreshChangesTest, TheSubjectOfAnExchangeIsFreshWhenItIsSent) {
  ASSERT_TRUE(house_
                  .Apply("credentials:\n"
                         "  subject:\n    oauth: { token_url: https://a.example.com/token, "
                         "client_id: a, client_auth: none, grant: client_credentials }\n"
                         "  zz:\n    oauth: { token_url: https://b.example.com/token, "
                         "client_id: b, client_auth: none, grant: token_exchange, "
                         "exchange: { subject_token: { credential: subject } } }\n")
                  .ok());
  house_.Advance(absl::Seconds(10));
  ASSERT_TRUE(house_.endpoint.Accepts(house_.Published("zz")));
  house_.Crash();
  house_.clock.Advance(absl::Hours(20));
  // The dependent one is asked for before its subject has been refreshed.
  house_.log.Clear();
  ASSERT_TRUE(house_.Start().ok());
  std::optional<absl::Status> answer;
  house_.keeper().EnsureFresh("zz", absl::Seconds(30), [&](absl::Status s) { answer = s; });
  house_.Advance(absl::Seconds(20));
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(answer->ok()) << *answer;
  EXPECT_TRUE(house_.endpoint.Accepts(house_.endpoint.last_subject()))
      << "sent with a token that had ended";
  EXPECT_EQ(house_.log.Failures("REFRESH_FAILED"), 0);
}

TEST_F(RefreshChangesTest, WithoutItsSubjectAnExchangeWaitsAndFollowsItAtOnce) {
  ASSERT_TRUE(house_
                  .Apply("credentials:\n"
                         "  subject:\n    oauth: { token_url: https://a.example.com/token, "
                         "client_id: a, client_auth: none, grant: refresh_token }\n"
                         "  zz:\n    oauth: { token_url: https://b.example.com/token, "
                         "client_id: b, client_auth: none, grant: token_exchange, "
                         "exchange: { subject_token: { credential: subject } } }\n")
                  .ok());
  house_.Advance(absl::Hours(1));
  EXPECT_EQ(house_.Published("zz"), "");
  ASSERT_TRUE(house_.Put("subject", house_.endpoint.NewGrant("a")).ok());
  house_.Advance(absl::Seconds(20));
  EXPECT_TRUE(house_.endpoint.Accepts(house_.Published("zz")));
}

TEST_F(RefreshChangesTest, OnlyAnIssuerStillNamesTheServer) {
  ASSERT_TRUE(house_
                  .Apply("credentials:\n  t:\n    oauth: { issuer: https://id.example.com/realm, "
                         "client_id: app, client_auth: none, grant: refresh_token }\n")
                  .ok());
  house_.Advance(absl::Seconds(1));
  EXPECT_EQ(house_.log.Count({"NEEDS_CONSENT", "\"provider\":\"id.example.com\""}), 1);
  EXPECT_EQ(house_.Describe("t")->summary().source(), "id.example.com");
}

TEST_F(RefreshChangesTest, AConsentThatWasRefusedEndsItsWarning) {
  Use("grant: refresh_token, consent: { lifetime: 10d }");
  house_.Advance(absl::Hours(24 * 6));
  ASSERT_GE(house_.log.Failures("EXPIRES_SOON"), 1);
  house_.endpoint.NewGrant("app");  // another one: ours is over
  ToNextRequest();
  house_.Advance(absl::Seconds(10));
  ASSERT_EQ(house_.log.Failures("NEEDS_CONSENT"), 1);
  EXPECT_EQ(house_.log.Resolved("EXPIRES_SOON"), 1);
}

}  // namespace
}  // namespace keyturn::lifecycle
