// SPDX-License-Identifier: Apache-2.0
// Windows: which moments they hold, and when the next one opens.
#include "agent/lifecycle/window.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace keyturn::lifecycle {
namespace {

v1::Window Spec(const std::vector<std::string>& days, const std::string& from,
                const std::string& to, const std::string& zone = "") {
  v1::Window spec;
  for (const std::string& day : days) spec.add_days(day);
  spec.set_from(from);
  spec.set_to(to);
  spec.set_zone(zone);
  return spec;
}

// In UTC, from monday, 2 March 2026 on, unless the time says otherwise.
std::string SpanAt(const v1::Window& spec, const std::string& at) {
  const auto window = Window::Parse(spec);
  EXPECT_TRUE(window.ok()) << window.status();
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime("%Y-%m-%d %H:%M", absl::StrCat("2026-", at), &time, &error)) << error;
  const Window::Span span = window->At(time);
  EXPECT_EQ(window->Holds(time), span.opens <= time);
  return absl::StrCat(absl::FormatTime("%m-%d %H:%M", span.opens, absl::UTCTimeZone()), " to ",
                      absl::FormatTime("%m-%d %H:%M", span.closes, absl::UTCTimeZone()));
}

TEST(Window, HoldsFromItsBeginningToItsEnd) {
  const v1::Window saturday = Spec({"sat"}, "02:00", "06:00");
  EXPECT_EQ(SpanAt(saturday, "03-02 00:00"), "03-07 02:00 to 03-07 06:00");
  EXPECT_EQ(SpanAt(saturday, "03-07 02:00"), "03-07 02:00 to 03-07 06:00");
  EXPECT_EQ(SpanAt(saturday, "03-07 05:59"), "03-07 02:00 to 03-07 06:00");
  EXPECT_EQ(SpanAt(saturday, "03-07 06:00"), "03-14 02:00 to 03-14 06:00");
}

TEST(Window, AnEndBeforeTheBeginningLiesOnTheNextDay) {
  const v1::Window night = Spec({"Fri"}, "22:00", "04:00");
  EXPECT_EQ(SpanAt(night, "03-06 21:59"), "03-06 22:00 to 03-07 04:00");
  EXPECT_EQ(SpanAt(night, "03-07 03:59"), "03-06 22:00 to 03-07 04:00");
  EXPECT_EQ(SpanAt(night, "03-07 22:30"), "03-13 22:00 to 03-14 04:00");
}

TEST(Window, WhatIsLeftOutMeansAllOfIt) {
  EXPECT_EQ(SpanAt(Spec({}, "02:00", "06:00"), "03-02 07:00"), "03-03 02:00 to 03-03 06:00");
  EXPECT_EQ(SpanAt(Spec({"tue", "thu"}, "", ""), "03-02 07:00"), "03-03 00:00 to 03-04 00:00");
  EXPECT_EQ(SpanAt(Spec({"tue"}, "20:00", "24:00"), "03-02 07:00"), "03-03 20:00 to 03-04 00:00");
}

TEST(Window, FollowsTheClocksOfItsZone) {
  // Berlin, 29 March 2026: no 02:00 to 03:00. 25 October: that hour twice.
  EXPECT_EQ(SpanAt(Spec({}, "02:30", "06:00", "Europe/Berlin"), "03-28 12:00"),
            "03-29 01:00 to 03-29 04:00");
  EXPECT_EQ(SpanAt(Spec({}, "02:10", "02:50", "Europe/Berlin"), "03-28 12:00"),
            "03-30 00:10 to 03-30 00:50");
  EXPECT_EQ(SpanAt(Spec({}, "02:00", "02:30", "Europe/Berlin"), "10-24 12:00"),
            "10-25 00:00 to 10-25 01:30");
  EXPECT_EQ(SpanAt(Spec({"sun"}, "02:10", "02:50", "America/New_York"), "03-07 12:00"),
            "03-15 06:10 to 03-15 06:50");
}

TEST(Window, MistakesAreSaidWithTheirField) {
  const struct {
    v1::Window spec;
    const char* field;
    const char* message;
  } cases[] = {
      {Spec({"sat", "funday"}, "", ""), "days", "\"funday\" is not a day"},
      {Spec({}, "2:00", "06:00"), "from", "\"2:00\" is not a time of the day"},
      {Spec({}, "24:00", "06:00"), "from", "\"24:00\""},
      {Spec({}, "02:00", "24:01"), "to", "\"24:01\""},
      {Spec({}, "02:00", "06:60"), "to", "\"06:60\""},
      {Spec({}, "02:00", "ab:cd"), "to", "\"ab:cd\""},
      {Spec({}, "02:00", "02:00"), "", "begins and ends at the same time"},
      {Spec({}, "02:00", "06:00", "Mars/Base"), "zone", "\"Mars/Base\""},
  };
  for (const auto& c : cases) {
    WindowMistake mistake;
    const auto window = Window::Parse(c.spec, &mistake);
    EXPECT_TRUE(absl::IsInvalidArgument(window.status())) << c.message;
    EXPECT_EQ(mistake.field, c.field);
    EXPECT_TRUE(absl::StrContains(mistake.message, c.message)) << mistake.message;
  }
}

RC_GTEST_PROP(Window, TheSpanHoldsTheMomentOrLiesAhead, ()) {
  const auto clock = [](int minutes) {
    return absl::StrCat(minutes / 600, minutes / 60 % 10, ":", minutes % 60 / 10, minutes % 10);
  };
  const int from = *rc::gen::inRange(0, 24 * 60);
  const int to = *rc::gen::distinctFrom(rc::gen::inRange(0, 24 * 60), from);
  const std::string zone = *rc::gen::element<std::string>(
      "", "Europe/Berlin", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia");
  const std::string day = *rc::gen::element<std::string>("mon", "wed", "sat", "sun");
  const auto window = Window::Parse(Spec({day}, clock(from), clock(to), zone));
  RC_ASSERT(window.ok());
  const absl::Time at = absl::FromUnixSeconds(1'230'000'000 + *rc::gen::inRange(0, 500'000'000));
  const Window::Span span = window->At(at);
  RC_ASSERT(span.opens < span.closes);
  RC_ASSERT(span.closes > at);
  RC_ASSERT(span.opens < at + absl::Hours(24) * 16);
  RC_ASSERT(window->Holds(span.opens));
  RC_ASSERT(window->Holds(span.closes - absl::Seconds(1)));
  RC_ASSERT(!window->Holds(span.opens - absl::Seconds(1)));
}

}  // namespace
}  // namespace keyturn::lifecycle
