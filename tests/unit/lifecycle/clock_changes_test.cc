// SPDX-License-Identifier: Apache-2.0
// What setting the date, suspend and reboots do to tokens: nothing that their lifetime does not.
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "agent/lifecycle/clock_watch.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using fakes::KeeperHouse;

constexpr absl::Duration kLifetime = absl::Minutes(10);

// The three kinds of grant that are refreshed differently.
class ClockChangesTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const absl::Status applied = house_.Apply(
        absl::StrCat("credentials:\n  t:\n    oauth: { token_url: https://crm.example.com/token, "
                     "client_id: app, client_auth: none, ",
                     GetParam(), " }\n"));
    ASSERT_TRUE(applied.ok()) << applied;
    if (std::string(GetParam()).find("refresh_token") != std::string::npos) {
      ASSERT_TRUE(house_.Put("t", house_.endpoint.NewGrant("app")).ok());
    }
    house_.Advance(absl::Seconds(1));
    ASSERT_TRUE(Good());
    house_.log.Clear();
  }
  // Whether what is handed out works, and says of itself what is true.
  bool Good() const {
    const PublishedVersion& version = house_.sink.versions.at("t");
    const bool handed_out = house_.clock.BootNow() < version.expires;
    const absl::Duration left = version.expires_wall - house_.clock.WallNow();
    return handed_out && house_.endpoint.Accepts(house_.Published("t")) &&
           left > absl::ZeroDuration() && left <= kLifetime;
  }
  void ExpectGoodFor(absl::Duration d) {
    for (absl::Duration t; t < d; t += absl::Seconds(10)) {
      house_.Advance(absl::Seconds(10));
      ASSERT_TRUE(Good()) << "after " << t;
    }
    EXPECT_EQ(house_.endpoint.replays(), 0);
    EXPECT_EQ(house_.log.Failures("REFRESH_IN_DOUBT"), 0);
    EXPECT_EQ(house_.log.Failures("NEEDS_CONSENT"), 0);
  }

  KeeperHouse house_{{.provider = {}, .recovery = {}, .endpoint = {.lifetime = kLifetime}}};
};

TEST_P(ClockChangesTest, TheDateIsSetByAnHour) {
  for (const absl::Duration step : {absl::Hours(1), -absl::Hours(1), absl::Hours(24 * 3650),
                                    -absl::Hours(24 * 3650), absl::Seconds(20)}) {
    SCOPED_TRACE(absl::FormatDuration(step));
    house_.clock.StepWall(step);
    house_.Advance(absl::ZeroDuration());
    ASSERT_TRUE(Good()) << "at once";
    const int before = house_.endpoint.requests();
    ExpectGoodFor(absl::Minutes(20));
    EXPECT_LE(house_.endpoint.requests(), before + 4) << "refreshed more often than due";
  }
  EXPECT_EQ(house_.log.Failures("CLOCK_JUMP"), 4) << "twenty seconds are nothing to tell";
  house_.Advance(absl::Hours(2));
  EXPECT_EQ(house_.log.Resolved("CLOCK_JUMP"), 1);
}

TEST_P(ClockChangesTest, TheMachineSleepsForTwoHours) {
  const std::string before = house_.Published("t");
  house_.clock.Advance(absl::Hours(2));  // no timer runs meanwhile
  EXPECT_FALSE(house_.clock.BootNow() < house_.sink.versions.at("t").expires)
      << "nobody is given what expired meanwhile";
  house_.Advance(absl::Seconds(1));
  EXPECT_NE(house_.Published("t"), before);
  ExpectGoodFor(absl::Minutes(20));
}

TEST_P(ClockChangesTest, TheDateIsSetWhileTheAgentIsDown) {
  for (const absl::Duration step : {absl::Hours(1), -absl::Hours(1), -absl::Hours(24 * 365)}) {
    SCOPED_TRACE(absl::FormatDuration(step));
    const std::string before = house_.Published("t");
    house_.Crash();
    house_.clock.Advance(absl::Minutes(1));
    house_.clock.StepWall(step);
    ASSERT_TRUE(house_.Start().ok());
    EXPECT_EQ(house_.Published("t"), before);
    ASSERT_TRUE(Good());
    ExpectGoodFor(absl::Minutes(20));
  }
}

TEST_P(ClockChangesTest, AfterARebootTheDateIsAllThereIs) {
  const std::string before = house_.Published("t");
  house_.Crash();
  house_.clock.Reboot(absl::Minutes(1));
  ASSERT_TRUE(house_.Start().ok());
  EXPECT_EQ(house_.Published("t"), before);
  ASSERT_TRUE(Good());
  ExpectGoodFor(absl::Minutes(20));
}

TEST_P(ClockChangesTest, ABootWithTheDateSetBackLeavesATokenOfUnknownAge) {
  const std::string before = house_.Published("t");
  house_.Crash();
  house_.clock.Reboot(absl::Minutes(1));
  house_.clock.StepWall(-absl::Hours(24));
  ASSERT_TRUE(house_.Start().ok());
  const PublishedVersion& version = house_.sink.versions.at("t");
  EXPECT_EQ(version.hard, house_.clock.BootNow()) << "whoever asks waits for a new one";
  house_.Advance(absl::Seconds(1));
  EXPECT_NE(house_.Published("t"), before);
  ExpectGoodFor(absl::Minutes(20));
}

INSTANTIATE_TEST_SUITE_P(Grants, ClockChangesTest,
                         testing::Values("grant: client_credentials", "grant: refresh_token",
                                         "grant: refresh_token, leeway: 2m"));

TEST(ClockWatch, CountsOnlyWhatTimeDoesNotExplain) {
  fakes::SimulatedClock clock;
  ClockWatch watch(clock);
  clock.Advance(absl::Hours(30));
  EXPECT_EQ(watch.Moved(), absl::ZeroDuration());
  clock.StepWall(-absl::Minutes(7));
  clock.Advance(absl::Hours(1));
  EXPECT_EQ(watch.Moved(), -absl::Minutes(7));
  EXPECT_EQ(watch.Moved(), absl::ZeroDuration());
}

}  // namespace
}  // namespace keyturn::lifecycle
