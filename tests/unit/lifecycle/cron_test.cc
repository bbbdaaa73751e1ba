// SPDX-License-Identifier: Apache-2.0
// Cron: what the five fields mean, and when they hold where clocks are set.
#include "agent/lifecycle/cron.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/lifecycle/local_time.h"

namespace keyturn::lifecycle {
namespace {

Cron CronOf(const std::string& text, const std::string& zone = "") {
  const auto loaded = LoadZone(zone);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  auto cron = Cron::Parse(text, *loaded);
  EXPECT_TRUE(cron.ok()) << text << ": " << cron.status();
  return *cron;
}

absl::Time At(const std::string& utc) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime("%Y-%m-%d %H:%M", utc, &time, &error)) << utc << ": " << error;
  return time;
}

std::string Fires(const std::string& text, const std::string& zone, const std::string& after,
                  int count) {
  const Cron cron = CronOf(text, zone);
  std::vector<std::string> fires;
  absl::Time at = At(after);
  for (int i = 0; i < count; ++i) {
    at = cron.Next(at);
    fires.push_back(absl::FormatTime("%m-%d %H:%M", at, absl::UTCTimeZone()));
  }
  return absl::StrJoin(fires, ", ");
}

TEST(Cron, ReadsWhatCrontabReads) {
  const struct {
    const char* text;
    const char* after;
    const char* fires;
  } cases[] = {
      {"* * * * *", "2026-03-04 05:06", "03-04 05:07, 03-04 05:08, 03-04 05:09"},
      {"0 3 * * sun", "2026-03-04 05:06", "03-08 03:00, 03-15 03:00, 03-22 03:00"},
      {"0 3 * * 7", "2026-03-04 05:06", "03-08 03:00, 03-15 03:00, 03-22 03:00"},
      {"0 3 * * 0", "2026-03-04 05:06", "03-08 03:00, 03-15 03:00, 03-22 03:00"},
      {"0 3 * * FRI-Sun", "2026-03-04 05:06", "03-06 03:00, 03-07 03:00, 03-08 03:00"},
      {"0 3 * * 5-7", "2026-03-04 05:06", "03-06 03:00, 03-07 03:00, 03-08 03:00"},
      {"0 3 * * mon-fri/2", "2026-03-04 05:06", "03-06 03:00, 03-09 03:00, 03-11 03:00"},
      {"*/25 4 * * *", "2026-03-04 05:06", "03-05 04:00, 03-05 04:25, 03-05 04:50"},
      {"10-20/5,59 4 * * *", "2026-03-04 04:15", "03-04 04:20, 03-04 04:59, 03-05 04:10"},
      {"\t30  6,18 1 jan,Jul *", "2026-03-04 05:06", "07-01 06:30, 07-01 18:30, 01-01 06:30"},
      {"0 0 31 * *", "2026-03-31 00:00", "05-31 00:00, 07-31 00:00, 08-31 00:00"},
      // Both day fields say something: either of them suffices.
      {"0 0 13 * fri", "2026-03-04 05:06", "03-06 00:00, 03-13 00:00, 03-20 00:00"},
      {"0 0 10 * fri", "2026-03-04 05:06", "03-06 00:00, 03-10 00:00, 03-13 00:00"},
      // One of them begins with a star: both must hold.
      {"0 0 */2 * fri", "2026-03-04 05:06", "03-13 00:00, 03-27 00:00, 04-03 00:00"},
      {"0 0 13 * *", "2026-03-04 05:06", "03-13 00:00, 04-13 00:00, 05-13 00:00"},
      {"0 0 29 2 *", "2096-03-01 00:00", "02-29 00:00, 02-29 00:00, 02-29 00:00"},
  };
  for (const auto& c : cases) EXPECT_EQ(Fires(c.text, "", c.after, 3), c.fires) << c.text;
}

TEST(Cron, MistakesNameFieldAndValue) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "has 0 fields"},
      {"0 3 * *", "has 4 fields"},
      {"0 3 * * * *", "has 6 fields"},
      {"@daily", "has 1 fields"},
      {"60 3 * * *", "field minute is \"60\""},
      {"-1 3 * * *", "field minute is \"-1\""},
      {"1,2,x 3 * * *", "field minute is \"1,2,x\": \"x\" is not a number from 0 to 59"},
      {"1, 3 * * *", "field minute is \"1,\""},
      {"0 24 * * *", "field hour is \"24\""},
      {"0 5-2 * * *", "field hour is \"5-2\": a range goes from the lower"},
      {"0 */0 * * *", "step \"0\""},
      {"0 */24 * * *", "step \"24\""},
      {"0 */ * * *", "step \"\""},
      {"0 3/2 * * *", "a step goes with"},
      {"0 1-2-3 * * *", "field hour is \"1-2-3\""},
      {"0 +3 * * *", "field hour is \"+3\""},
      {"0 3 0 * *", "field day of month is \"0\""},
      {"0 3 32 * *", "field day of month is \"32\""},
      {"0 3 * 13 *", "field month is \"13\""},
      {"0 3 * june *", "field month is \"june\""},
      {"0 3 * * 8", "field day of week is \"8\""},
      {"0 3 * * sunday", "field day of week is \"sunday\""},
      {"0 3 30 2 *", "there is no such date"},
      {"0 3 30,31 feb *", "there is no such date"},
      {"0 3 31 4,6,9,11 *", "there is no such date"},
  };
  for (const auto& [text, expected] : cases) {
    const auto cron = Cron::Parse(text, absl::UTCTimeZone());
    ASSERT_TRUE(absl::IsInvalidArgument(cron.status())) << text;
    EXPECT_TRUE(absl::StrContains(cron.status().message(), expected))
        << text << ": " << cron.status();
  }
  // Either day suffices, so this date need not exist.
  EXPECT_TRUE(Cron::Parse("0 3 30 2 mon", absl::UTCTimeZone()).ok());
}

TEST(Cron, ARareDateIsFoundOverTheCenturyWithoutALeapDay) {
  const Cron cron = CronOf("0 0 29 2 *");
  EXPECT_EQ(cron.Next(At("2096-02-29 00:00")), At("2104-02-29 00:00"));
  EXPECT_EQ(cron.Previous(At("2104-02-29 00:00")), At("2096-02-29 00:00"));
  // A leap day that is a saturday or a sunday.
  EXPECT_EQ(CronOf("0 0 29 2 */6").Next(At("2076-02-29 00:00")), At("2088-02-29 00:00"));
}

// Local times, as UTC: Berlin is 1 h ahead in winter and 2 h in summer; New York 5 h and 4 h
// behind; Lord Howe 10 h 30 ahead in winter and 11 h in summer, so its gap is half an hour.
TEST(Cron, ATimeThatDoesNotExistFiresAtTheFirstMomentAfterTheGap) {
  EXPECT_EQ(Fires("30 2 * * *", "Europe/Berlin", "2026-03-28 00:00", 3),
            "03-28 01:30, 03-29 01:00, 03-30 00:30");
  // Several in the gap: once.
  EXPECT_EQ(Fires("0,30 2,3 * * *", "Europe/Berlin", "2026-03-29 00:00", 3),
            "03-29 01:00, 03-29 01:30, 03-30 00:00");
  EXPECT_EQ(Fires("30 2 * * *", "America/New_York", "2026-03-07 12:00", 2),
            "03-08 07:00, 03-09 06:30");
  // 02:00 to 02:30 is left out there; 02:30 itself exists.
  EXPECT_EQ(Fires("15 2 * * *", "Australia/Lord_Howe", "2026-10-03 00:00", 2),
            "10-03 15:30, 10-04 15:15");
  EXPECT_EQ(Fires("30 2 * * *", "Australia/Lord_Howe", "2026-10-03 00:00", 2),
            "10-03 15:30, 10-04 15:30");
}

TEST(Cron, ATimeThatExistsTwiceFiresTheFirstTime) {
  EXPECT_EQ(Fires("30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", 2),
            "10-25 00:30, 10-26 01:30");
  EXPECT_EQ(Fires("*/20 2 * * *", "Europe/Berlin", "2026-10-25 00:00", 3),
            "10-25 00:20, 10-25 00:40, 10-26 01:00");
  EXPECT_EQ(Fires("30 1 * * *", "America/New_York", "2026-10-31 12:00", 2),
            "11-01 05:30, 11-02 06:30");
  EXPECT_EQ(Fires("45 1 * * *", "Australia/Lord_Howe", "2026-04-04 12:00", 2),
            "04-04 14:45, 04-05 15:15");
  // After the second pass has begun, the time of this day is over.
  EXPECT_EQ(Fires("30 2 * * *", "Europe/Berlin", "2026-10-25 01:10", 1), "10-26 01:30");
}

TEST(Cron, AScheduleOfAllHoursKeepsToRealTime) {
  EXPECT_EQ(Fires("0 * * * *", "Europe/Berlin", "2026-03-29 00:00", 3),
            "03-29 01:00, 03-29 02:00, 03-29 03:00");
  EXPECT_EQ(Fires("*/30 0-23 * * *", "Europe/Berlin", "2026-10-24 23:45", 5),
            "10-25 00:00, 10-25 00:30, 10-25 01:00, 10-25 01:30, 10-25 02:00");
  EXPECT_EQ(Fires("0 * * * *", "America/New_York", "2026-11-01 04:30", 3),
            "11-01 05:00, 11-01 06:00, 11-01 07:00");
  // Half an hour back: what reads :00 and :30 there comes every half hour in real time.
  EXPECT_EQ(Fires("*/30 * * * *", "Australia/Lord_Howe", "2026-04-04 14:00", 4),
            "04-04 14:30, 04-04 15:00, 04-04 15:30, 04-04 16:00");
  EXPECT_EQ(Fires("*/30 * * * *", "Australia/Lord_Howe", "2026-10-03 14:30", 3),
            "10-03 15:00, 10-03 15:30, 10-03 16:00");
  // Only on certain days: to the day and not past it.
  EXPECT_EQ(Fires("59 * 1 1 *", "Europe/Berlin", "2026-03-04 00:00", 2),
            "12-31 23:59, 01-01 00:59");
  EXPECT_EQ(Fires("0 * 25 10 *", "Europe/Berlin", "2026-10-25 22:30", 1), "10-24 22:00");
}

TEST(Cron, ZonesAreNamesAndNothingElse) {
  for (const char* good :
       {"", "UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"}) {
    EXPECT_TRUE(LoadZone(good).ok()) << good;
  }
  for (const char* bad : {"Berlin", "europe/berlin", "/etc/localtime", "localtime",
                          "Europe/../../../etc/localtime", "Europe/Berlin ", "CEST-"}) {
    EXPECT_TRUE(absl::IsInvalidArgument(LoadZone(bad).status())) << bad;
  }
}

TEST(Cron, SaysHowLongItIsBetweenFires) {
  EXPECT_EQ(CronOf("*/10 * * * *").ShortestInterval(), absl::Minutes(10));
  EXPECT_EQ(CronOf("0 3,4 * * sun").ShortestInterval(), absl::Hours(1));
  EXPECT_EQ(CronOf("0 3 1 1 *").ShortestInterval(), absl::Hours(365 * 24));
  EXPECT_EQ(CronOf("0 3 1 * *").ShortestInterval(), absl::Hours(28 * 24));
}

TEST(Cron, EndsOfTimeAreNotLoopedOver) {
  EXPECT_EQ(CronOf("0 3 * * *").Next(absl::InfiniteFuture()), absl::InfiniteFuture());
  EXPECT_EQ(CronOf("0 3 * * *").Next(absl::InfinitePast()), absl::InfiniteFuture());
  EXPECT_EQ(CronOf("0 3 * * *").Previous(absl::InfinitePast()), absl::InfinitePast());
}

// A field of a schedule and the values it stands for.
struct Part {
  std::string text;
  std::vector<bool> fits;
};

Part AnyPart(int least, int most) {
  Part part{"*", std::vector<bool>(static_cast<size_t>(most) + 1, true)};
  if (*rc::gen::inRange(0, 3) == 0) return part;
  const int from = *rc::gen::inRange(least, most + 1);
  const int to = *rc::gen::inRange(from, most + 1);
  const int step = *rc::gen::inRange(1, most + 1);
  part.text = absl::StrCat(from, "-", to, "/", step);
  for (int i = 0; i <= most; ++i) {
    part.fits[static_cast<size_t>(i)] = i >= from && i <= to && (i - from) % step == 0;
  }
  return part;
}

// Against the definition, minute by minute; in UTC, where each local time is there once.
RC_GTEST_PROP(Cron, FindsTheNextMinuteThatFits, ()) {
  const Part minute = AnyPart(0, 59);
  const Part hour = AnyPart(0, 23);
  const Part weekday = AnyPart(0, 6);
  const auto cron = Cron::Parse(absl::StrCat(minute.text, " ", hour.text, " * * ", weekday.text),
                                absl::UTCTimeZone());
  RC_ASSERT(cron.ok());
  const absl::Time after = absl::FromUnixSeconds(1'700'000'000 + *rc::gen::inRange(0, 100'000'000));
  absl::Time expected = absl::FromUnixSeconds(absl::ToUnixSeconds(after) / 60 * 60 + 60);
  for (;; expected += absl::Minutes(1)) {
    const absl::CivilMinute local = absl::ToCivilMinute(expected, absl::UTCTimeZone());
    // The epoch was a thursday.
    const auto day = static_cast<size_t>((absl::ToUnixSeconds(expected) / 86400 + 4) % 7);
    if (minute.fits[static_cast<size_t>(local.minute())] &&
        hour.fits[static_cast<size_t>(local.hour())] && weekday.fits[day]) {
      break;
    }
  }
  RC_ASSERT(cron->Next(after) == expected);
  RC_ASSERT(cron->Previous(expected + absl::Seconds(1)) == expected);
}

// In zones that set their clocks: it always goes on, and each fire fits or is the end of a gap.
RC_GTEST_PROP(Cron, AFireFitsOrEndsAGap, ()) {
  const std::string zone =
      *rc::gen::element<std::string>("Europe/Berlin", "America/New_York", "Australia/Lord_Howe",
                                     "America/Sao_Paulo", "Pacific/Apia", "Asia/Tehran");
  const Part minute = AnyPart(0, 59);
  const Part hour = AnyPart(0, 23);
  const absl::TimeZone loaded = *LoadZone(zone);
  const auto cron = Cron::Parse(absl::StrCat(minute.text, " ", hour.text, " * * *"), loaded);
  RC_ASSERT(cron.ok());
  // From 2009 on, when all of these set their clocks.
  absl::Time at = absl::FromUnixSeconds(1'230'000'000 + *rc::gen::inRange(0, 500'000'000));
  for (int i = 0; i < 50; ++i) {
    const absl::Time next = cron->Next(at);
    RC_ASSERT(next > at);
    RC_ASSERT(cron->Next(next - absl::Seconds(1)) == next);
    const absl::TimeZone::CivilInfo local = loaded.At(next);
    const bool fits = minute.fits[static_cast<size_t>(local.cs.minute())] &&
                      hour.fits[static_cast<size_t>(local.cs.hour())];
    RC_ASSERT(fits || loaded.At(next - absl::Seconds(1)).offset < local.offset);
    at = next;
  }
}

}  // namespace
}  // namespace keyturn::lifecycle
