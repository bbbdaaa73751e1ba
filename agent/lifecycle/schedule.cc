// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/schedule.h"

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace keyturn::lifecycle {
namespace {

// Also when nothing is left to lose, a service that is down is not asked every second.
constexpr absl::Duration kRetryCapLeast = absl::Seconds(15);

}  // namespace

absl::Duration ToDuration(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

absl::StatusOr<double> ParseJitter(absl::string_view text) {
  if (text.empty()) return 0.1;
  double percent = 0;
  absl::string_view number = text;
  if (!absl::ConsumeSuffix(&number, "%") || !absl::SimpleAtod(number, &percent) ||
      !(percent >= 0 && percent <= 50)) {
    return absl::InvalidArgumentError(
        absl::StrCat("jitter is \"", text, "\"; give a percentage from 0% to 50%, such as 10%"));
  }
  return percent / 100;
}

double JitterFraction(absl::string_view name) {
  // FNV-1a with a final mix: absl::Hash is seeded anew in each process and would not repeat.
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : name) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3u;
  }
  hash ^= hash >> 32;
  hash *= 0xd6e8feb86659fd93u;
  hash ^= hash >> 32;
  return static_cast<double>(hash >> 11) * 0x1.0p-53;
}

absl::Time NextRotation(const v1::RotateSpec& spec, absl::string_view name,
                        absl::Time last_rotated) {
  const absl::Duration every = ToDuration(spec.every());
  const double jitter = ParseJitter(spec.jitter()).value_or(0);
  return last_rotated + every - every * (jitter * JitterFraction(name));
}

Reminder ReminderAt(absl::Time due, absl::Time now) {
  constexpr int kDaysBefore[] = {30, 14, 7, 3, 1, 0};
  Reminder reminder;
  for (const int days : kDaysBefore) {
    const absl::Time at = due - absl::Hours(24 * days);
    if (now < at) {
      reminder.next = at;
      return reminder;
    }
    reminder.due = true;
  }
  reminder.next = due + absl::Floor(now - due, absl::Hours(24)) + absl::Hours(24);
  return reminder;
}

absl::Duration GraceOf(const v1::RotateSpec& spec) {
  return spec.grace().has_min() ? ToDuration(spec.grace().min()) : kDefaultGrace;
}

base::BackoffPolicy RetryPolicy(absl::Duration runway) {
  base::BackoffPolicy policy;
  policy.cap = std::clamp(runway / 4, kRetryCapLeast, policy.cap);
  return policy;
}

}  // namespace keyturn::lifecycle
