// SPDX-License-Identifier: Apache-2.0
// Durations and times as people write and read them. Pure: the present is a parameter.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace keyturn::cli {

// `90d`, `36h`, `1h30m`, `5s`, `250ms`: as in resource files. INVALID_ARGUMENT for anything else, a
// number without its unit included.
absl::StatusOr<absl::Duration> ParseDuration(absl::string_view text);

// The two largest units: `3d 4h`, `12m`, `450ms`.
std::string ReadableDuration(absl::Duration duration);

// `in 12m`, `3d 4h ago`, `now`.
std::string FormatRelative(absl::Time time, absl::Time now);

// `2031-02-03 04:05:06 CET`, for tables.
std::string FormatLocal(absl::Time time, absl::TimeZone zone);

// RFC 3339 in UTC, for JSON.
std::string FormatRfc3339(absl::Time time);

}  // namespace keyturn::cli
