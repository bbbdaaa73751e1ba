// SPDX-License-Identifier: Apache-2.0
// When rotations are due.
#include "agent/lifecycle/schedule.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

namespace keyturn::lifecycle {
namespace {

TEST(Schedule, ReadsJitterAsAPercentage) {
  EXPECT_DOUBLE_EQ(*ParseJitter(""), 0.1);
  EXPECT_DOUBLE_EQ(*ParseJitter("0%"), 0);
  EXPECT_DOUBLE_EQ(*ParseJitter("12.5%"), 0.125);
  EXPECT_DOUBLE_EQ(*ParseJitter("50%"), 0.5);
  for (const char* bad : {"10", "%", "-1%", "51%", "nan%", "inf%", "1e9%", "ten%", "10%%"}) {
    EXPECT_FALSE(ParseJitter(bad).ok()) << bad;
  }
}

// A release that changed these would move every rotation of every user.
TEST(Schedule, TheFractionOfANameNeverChanges) {
  EXPECT_NEAR(JitterFraction("team/name"), 0.583196, 1e-6);
  EXPECT_NEAR(JitterFraction("support-bot/dify"), 0.915866, 1e-6);
  EXPECT_NEAR(JitterFraction("a"), 0.183469, 1e-6);
}

RC_GTEST_PROP(Schedule, TheFractionIsAFraction, (const std::string& name)) {
  RC_ASSERT(JitterFraction(name) >= 0);
  RC_ASSERT(JitterFraction(name) < 1);
}

v1::RotateSpec Every(int64_t seconds, const std::string& jitter) {
  v1::RotateSpec spec;
  spec.mutable_every()->set_seconds(seconds);
  spec.set_jitter(jitter);
  return spec;
}

TEST(Schedule, JitterOnlyMakesARotationEarlier) {
  const absl::Time last = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_EQ(NextRotation(Every(1000, "0%"), "a", last) - last, absl::Seconds(1000));
  const absl::Duration jittered = NextRotation(Every(1000, "50%"), "a", last) - last;
  EXPECT_NEAR(absl::ToDoubleSeconds(jittered), 1000 - 500 * 0.183469, 0.01);
}

TEST(Schedule, NamesSpreadOverTheWholeJitter) {
  int early = 0;
  for (int i = 0; i < 1000; ++i) early += JitterFraction("team/key-" + std::to_string(i)) > 0.5;
  EXPECT_GT(early, 400);
  EXPECT_LT(early, 600);
}

TEST(Schedule, GraceHasADefault) {
  EXPECT_EQ(GraceOf({}), kDefaultGrace);
  v1::RotateSpec spec;
  spec.mutable_grace()->mutable_min()->set_seconds(0);
  EXPECT_EQ(GraceOf(spec), absl::ZeroDuration());
}

TEST(Schedule, RetriesComeFasterTheLessTimeIsLeft) {
  EXPECT_EQ(RetryPolicy(absl::InfiniteDuration()).cap, absl::Minutes(5));
  EXPECT_EQ(RetryPolicy(absl::Minutes(8)).cap, absl::Minutes(2));
  EXPECT_EQ(RetryPolicy(absl::Hours(9)).cap, absl::Minutes(5));
  // But never so fast that a service that is down is hammered.
  const absl::Duration least = RetryPolicy(absl::ZeroDuration()).cap;
  EXPECT_GE(least, absl::Seconds(15));
  EXPECT_EQ(RetryPolicy(-absl::Hours(1)).cap, least);
}

}  // namespace
}  // namespace keyturn::lifecycle
