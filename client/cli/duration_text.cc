// SPDX-License-Identifier: Apache-2.0
// Reading and writing of durations and times.
#include "client/cli/duration_text.h"

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace keyturn::cli {
namespace {

struct Unit {
  absl::string_view name;
  absl::Duration length;
};

// From long to short, as they follow each other in a text.
const Unit kUnits[] = {{"d", absl::Hours(24)},
                       {"h", absl::Hours(1)},
                       {"m", absl::Minutes(1)},
                       {"s", absl::Seconds(1)},
                       {"ms", absl::Milliseconds(1)}};

absl::string_view TakeWhile(absl::string_view& text, bool (*matches)(unsigned char)) {
  size_t size = 0;
  while (size < text.size() && matches(static_cast<unsigned char>(text[size]))) ++size;
  const absl::string_view taken = text.substr(0, size);
  text.remove_prefix(size);
  return taken;
}

}  // namespace

absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text) {
  absl::Status wrong = absl::InvalidArgumentError(
      absl::StrCat("'", text, "' is not a duration: write 90d, 36h, 1h30m, 5s or 250ms"));
  absl::Duration total = absl::ZeroDuration();
  size_t next_unit = 0;
  if (text.empty()) return wrong;
  while (!text.empty()) {
    const absl::string_view digits = TakeWhile(text, absl::ascii_isdigit);
    const absl::string_view name = TakeWhile(text, absl::ascii_isalpha);
    int64_t number = 0;
    // Nine digits of the longest unit are still far from overflow.
    if (digits.empty() || digits.size() > 9 || !absl::SimpleAtoi(digits, &number)) return wrong;
    while (next_unit < std::size(kUnits) && kUnits[next_unit].name != name) ++next_unit;
    if (next_unit == std::size(kUnits)) return wrong;
    total += number * kUnits[next_unit++].length;
  }
  return total;
}

std::string ReadableDuration(absl::Duration duration) {
  if (duration == absl::InfiniteDuration()) return "forever";
  if (duration < absl::ZeroDuration()) return absl::StrCat("-", ReadableDuration(-duration));
  if (duration == absl::ZeroDuration()) return "0s";
  if (duration < absl::Milliseconds(1)) return "under 1ms";
  std::string text;
  int parts = 0;
  for (const Unit& unit : kUnits) {
    const int64_t count = absl::IDivDuration(duration, unit.length, &duration);
    if (count > 0) {
      // Milliseconds beside minutes tell nobody anything.
      if (unit.name == "ms" && parts > 0) break;
      absl::StrAppend(&text, parts > 0 ? " " : "", count, unit.name);
    }
    // Neighbours only: `3d 4h`, but never `3d 5s`.
    if (count > 0 || parts > 0) ++parts;
    if (parts == 2) break;
  }
  return text;
}

std::string FormatRelative(absl::Time time, absl::Time now) {
  const absl::Duration distance = time - now;
  const absl::Duration size = absl::AbsDuration(distance);
  if (size < absl::Seconds(1)) return "now";
  const std::string text = ReadableDuration(absl::Trunc(size, absl::Seconds(1)));
  return distance > absl::ZeroDuration() ? absl::StrCat("in ", text) : absl::StrCat(text, " ago");
}

std::string FormatLocal(absl::Time time, absl::TimeZone zone) {
  return absl::FormatTime("%Y-%m-%d %H:%M:%S %Z", time, zone);
}

std::string FormatRfc3339(absl::Time time) {
  return absl::FormatTime("%Y-%m-%d%ET%H:%M:%E*SZ", time, absl::UTCTimeZone());
}

}  // namespace keyturn::cli
