// SPDX-License-Identifier: Apache-2.0
// When things are due. Pure.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/base/backoff.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::lifecycle {

inline constexpr absl::Duration kDefaultGrace = absl::Hours(1);

// `10%` -> 0.1. InvalidArgument outside 0% to 50%. Empty: the default, 10%.
absl::StatusOr<double> ParseJitter(absl::string_view text);

// In [0, 1), the same for one name on every host and in every release: spreads credentials that
// were made at the same moment, without moving a credential's own rotations about.
double JitterFraction(absl::string_view name);

// `every` after the last rotation, earlier by this credential's part of the jitter.
absl::Time NextRotation(const v1::RotateSpec& spec, absl::string_view name,
                        absl::Time last_rotated);

// When a person is reminded of a key that is due: 30, 14, 7, 3 and 1 days before, then daily.
struct Reminder {
  bool due = false;  // the first of them has come
  absl::Time next = absl::InfiniteFuture();
};
Reminder ReminderAt(absl::Time due, absl::Time now);

absl::Duration GraceOf(const v1::RotateSpec& spec);

// Retries come faster the less time is left: cap min(5 min, runway / 4), but never under 15 s.
base::BackoffPolicy RetryPolicy(absl::Duration runway);

absl::Duration ToDuration(const google::protobuf::Duration& duration);

}  // namespace keyturn::lifecycle
