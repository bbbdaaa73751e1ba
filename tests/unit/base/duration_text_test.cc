// SPDX-License-Identifier: Apache-2.0
// Durations as people write them, and back.
#include "agent/base/duration_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <string>
#include <utility>

namespace keyturn::base {
namespace {

TEST(DurationText, ReadsWhatPeopleWrite) {
  const std::pair<const char*, absl::Duration> cases[] = {
      {"90d", absl::Hours(24 * 90)},
      {"2w", absl::Hours(24 * 14)},
      {"1h30m", absl::Minutes(90)},
      {"5s", absl::Seconds(5)},
      {"250ms", absl::Milliseconds(250)},
      {"0s", absl::ZeroDuration()},
      {"1.5h", absl::Minutes(90)},
      {"1s5us7ns", absl::Seconds(1) + absl::Nanoseconds(5007)},
      {"10000w", absl::Hours(24 * 7 * 10000)},
  };
  for (const auto& [text, expected] : cases) {
    const auto duration = ParseDuration(text);
    ASSERT_TRUE(duration.ok()) << text << ": " << duration.status();
    EXPECT_EQ(*duration, expected) << text;
  }
}

TEST(DurationText, SaysWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {
      {"90", "has a number without a unit; write for instance 90s"},
      {"1h30", "has a number without a unit"},
      {"", "is empty"},
      {"-5s", "is negative"},
      {"5x", "unknown unit \"x\""},
      {"5 s", "without a unit"},
      {"1m1h", "from large units to small ones"},
      {"1h1h", "each once"},
      {"1.h", "no digit after the point"},
      {".5h", "is none"},
      {"h", "is none"},
      {"9999999999999w", "is too long"},
      {"99999999999999999999s", "is too long"},
      {"1.0000000001s", "too many digits"},
      {"inf", "is none"},
      {"5S", "unknown unit"},
  };
  for (const auto& [text, expected] : cases) {
    const auto duration = ParseDuration(text);
    ASSERT_FALSE(duration.ok()) << text;
    EXPECT_THAT(std::string(duration.status().message()), testing::HasSubstr(expected)) << text;
  }
}

TEST(DurationText, FormatsWithDaysAsTheLargestUnit) {
  EXPECT_EQ(base::FormatDuration(absl::Hours(24 * 90)), "90d");
  EXPECT_EQ(base::FormatDuration(absl::Hours(36)), "1d12h");
  EXPECT_EQ(base::FormatDuration(absl::ZeroDuration()), "0s");
  EXPECT_EQ(base::FormatDuration(absl::Milliseconds(1250)), "1s250ms");
}

TEST(DurationText, FormatReadsBack) {
  EXPECT_TRUE(rc::check("parse(format(d)) == d", [] {
    const auto seconds = *rc::gen::inRange<int64_t>(0, 315'000'000'000);
    const auto nanos = *rc::gen::inRange<int64_t>(0, 1'000'000'000);
    const absl::Duration duration = absl::Seconds(seconds) + absl::Nanoseconds(nanos);
    const auto back = ParseDuration(base::FormatDuration(duration));
    RC_ASSERT(back.ok());
    RC_ASSERT(*back == duration);
  }));
}

}  // namespace
}  // namespace keyturn::base
