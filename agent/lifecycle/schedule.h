// SPDX-License-Identifier: Apache-2.0
// When things are due: by `every` or cron, before a key expires, within a window. Pure, and the
// same for one credential on every host and in every release. Specs that ReadResources accepted are
// expected; of others, what cannot be read counts as absent. docs/SCHEDULES.md says it to people.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/base/backoff.h"
#include "agent/base/duration_text.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::lifecycle {

inline constexpr absl::Duration kDefaultGrace = absl::Hours(1);

// `10%` -> 0.1. InvalidArgument outside 0% to 50%. Empty: the default, 10%.
absl::StatusOr<double> ParseJitter(absl::string_view text);

// In [0, 1), the same for one name on every host and in every release: spreads credentials that
// were made at the same moment, without moving a credential's own rotations about.
double JitterFraction(absl::string_view name);

// When a key that was made at `last_rotated` is to be replaced. `expires_at` is InfinitePast for a
// key without an expiry. The earlier of
//  - `every` after `last_rotated`, earlier by this credential's part of the jitter; or the next
//  fire
//    of cron, later by its part of the jitter (which is none unless stated);
//  - LeadOf() before the expiry;
// put off to the window, as InWindow() says.
absl::Time NextRotation(const v1::RotateSpec& spec, absl::string_view name, absl::Time last_rotated,
                        absl::Time expires_at);

// How long before its expiry a key is replaced: `before_expiry`, or a third of its lifetime and at
// most 30 days; in any case at most half of its lifetime, or it would be replaced all the time.
absl::Duration LeadOf(const v1::RotateSpec& spec, absl::Time last_rotated, absl::Time expires_at);

// `due` when it lies within the window or there is none. Else this credential's moment in the first
// part of the next window; or `due` all the same when less than a tenth of the lead before the
// expiry would be left then.
absl::Time InWindow(const v1::RotateSpec& spec, absl::string_view name, absl::Time due,
                    absl::Time last_rotated, absl::Time expires_at);
bool IsInWindow(const v1::RotateSpec& spec, absl::Time at);

// The time between rotations as it is at `at`: `every`, or the time to the fire of cron before it.
absl::Duration IntervalAt(const v1::RotateSpec& spec, absl::Time at);

// From here on a rotation that has not succeeded is late enough to tell people: a tenth of the
// interval after it was due.
absl::Time OverdueFrom(const v1::RotateSpec& spec, absl::string_view name, absl::Time last_rotated,
                       absl::Time expires_at);

// How many days before a key is due its person is reminded.
inline constexpr int kReminderDays[] = {30, 14, 7, 3, 1};
// When a person is reminded of a key that is due: on those days, when it is due, and daily after
// it.
struct Reminder {
  bool due = false;  // the first of them has come
  absl::Time next = absl::InfiniteFuture();
};
Reminder ReminderAt(absl::Time due, absl::Time now);

absl::Duration GraceOf(const v1::RotateSpec& spec);

// `every 90d`, `cron 0 3 * * sun (Europe/Berlin)`.
std::string ScheduleText(const v1::RotateSpec& spec);

// A mistake in the schedule of a resource: in which field of `rotate` (with dots), and what.
struct ScheduleMistake {
  std::string field;
  std::string message;
};
// OK, or InvalidArgument with `mistake` set.
absl::Status CheckSchedule(const v1::RotateSpec& spec, ScheduleMistake& mistake);

// Retries come faster the less time is left: cap min(5 min, runway / 4), but never under 15 s.
base::BackoffPolicy RetryPolicy(absl::Duration runway);

using base::ToDuration;

}  // namespace keyturn::lifecycle
