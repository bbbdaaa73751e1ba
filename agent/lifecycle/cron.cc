// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/cron.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent/lifecycle/local_time.h"

namespace keyturn::lifecycle {
namespace {

constexpr int kDaysAheadMost = 41 * 366;
// Of the fires within it, the shortest interval is taken.
constexpr absl::Duration kYear = absl::Hours(24 * 366);
constexpr int kFiresSeenMost = 1000;

struct Field {
  const char* name;
  int least;
  int most;
  std::vector<absl::string_view> words;  // the first one stands for `first_word`
  int first_word = 0;
};

const Field& FieldOf(size_t index) {
  static const auto* const fields = new std::vector<Field>{
      {"minute", 0, 59, {}, 0},
      {"hour", 0, 23, {}, 0},
      {"day of month", 1, 31, {}, 0},
      {"month",
       1,
       12,
       {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"},
       1},
      {"day of week", 0, 7, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}, 0}};
  return (*fields)[index];
}

absl::Status Wrong(const Field& field, absl::string_view value, absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("the cron field ", field.name, " is \"", value, "\": ", why));
}

absl::StatusOr<int> Number(const Field& field, absl::string_view whole, absl::string_view text) {
  const std::string lower = absl::AsciiStrToLower(text);
  for (size_t i = 0; i < field.words.size(); ++i) {
    if (field.words[i] == lower) return field.first_word + static_cast<int>(i);
  }
  int number = 0;
  const bool digits =
      !text.empty() && text.size() <= 2 && std::all_of(text.begin(), text.end(), [](char c) {
        return absl::ascii_isdigit(static_cast<unsigned char>(c));
      });
  if (!digits || !absl::SimpleAtoi(text, &number) || number < field.least || number > field.most) {
    return Wrong(
        field, whole,
        absl::StrCat("\"", text, "\" is not a number from ", field.least, " to ", field.most,
                     field.words.empty() ? "" : " or a name of three letters"));
  }
  return number;
}

// `*`, `a`, `a-b`, and with a step the first and the last of them.
template <size_t size>
absl::Status AddPart(const Field& field, absl::string_view whole, absl::string_view part,
                     std::bitset<size>& set) {
  const std::vector<absl::string_view> stepped = absl::StrSplit(part, absl::MaxSplits('/', 1));
  const std::vector<absl::string_view> ends = absl::StrSplit(stepped[0], absl::MaxSplits('-', 1));
  int from = field.least;
  // Sunday has two numbers, and a `*` shall not count it twice.
  int to = field.most == 7 ? 6 : field.most;
  if (stepped[0] != "*") {
    const auto first = Number(field, whole, ends[0]);
    if (!first.ok()) return first.status();
    const auto last = Number(field, whole, ends.back());
    if (!last.ok()) return last.status();
    from = *first;
    to = *last;
    if (field.most == 7 && to == 0 && from > 0) to = 7;  // fri-sun
    if (from > to) return Wrong(field, whole, "a range goes from the lower to the higher value");
    if (stepped.size() > 1 && ends.size() == 1) {
      return Wrong(field, whole, "a step goes with `*` or with a range, such as 0-30/10");
    }
  }
  int step = 1;
  if (stepped.size() > 1 && (!absl::SimpleAtoi(stepped[1], &step) || step < 1 ||
                             step > field.most || stepped[1].size() > 2)) {
    return Wrong(
        field, whole,
        absl::StrCat("the step \"", stepped[1], "\" is not a number from 1 to ", field.most));
  }
  for (int value = from; value <= to; value += step) {
    set.set(static_cast<size_t>(field.most == 7 ? value % 7 : value));
  }
  return absl::OkStatus();
}

template <size_t size>
absl::Status ReadField(size_t index, absl::string_view text, std::bitset<size>& set) {
  const Field& field = FieldOf(index);
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    if (absl::Status status = AddPart(field, text, part, set); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Cron> Cron::Parse(absl::string_view text, absl::TimeZone zone) {
  const std::vector<absl::string_view> fields =
      absl::StrSplit(text, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  if (fields.size() != 5) {
    return absl::InvalidArgumentError(
        absl::StrCat("cron is \"", text, "\", which has ", fields.size(),
                     " fields; it needs five: minute, hour, day of month, month, day of week"));
  }
  Cron cron;
  cron.zone_ = zone;
  cron.either_day_ = !absl::StartsWith(fields[2], "*") && !absl::StartsWith(fields[4], "*");
  for (const absl::Status& status :
       {ReadField(0, fields[0], cron.minutes_), ReadField(1, fields[1], cron.hours_),
        ReadField(2, fields[2], cron.days_), ReadField(3, fields[3], cron.months_),
        ReadField(4, fields[4], cron.weekdays_)}) {
    if (!status.ok()) return status;
  }
  // From a fixed moment on, so that what is accepted does not depend on the day.
  if (cron.Next(absl::UnixEpoch()) == absl::InfiniteFuture()) {
    return absl::InvalidArgumentError(absl::StrCat("the cron fields day of month and month are \"",
                                                   fields[2], "\" and \"", fields[3],
                                                   "\": there is no such date"));
  }
  return cron;
}

bool Cron::FitsDay(absl::CivilDay day) const {
  if (!months_.test(static_cast<size_t>(day.month()))) return false;
  const bool fits_date = days_.test(static_cast<size_t>(day.day()));
  // absl counts from monday.
  const bool fits_weekday = weekdays_.test((static_cast<size_t>(absl::GetWeekday(day)) + 1) % 7);
  return either_day_ ? fits_date || fits_weekday : fits_date && fits_weekday;
}

absl::Time Cron::Next(absl::Time after) const {
  if (after == absl::InfiniteFuture() || after == absl::InfinitePast()) {
    return absl::InfiniteFuture();
  }
  return hours_.all() ? NextAtAllHours(after) : NextAtItsHours(after);
}

absl::Time Cron::NextAtItsHours(absl::Time after) const {
  absl::CivilDay day(zone_.At(after).cs);
  for (int ahead = 0; ahead <= kDaysAheadMost; ++ahead, ++day) {
    if (!FitsDay(day)) continue;
    for (int hour = 0; hour < 24; ++hour) {
      if (!hours_.test(static_cast<size_t>(hour))) continue;
      for (int minute = 0; minute < 60; ++minute) {
        if (!minutes_.test(static_cast<size_t>(minute))) continue;
        // These moments never go back while local time goes forward, so the first is the next.
        const absl::Time fire = FirstMomentOf(
            absl::CivilSecond(day.year(), day.month(), day.day(), hour, minute), zone_);
        if (fire > after) return fire;
      }
    }
  }
  return absl::InfiniteFuture();
}

absl::Time Cron::NextAtAllHours(absl::Time after) const {
  const absl::Time limit = after + absl::Hours(24) * kDaysAheadMost;
  absl::TimeZone::CivilInfo local = zone_.At(after);
  // The next full minute of local time.
  absl::Time at = after - local.subsecond + absl::Seconds(60 - local.cs.second());
  while (at < limit) {
    local = zone_.At(at);
    const absl::CivilDay day(local.cs);
    if (FitsDay(day)) {
      if (minutes_.test(static_cast<size_t>(local.cs.minute()))) return at;
      at += absl::Minutes(1);
      continue;
    }
    // To the next day in one step, unless clocks are set on the way: they could go back to a day
    // that fits.
    const absl::Time tomorrow = FirstMomentOf(absl::CivilSecond(day + 1), zone_);
    if (tomorrow > at && zone_.At(tomorrow).offset == local.offset) {
      at = tomorrow;
    } else {
      at += absl::Minutes(60 - local.cs.minute());
    }
  }
  return absl::InfiniteFuture();
}

absl::Time Cron::Previous(absl::Time before) const {
  if (before == absl::InfiniteFuture() || before == absl::InfinitePast()) {
    return absl::InfinitePast();
  }
  const absl::Duration most = absl::Hours(24) * kDaysAheadMost;
  for (absl::Duration back = absl::Minutes(2); back < 2 * most; back *= 2) {
    absl::Time fire = Next(before - back);
    if (fire >= before) continue;
    for (absl::Time next = Next(fire); next < before; next = Next(fire)) fire = next;
    return fire;
  }
  return absl::InfinitePast();
}

absl::Duration Cron::ShortestInterval() const {
  const absl::Time first = Next(absl::UnixEpoch());
  absl::Duration shortest = absl::InfiniteDuration();
  absl::Time fire = first;
  for (int seen = 0; seen < kFiresSeenMost; ++seen) {
    const absl::Time next = Next(fire);
    shortest = std::min(shortest, next - fire);
    fire = next;
    if (fire - first > kYear) break;
  }
  return shortest;
}

}  // namespace keyturn::lifecycle
