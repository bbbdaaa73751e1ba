// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/window.h"

#include <algorithm>
#include <iterator>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "agent/lifecycle/local_time.h"

namespace keyturn::lifecycle {
namespace {

constexpr const char* kDays[] = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
constexpr absl::Duration kDay = absl::Hours(24);
// One day of the week comes after 7 days; a second week should a gap of local time swallow it.
constexpr int kDaysAheadMost = 15;

// `02:30`; `24:00` only where `with_24` is set.
std::optional<absl::Duration> TimeOfDay(absl::string_view text, bool with_24) {
  const auto digit = [&](size_t i) {
    return absl::ascii_isdigit(static_cast<unsigned char>(text[i]));
  };
  if (text.size() != 5 || text[2] != ':' || !digit(0) || !digit(1) || !digit(3) || !digit(4)) {
    return std::nullopt;
  }
  int hour = 0;
  int minute = 0;
  if (!absl::SimpleAtoi(text.substr(0, 2), &hour) || !absl::SimpleAtoi(text.substr(3), &minute)) {
    return std::nullopt;
  }
  const bool fits = (hour < 24 && minute < 60) || (with_24 && hour == 24 && minute == 0);
  if (!fits) return std::nullopt;
  return absl::Hours(hour) + absl::Minutes(minute);
}

absl::CivilSecond LocalAt(absl::CivilDay day, absl::Duration since_midnight) {
  return absl::CivilSecond(day) + absl::ToInt64Seconds(since_midnight);
}

absl::Status Wrong(WindowMistake* mistake, std::string field, const std::string& message) {
  if (mistake != nullptr) *mistake = {std::move(field), message};
  return absl::InvalidArgumentError(message);
}

}  // namespace

absl::StatusOr<Window> Window::Parse(const v1::Window& spec, WindowMistake* mistake) {
  Window window;
  if (spec.days().empty()) window.days_.set();
  for (const std::string& text : spec.days()) {
    const auto* day = std::find(std::begin(kDays), std::end(kDays), absl::AsciiStrToLower(text));
    if (day == std::end(kDays)) {
      return Wrong(
          mistake, "days",
          absl::StrCat("\"", text, "\" is not a day; give mon, tue, wed, thu, fri, sat or sun"));
    }
    window.days_.set(static_cast<size_t>(day - std::begin(kDays)));
  }
  const auto from = spec.from().empty() ? absl::ZeroDuration() : TimeOfDay(spec.from(), false);
  const auto to = spec.to().empty() ? kDay : TimeOfDay(spec.to(), true);
  if (!from || !to) {
    return Wrong(mistake, from ? "to" : "from",
                 absl::StrCat("\"", from ? spec.to() : spec.from(),
                              "\" is not a time of the day; give HH:MM in quotes, such as "
                              "\"02:00\""));
  }
  if (*from == *to) {
    return Wrong(mistake, "",
                 "begins and ends at the same time; leave `from` and `to` out for whole days");
  }
  const auto zone = LoadZone(spec.zone());
  if (!zone.ok()) return Wrong(mistake, "zone", std::string(zone.status().message()));
  window.from_ = *from;
  window.to_ = *to < *from ? *to + kDay : *to;
  window.zone_ = *zone;
  return window;
}

Window::Span Window::At(absl::Time at) const {
  if (at == absl::InfiniteFuture() || at == absl::InfinitePast()) return {at, at};
  // The span of the day before may reach into this one.
  absl::CivilDay day = absl::CivilDay(zone_.At(at).cs) - 1;
  for (int ahead = -1; ahead <= kDaysAheadMost; ++ahead, ++day) {
    if (!days_.test(static_cast<size_t>(absl::GetWeekday(day)))) continue;
    const Span span = {FirstMomentOf(LocalAt(day, from_), zone_),
                       LastMomentOf(LocalAt(day, to_), zone_)};
    if (span.opens < span.closes && span.closes > at) return span;
  }
  return {};
}

}  // namespace keyturn::lifecycle
