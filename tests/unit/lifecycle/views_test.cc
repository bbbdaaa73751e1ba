// SPDX-License-Identifier: Apache-2.0
// What people are shown: health, runway and times, and no secrets.
#include "agent/lifecycle/views.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

CredentialState WithExpiry(absl::Time expires_at) {
  CredentialState state;
  state.record.name = "a";
  state.record.current_version = 1;
  state.versions[1].number = 1;
  state.versions[1].expires_at = expires_at;
  return state;
}

TEST(Runway, IsTheTimeUntilConsumersBreakAndNeverNegative) {
  const absl::Time now = absl::FromUnixSeconds(1'000'000);
  EXPECT_EQ(CredentialState().Runway(now), absl::ZeroDuration());
  EXPECT_EQ(WithExpiry(store::kNever).Runway(now), absl::InfiniteDuration());
  EXPECT_EQ(WithExpiry(now + absl::Hours(2)).Runway(now), absl::Hours(2));
  EXPECT_EQ(WithExpiry(now - absl::Hours(2)).Runway(now), absl::ZeroDuration());
}

class ViewsTest : public testing::Test {
 protected:
  v1::CredentialSummary Summary(const std::string& name) {
    return house_.Describe(name)->summary();
  }
  fakes::KeeperHouse house_{{}};
};

TEST_F(ViewsTest, HealthFollowsTheValueAndTheFailures) {
  ASSERT_TRUE(house_
                  .Apply("providers:\n  p: { recipe: fake }\ncredentials:\n"
                         "  a/static: { static: { expires_in: 30d } }\n"
                         "  a/key: { provider: p, rotate: { every: 1d } }\n")
                  .ok());
  EXPECT_EQ(Summary("a/static").health(), v1::NEEDS_ACTION) << "a person must bring a value";
  EXPECT_EQ(Summary("a/key").health(), v1::BROKEN) << "its first key is not there yet";
  ASSERT_TRUE(house_.Put("a/static", "marked-secret").ok());
  house_.Advance(absl::Minutes(1));
  EXPECT_EQ(Summary("a/static").health(), v1::OK);
  EXPECT_EQ(Summary("a/static").runway().seconds(), 30 * 86400 - 60);
  EXPECT_EQ(Summary("a/key").health(), v1::OK);
  EXPECT_EQ(Summary("a/key").source(), "p");
  EXPECT_FALSE(Summary("a/key").has_runway()) << "a key without expiry never breaks by time";
  house_.Advance(absl::Hours(24 * 24));
  EXPECT_EQ(Summary("a/static").health(), v1::DEGRADED);
  EXPECT_EQ(Summary("a/static").failure(), "EXPIRES_SOON");
  house_.Advance(absl::Hours(24 * 7));
  EXPECT_EQ(Summary("a/static").health(), v1::BROKEN);
  EXPECT_EQ(Summary("a/static").runway().seconds(), 0);
}

TEST_F(ViewsTest, DescribeShowsNoSecret) {
  ASSERT_TRUE(house_.Apply("credentials:\n  a: { static: {} }\n").ok());
  ASSERT_TRUE(house_.Put("a", "marked-secret", "key-id").ok());
  const auto described = house_.Describe("a");
  EXPECT_FALSE(absl::StrContains(described->SerializeAsString(), "marked-secret"));
  EXPECT_EQ(described->versions(0).provider_key_id(), "key-id");
  EXPECT_EQ(described->versions(0).state(), "current");
  EXPECT_TRUE(absl::StrContains(described->spec_yaml(), "static"));
}

TEST_F(ViewsTest, ListSelectsByGlob) {
  ASSERT_TRUE(
      house_
          .Apply(
              "credentials:\n  a/x: { static: {} }\n  a/y: { static: {} }\n  b: { static: {} }\n")
          .ok());
  int listed = 0;
  v1::ListRequest request;
  request.set_match("a/*");
  house_.keeper().List(request, [&](absl::StatusOr<v1::ListResponse> response) {
    listed = response->credentials_size();
  });
  house_.Advance(absl::ZeroDuration());
  EXPECT_EQ(listed, 2);
}

}  // namespace
}  // namespace keyturn::lifecycle
