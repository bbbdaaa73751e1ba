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

constexpr absl::Time kNoExpiry = absl::InfinitePast();

TEST(Schedule, JitterOnlyMakesARotationEarlier) {
  const absl::Time last = absl::FromUnixSeconds(1'700'000'000);
  EXPECT_EQ(NextRotation(Every(1000, "0%"), "a", last, kNoExpiry) - last, absl::Seconds(1000));
  const absl::Duration jittered = NextRotation(Every(1000, "50%"), "a", last, kNoExpiry) - last;
  EXPECT_NEAR(absl::ToDoubleSeconds(jittered), 1000 - 500 * 0.183469, 0.01);
}

absl::Time At(const std::string& utc) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime("%Y-%m-%d %H:%M", utc, &time, &error)) << utc << ": " << error;
  return time;
}
constexpr int64_t kDaySeconds = 24 * 3600;

v1::RotateSpec ByCron(const std::string& cron, const std::string& zone = "") {
  v1::RotateSpec spec;
  spec.set_cron(cron);
  spec.set_zone(zone);
  return spec;
}

v1::RotateSpec WithWindow(v1::RotateSpec spec, const std::string& day, const std::string& from,
                          const std::string& to) {
  spec.mutable_window()->add_days(day);
  spec.mutable_window()->set_from(from);
  spec.mutable_window()->set_to(to);
  return spec;
}

TEST(Schedule, CronFiresWhenItSaysUnlessJitterIsAskedFor) {
  v1::RotateSpec spec = ByCron("0 3 * * sun", "Europe/Berlin");
  EXPECT_EQ(NextRotation(spec, "a", At("2026-03-04 00:00"), kNoExpiry), At("2026-03-08 02:00"));
  EXPECT_EQ(NextRotation(spec, "a", At("2026-03-08 02:00"), kNoExpiry), At("2026-03-15 02:00"));
  spec.set_jitter("10%");
  const absl::Time jittered = NextRotation(spec, "a", At("2026-03-04 00:00"), kNoExpiry);
  EXPECT_NEAR(absl::ToDoubleHours(jittered - At("2026-03-08 02:00")), 7 * 24 * 0.1 * 0.183469,
              0.01);
  // In a window, what is added stays within it.
  spec = WithWindow(spec, "sun", "02:00", "04:00");
  const absl::Time held = NextRotation(spec, "a", At("2026-03-04 00:00"), kNoExpiry);
  EXPECT_NEAR(absl::ToDoubleHours(held - At("2026-03-08 02:00")), 2 * 0.1 * 0.183469, 0.01);
}

RC_GTEST_PROP(Schedule, JitterOfCronNeverFiresEarlyNorReachesTheFireAfter,
              (const std::string& name)) {
  v1::RotateSpec spec = ByCron("17 */5 * * *", "America/New_York");
  const absl::Time last = absl::FromUnixSeconds(1'700'000'000 + *rc::gen::inRange(0, 100'000'000));
  const absl::Time fire = NextRotation(spec, name, last, kNoExpiry);
  spec.set_jitter(*rc::gen::element<std::string>("1%", "10%", "50%"));
  const absl::Time jittered = NextRotation(spec, name, last, kNoExpiry);
  spec.clear_jitter();
  RC_ASSERT(jittered >= fire);
  RC_ASSERT(jittered < NextRotation(spec, name, fire, kNoExpiry));
}

TEST(Schedule, AKeyThatExpiresIsReplacedBefore) {
  const absl::Time made = At("2026-03-01 00:00");
  const absl::Time in_9_days = made + absl::Hours(9 * 24);
  v1::RotateSpec spec = Every(90 * kDaySeconds, "0%");
  // A third of its lifetime before; of a long one 30 days; and `every` where that comes first.
  EXPECT_EQ(NextRotation(spec, "a", made, in_9_days), made + absl::Hours(6 * 24));
  EXPECT_EQ(NextRotation(spec, "a", made, made + absl::Hours(100 * 24)),
            made + absl::Hours(70 * 24));
  EXPECT_EQ(NextRotation(spec, "a", made, made + absl::Hours(400 * 24)),
            made + absl::Hours(90 * 24));
  EXPECT_EQ(NextRotation(spec, "a", made, absl::InfiniteFuture()), made + absl::Hours(90 * 24));
  spec.mutable_before_expiry()->set_seconds(kDaySeconds);
  EXPECT_EQ(NextRotation(spec, "a", made, in_9_days), made + absl::Hours(8 * 24));
  // Never so early that each new key would be due at once.
  spec.mutable_before_expiry()->set_seconds(30 * kDaySeconds);
  EXPECT_EQ(NextRotation(spec, "a", made, in_9_days), made + absl::Hours(9 * 12));
  EXPECT_EQ(NextRotation(ByCron("0 0 1 * *"), "a", made, in_9_days), made + absl::Hours(6 * 24));
}

TEST(Schedule, WhatFallsDueOutsideTheWindowWaitsForIt) {
  // 2026-03-04 is a wednesday.
  const absl::Time made = At("2026-03-01 12:00");
  const v1::RotateSpec spec = WithWindow(Every(3 * kDaySeconds, "0%"), "sat", "02:00", "06:00");
  EXPECT_EQ(NextRotation(spec, "a", made, kNoExpiry), At("2026-03-07 02:00"));
  EXPECT_EQ(NextRotation(spec, "a", At("2026-03-04 03:00"), kNoExpiry), At("2026-03-07 03:00"));
  EXPECT_TRUE(IsInWindow(spec, At("2026-03-07 02:00")));
  EXPECT_FALSE(IsInWindow(spec, At("2026-03-07 06:00")));
  // Those that waited do not all begin when it opens.
  const v1::RotateSpec spread = WithWindow(Every(3 * kDaySeconds, "50%"), "sat", "02:00", "06:00");
  const absl::Time moment = NextRotation(spread, "a", At("2026-03-01 22:00"), kNoExpiry);
  EXPECT_NEAR(absl::ToDoubleHours(moment - At("2026-03-07 02:00")), 4 * 0.5 * 0.183469, 0.01);
}

TEST(Schedule, AWindowIsNotWaitedForPastTheExpiry) {
  const absl::Time made = At("2026-03-01 12:00");
  const v1::RotateSpec spec = WithWindow(Every(3 * kDaySeconds, "0%"), "sat", "02:00", "06:00");
  // Due on wednesday noon; the window opens on saturday.
  EXPECT_EQ(NextRotation(spec, "a", made, At("2026-03-06 12:00")), At("2026-03-04 12:00"));
  EXPECT_EQ(NextRotation(spec, "a", made, At("2026-03-08 00:00")), At("2026-03-07 02:00"));
  // Minutes before the expiry is too late as well: a tenth of the lead is kept.
  EXPECT_EQ(NextRotation(spec, "a", made, At("2026-03-07 03:00")), At("2026-03-04 12:00"));
}

RC_GTEST_PROP(Schedule, InAWindowOrBecauseOfTheExpiry, (const std::string& name)) {
  const v1::RotateSpec spec =
      WithWindow(Every(*rc::gen::inRange<int64_t>(3600, 30 * kDaySeconds),
                       *rc::gen::element<std::string>("", "0%", "50%")),
                 *rc::gen::element<std::string>("mon", "sat"), "22:00", "01:30");
  const absl::Time made = absl::FromUnixSeconds(1'700'000'000 + *rc::gen::inRange(0, 100'000'000));
  const absl::Time due = NextRotation(spec, name, made, kNoExpiry);
  RC_ASSERT(due > made);
  RC_ASSERT(IsInWindow(spec, due));
  RC_ASSERT(InWindow(spec, name, due, made, kNoExpiry) == due);
  const absl::Time expires = made + absl::Seconds(*rc::gen::inRange<int64_t>(60, 30 * kDaySeconds));
  const absl::Time in_time = NextRotation(spec, name, made, expires);
  RC_ASSERT(in_time > made);
  RC_ASSERT(in_time < expires);
}

TEST(Schedule, LateIsATenthOfTheIntervalPastTheDueTime) {
  const absl::Time last = At("2026-03-04 00:00");
  // Jitter makes it due earlier, which does not make it late earlier.
  EXPECT_EQ(OverdueFrom(Every(1000, "50%"), "a", last, kNoExpiry), last + absl::Seconds(1100));
  EXPECT_EQ(OverdueFrom(ByCron("0 3 * * sun"), "a", last, kNoExpiry),
            At("2026-03-08 03:00") + absl::Hours(7 * 24) / 10);
  // The interval is that between fires, however shortly before this one a person rotated.
  EXPECT_EQ(OverdueFrom(ByCron("0 3 * * sun"), "a", At("2026-03-08 02:59"), kNoExpiry),
            At("2026-03-08 03:00") + absl::Hours(7 * 24) / 10);
  // A key that lives 9 hours is late long before a tenth of 90 days.
  EXPECT_EQ(OverdueFrom(Every(90 * kDaySeconds, ""), "a", last, last + absl::Hours(9)),
            last + absl::Hours(6) + absl::Minutes(36));
}

TEST(Schedule, SaysWhatItIs) {
  EXPECT_EQ(ScheduleText(Every(90 * kDaySeconds, "")), "every 90d");
  EXPECT_EQ(ScheduleText(ByCron("0 3 * * sun")), "cron 0 3 * * sun (UTC)");
  EXPECT_EQ(ScheduleText(ByCron("0 3 * * sun", "Europe/Berlin")),
            "cron 0 3 * * sun (Europe/Berlin)");
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
