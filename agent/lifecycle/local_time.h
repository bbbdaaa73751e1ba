// SPDX-License-Identifier: Apache-2.0
// Wall clocks of people: time zones by name, and which moment a local time means on the days on
// which clocks are set. Pure but for the zone files of the system, which abseil keeps once read.
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/civil_time.h"
#include "absl/time/time.h"

namespace keyturn::lifecycle {

// An IANA name such as Europe/Berlin; empty: UTC. InvalidArgument for what the system does not
// know, and for paths.
absl::StatusOr<absl::TimeZone> LoadZone(absl::string_view name);

// The moment at which clocks show `time`. One that is left out when clocks go forward: the first
// moment after the gap. One that they show twice: the first.
absl::Time FirstMomentOf(absl::CivilSecond time, absl::TimeZone zone);
// As above, but of one that is shown twice the second.
absl::Time LastMomentOf(absl::CivilSecond time, absl::TimeZone zone);

}  // namespace keyturn::lifecycle
