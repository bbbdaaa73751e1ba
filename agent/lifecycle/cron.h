// SPDX-License-Identifier: Apache-2.0
// Cron: the five fields of crontab(5) in a time zone, and when they hold next. Where clocks are
// set, a schedule of certain hours fires once for each of its times: one that does not exist fires
// at the first moment after the gap, one that exists twice fires the first time. A schedule of all
// hours keeps to real time instead: it fires at every moment whose local time fits. Immutable.
#pragma once

#include <bitset>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"

namespace keyturn::lifecycle {

class Cron {
 public:
  // Minute, hour, day of month, month, day of week: `*`, numbers, names of months and days (three
  // letters), ranges `a-b`, steps `*/n` and `a-b/n`, lists of all these; 7 is sunday as well as 0.
  // When neither of the two day fields begins with `*`, a day that fits either of them counts.
  // InvalidArgument names the field and the value; it also is the answer to a date that never
  // comes, such as 30 february.
  static absl::StatusOr<Cron> Parse(absl::string_view text, absl::TimeZone zone);

  // The first moment after `after` at which it fires. InfiniteFuture only for times at the end of
  // the calendar. Looks ahead 41 years at most: 29 february on a certain day of the week may take
  // 40.
  absl::Time Next(absl::Time after) const;
  // The last moment before `before` at which it fired; InfinitePast: none in 41 years.
  absl::Time Previous(absl::Time before) const;
  // The shortest time between two fires that follow each other, as seen over a year.
  absl::Duration ShortestInterval() const;

 private:
  Cron() = default;

  bool FitsDay(absl::CivilDay day) const;
  absl::Time NextAtItsHours(absl::Time after) const;
  absl::Time NextAtAllHours(absl::Time after) const;

  std::bitset<60> minutes_;
  std::bitset<24> hours_;
  std::bitset<32> days_;     // of the month, from 1
  std::bitset<13> months_;   // from 1
  std::bitset<7> weekdays_;  // sunday is 0
  bool either_day_ = false;
  absl::TimeZone zone_;
};

}  // namespace keyturn::lifecycle
