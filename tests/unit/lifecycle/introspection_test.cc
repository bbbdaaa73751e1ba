// SPDX-License-Identifier: Apache-2.0
// Lifetimes that a server tells only whoever asks for them (RFC 7662): what is believed of the
// answer, and what counts until there is one.
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using fakes::CommitFault;
using fakes::KeeperHouse;

class IntrospectionTest : public testing::Test {
 protected:
  IntrospectionTest() {
    house_.endpoint.EditReplies([](providers::TokenReply& reply) {
      reply.expires_in = absl::InfiniteDuration();  // it does not say
    });
  }
  void Use(const std::string& more = ", introspect: true, introspection_url: https://h/i") {
    const absl::Status applied = house_.Apply(
        absl::StrCat("credentials:\n  t:\n    oauth: { token_url: https://h/t, client_id: app, "
                     "client_auth: none, grant: client_credentials",
                     more, " }\n"));
    ASSERT_TRUE(applied.ok()) << applied;
    house_.Advance(absl::Milliseconds(500));
    ASSERT_NE(house_.Published("t"), "");
  }
  static providers::IntrospectionReply Active(absl::Duration left) {
    providers::IntrospectionReply reply;
    reply.active = true;
    reply.expires_in = left;
    return reply;
  }
  const PublishedVersion& Version() { return house_.sink.versions.at("t"); }
  // How long the token is handed out, from now.
  absl::Duration Left() { return Version().expires - house_.clock.BootNow(); }
  // It was sent half a second ago, and one second is kept back.
  void ExpectDefault(absl::Duration lifetime) {
    EXPECT_EQ(Left(), lifetime - absl::Milliseconds(1500));
  }

  KeeperHouse house_{{}};
};

TEST_F(IntrospectionTest, WhatTheServerSaysCountsForTheWindowsAndOverARestart) {
  Use();  // the fake's tokens live for ten minutes
  EXPECT_EQ(house_.endpoint.introspections(), 1);
  EXPECT_GT(Left(), absl::Minutes(9));
  EXPECT_LT(Left(), absl::Minutes(10));
  const absl::Duration left = Left();
  house_.Crash();
  ASSERT_TRUE(house_.Start().ok());
  EXPECT_EQ(Left(), left);
  for (int i = 0; i < 60; ++i) {
    house_.Advance(absl::Minutes(1));
    ASSERT_TRUE(house_.endpoint.Accepts(house_.Published("t"))) << "after " << i << " min";
  }
  EXPECT_GE(house_.endpoint.requests(), 60 / 8) << "it lives longer than it does";
}

TEST_F(IntrospectionTest, WhatIsLeftCountsFromTheQuestion) {
  house_.endpoint.SetIntrospection(Active(absl::Minutes(3)), absl::Milliseconds(200));
  Use();
  // Sent at 0, asked at 40 ms; what is left was true no earlier than then.
  EXPECT_EQ(Left(), absl::Minutes(3) + absl::Milliseconds(40) - absl::Milliseconds(1500));
}

TEST_F(IntrospectionTest, AnAnswerThatSaysNothingLeavesTheDefault) {
  struct Case {
    absl::StatusOr<providers::IntrospectionReply> answer;
    const char* what;
  };
  for (const Case& c : {Case{absl::UnavailableError("down"), "failed"},
                        Case{providers::IntrospectionReply(), "inactive"},
                        Case{Active(absl::InfiniteDuration()), "without an end"},
                        Case{Active(absl::ZeroDuration()), "ended, and yet active"}}) {
    KeeperHouse house{{}};
    house.endpoint.EditReplies(
        [](providers::TokenReply& reply) { reply.expires_in = absl::InfiniteDuration(); });
    house.endpoint.SetIntrospection(c.answer);
    ASSERT_TRUE(house
                    .Apply("credentials:\n  t:\n    oauth: { token_url: https://h/t, client_id: "
                           "app, client_auth: none, grant: client_credentials, introspect: true, "
                           "introspection_url: https://h/i, default_lifetime: 20m }\n")
                    .ok());
    house.Advance(absl::Milliseconds(500));
    EXPECT_EQ(house.sink.versions.at("t").expires - house.clock.BootNow(),
              absl::Minutes(20) - absl::Milliseconds(1500))
        << c.what;
    EXPECT_EQ(house.log.Count({"lifetime_unknown", "\"t\""}), 1) << c.what;
    EXPECT_TRUE(house.failures().List().empty()) << c.what;
  }
}

TEST_F(IntrospectionTest, NobodyIsAskedWhoSaysItAnywayOrShallNotBe) {
  house_.endpoint.EditReplies(nullptr);
  Use();
  EXPECT_EQ(house_.endpoint.introspections(), 0);
  EXPECT_GT(Left(), absl::Minutes(9));
}

TEST_F(IntrospectionTest, WithoutIntrospectionAnHourCounts) {
  Use("");
  EXPECT_EQ(house_.endpoint.introspections(), 0);
  ExpectDefault(absl::Hours(1));
}

TEST_F(IntrospectionTest, AnAnswerAboutAnOlderTokenIsNotTheNewOnes) {
  house_.endpoint.SetIntrospection(Active(absl::Minutes(3)), absl::Seconds(5));
  Use();
  house_.endpoint.SetIntrospection(Active(absl::Minutes(30)));
  const auto refreshed = house_.Refreshing("t");
  house_.Advance(absl::Seconds(1));
  EXPECT_TRUE(refreshed->has_value() && (**refreshed).ok());
  const uint64_t version = Version().version;
  const base::BootTime expires = Version().expires;
  EXPECT_GT(Left(), absl::Minutes(29));
  house_.Advance(absl::Seconds(10));  // the late answer is here
  EXPECT_EQ(Version().version, version);
  EXPECT_EQ(Version().expires, expires);
}

TEST_F(IntrospectionTest, AnAnswerAboutADeletedTokenIsNobodys) {
  house_.endpoint.SetIntrospection(Active(absl::Minutes(3)), absl::Seconds(5));
  Use();
  ASSERT_TRUE(house_.Delete("credential", "t").ok());
  house_.Advance(absl::Seconds(10));
  EXPECT_EQ(house_.sink.versions.count("t"), 0u);
}

TEST_F(IntrospectionTest, AnAnswerThatCannotBeStoredCountsUntilARestart) {
  house_.endpoint.SetIntrospection(Active(absl::Minutes(3)), absl::Seconds(5));
  Use();
  house_.store.faults().FailAllCommits(CommitFault::kDiskFull);
  house_.Advance(absl::Seconds(10));
  EXPECT_LT(Left(), absl::Minutes(3));
  house_.store.faults().FailAllCommits(std::nullopt);
  EXPECT_TRUE(house_.AdvanceUntil([&] { return house_.endpoint.requests() > 1; }, absl::Minutes(3)))
      << "refreshed as if it lived for an hour";
}

// The answer comes while the token is being refreshed already: that goes on.
TEST_F(IntrospectionTest, AnAnswerDuringARefreshDoesNotBeginAnother) {
  house_.endpoint.SetIntrospection(Active(absl::Minutes(3)), absl::Seconds(5));
  Use();
  house_.endpoint.InjectNext({.kind = fakes::TokenFault::Kind::kLoseRequest});
  house_.Refreshing("t");
  house_.Advance(absl::Seconds(10));
  EXPECT_LT(Left(), absl::Minutes(3));
  EXPECT_EQ(house_.endpoint.requests(), 2);
  EXPECT_EQ(house_.endpoint.most_in_flight(), 1);
  house_.Advance(absl::Minutes(2));
  EXPECT_EQ(house_.endpoint.most_in_flight(), 1);
  EXPECT_GE(house_.endpoint.requests(), 3);
}

TEST_F(IntrospectionTest, AnAnswerDoesNotHurryTheRetryOfAFailedRefresh) {
  house_.endpoint.SetIntrospection(Active(absl::Minutes(1)), absl::Seconds(5));
  Use();
  house_.endpoint.InjectNext(
      {.kind = fakes::TokenFault::Kind::kTransient, .retry_after = absl::Minutes(2)});
  house_.Refreshing("t");
  house_.Advance(absl::Seconds(10));
  EXPECT_LT(Left(), absl::Minutes(1));
  house_.Advance(absl::Seconds(100));
  EXPECT_EQ(house_.endpoint.requests(), 2) << "beyond its soft point, but Retry-After is a floor";
  house_.Advance(absl::Minutes(5));
  EXPECT_GT(house_.endpoint.requests(), 2);
}

TEST_F(IntrospectionTest, WithoutTheClientsSecretNobodyIsAsked) {
  ASSERT_TRUE(house_
                  .Apply("credentials:\n  s: { static: {} }\n  t:\n    oauth: { token_url: "
                         "https://h/t, client_id: app, client_secret: { credential: s, field: f }, "
                         "grant: client_credentials, introspect: true, introspection_url: "
                         "https://h/i }\n")
                  .ok());
  v1::PutRequest put;
  put.set_name("s");
  put.add_fields()->set_name("f");
  put.mutable_fields(0)->set_value("sesame");
  house_.keeper().Put(put, [](const auto& r) { EXPECT_TRUE(r.ok()) << r.status(); });
  ASSERT_TRUE(
      house_.AdvanceUntil([&] { return house_.endpoint.requests() == 1; }, absl::Seconds(1)));
  ASSERT_TRUE(house_.Put("s", "whole").ok());  // while the request is on its way
  house_.Advance(absl::Milliseconds(500));
  EXPECT_NE(house_.Published("t"), "");
  EXPECT_EQ(house_.endpoint.introspections(), 0);
}

// After a login as after a refresh.
TEST_F(IntrospectionTest, WhatALoginBroughtIsAskedAboutToo) {
  ASSERT_TRUE(house_
                  .Apply("credentials:\n  t:\n    oauth: { token_url: https://h/t, client_id: app, "
                         "client_auth: none, grant: device_code, device_url: https://h/d, "
                         "introspect: true, introspection_url: https://h/i }\n")
                  .ok());
  v1::StartLoginRequest start;
  start.set_name("t");
  house_.keeper().StartLogin(start, [](const auto& r) { EXPECT_TRUE(r.ok()) << r.status(); });
  house_.Advance(absl::Seconds(1));
  house_.endpoint.DecideDevices(true);
  house_.Advance(absl::Seconds(6));
  EXPECT_EQ(house_.endpoint.introspections(), 1);
  EXPECT_LT(Left(), absl::Minutes(10));
}

}  // namespace
}  // namespace keyturn::lifecycle
