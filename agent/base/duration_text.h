// SPDX-License-Identifier: Apache-2.0
// Durations as people write them (`90d`, `1h30m`, `5s`, `250ms`, `2w`, `0s`) and as protos hold
// them. Pure.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace google::protobuf {
class Duration;
}

namespace keyturn::base {

// Numbers with units w, d, h, m, s, ms, us, ns, from large to small, each at most once; a number
// may have a fraction (`1.5h`). Never negative, at most 10,000 years. InvalidArgument says what is
// wrong; a number without a unit is refused, because nobody can know which one was meant.
absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text);

// A text that ParseDuration reads back as the same duration (to the nanosecond), with days as the
// largest unit.
std::string FormatDuration(absl::Duration duration);

absl::Duration ToDuration(const google::protobuf::Duration& duration);

}  // namespace keyturn::base
