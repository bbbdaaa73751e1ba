// SPDX-License-Identifier: Apache-2.0
// One table of units serves both directions. Arithmetic is absl::Duration's, which is exact for
// whole ticks and saturates instead of overflowing.
#include "agent/base/duration_text.h"

#include <google/protobuf/duration.pb.h>

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace keyturn::base {
namespace {

struct Unit {
  absl::string_view name;
  absl::Duration length;
};

// From large to small; weeks are read but not written.
const Unit kUnits[] = {
    {"w", absl::Hours(24 * 7)},    {"d", absl::Hours(24)},       {"h", absl::Hours(1)},
    {"m", absl::Minutes(1)},       {"s", absl::Seconds(1)},      {"ms", absl::Milliseconds(1)},
    {"us", absl::Microseconds(1)}, {"ns", absl::Nanoseconds(1)},
};
// The range of google.protobuf.Duration.
constexpr int64_t kSecondsMax = 315'576'000'000;
constexpr size_t kDigitsMax = 15;
constexpr size_t kFractionDigitsMax = 9;

absl::Status Bad(absl::string_view text, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("duration \"", absl::CHexEscape(text.substr(0, 40)), "\" ", why));
}

absl::string_view TakeWhile(absl::string_view* rest, bool (*wanted)(unsigned char)) {
  size_t size = 0;
  while (size < rest->size() && wanted(static_cast<unsigned char>((*rest)[size]))) ++size;
  const absl::string_view taken = rest->substr(0, size);
  rest->remove_prefix(size);
  return taken;
}

// The index in kUnits; the number of units when there is no such unit.
size_t FindUnit(absl::string_view name) {
  size_t index = 0;
  for (const Unit& unit : kUnits) {
    if (unit.name == name) break;
    ++index;
  }
  return index;
}

}  // namespace

absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text) {
  absl::string_view rest = text;
  if (rest.empty()) return Bad(text, "is empty; write for instance 90d, 1h30m or 5s");
  if (rest[0] == '-') return Bad(text, "is negative");
  absl::Duration sum;
  size_t next_unit = 0;
  while (!rest.empty()) {
    const absl::string_view whole = TakeWhile(&rest, absl::ascii_isdigit);
    absl::string_view fraction;
    if (!rest.empty() && rest[0] == '.') {
      rest.remove_prefix(1);
      fraction = TakeWhile(&rest, absl::ascii_isdigit);
      if (fraction.empty()) return Bad(text, "has no digit after the point");
    }
    if (whole.empty()) return Bad(text, "is none; write for instance 90d, 1h30m or 5s");
    if (whole.size() > kDigitsMax) return Bad(text, "is too long; at most 10000 years");
    if (fraction.size() > kFractionDigitsMax) return Bad(text, "has too many digits");
    const absl::string_view name = TakeWhile(&rest, absl::ascii_isalpha);
    if (name.empty()) {
      return Bad(text, absl::StrCat("has a number without a unit; write for instance ", whole,
                                    "s, ", whole, "m, ", whole, "h or ", whole, "d"));
    }
    const size_t unit = FindUnit(name);
    if (unit == std::size(kUnits)) {
      return Bad(text, absl::StrCat("has an unknown unit \"", name.substr(0, 20),
                                    "\"; units are w, d, h, m, s, ms, us, ns"));
    }
    if (unit < next_unit) return Bad(text, "must go from large units to small ones, each once");
    next_unit = unit + 1;
    int64_t number = 0;
    int64_t part = 0;
    if (!absl::SimpleAtoi(whole, &number)) return Bad(text, "is none");
    sum += kUnits[unit].length * number;
    if (!fraction.empty() && absl::SimpleAtoi(fraction, &part)) {
      int64_t scale = 1;
      for (size_t i = 0; i < fraction.size(); ++i) scale *= 10;
      sum += kUnits[unit].length * part / scale;
    }
    if (sum > absl::Seconds(kSecondsMax)) return Bad(text, "is too long; at most 10000 years");
  }
  return sum;
}

std::string FormatDuration(absl::Duration duration) {
  if (duration == absl::InfiniteDuration()) return "inf";
  if (duration < absl::ZeroDuration()) return absl::StrCat("-", base::FormatDuration(-duration));
  std::string text;
  for (const Unit& unit : kUnits) {
    if (unit.name == "w") continue;
    const int64_t count = absl::IDivDuration(duration, unit.length, &duration);
    if (count > 0) absl::StrAppend(&text, count, unit.name);
  }
  return text.empty() ? "0s" : text;
}

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

}  // namespace keyturn::base
