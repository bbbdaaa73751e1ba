// SPDX-License-Identifier: Apache-2.0
// What will happen to credentials in the days to come, if nothing fails and nobody steps in:
// rotations, ends of grace, refreshes, expiries, and reminders for those that a person replaces.
// Pure but for what it is handed.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "agent/lifecycle/ledger.h"
#include "agent/providers/provider.h"
#include "keyturn/v1/admin.pb.h"

namespace keyturn::lifecycle {

struct CalendarContext {
  const Ledger& ledger;
  absl::Time now;
  // When the credential's next rotation is planned to begin, or its next refresh; InfiniteFuture:
  // none is.
  std::function<absl::Time(const std::string& name)> rotation_at;
  std::function<absl::Time(const std::string& name)> refresh_at;
  // Of a credential's provider; nothing when it cannot be used.
  std::function<std::optional<providers::ProviderClass>(const std::string& name)> class_of;
};

// At most 50 entries of one credential and 1000 in all: the soonest ones, and `truncated` says that
// there were more. InvalidArgument when the time ahead is not from 0 to 400 days.
absl::StatusOr<v1::CalendarResponse> ViewCalendar(const v1::CalendarRequest& request,
                                                  const CalendarContext& context);

}  // namespace keyturn::lifecycle
