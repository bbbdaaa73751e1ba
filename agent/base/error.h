// SPDX-License-Identifier: Apache-2.0
// Facts that travel with an absl::Status to the caller: a stable reason (docs/EVENTS.md), metadata
// and how long to wait. agent/api turns them into google.rpc.ErrorInfo and RetryInfo.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace keyturn::base {

using Metadata = std::vector<std::pair<std::string, std::string>>;

// The same status with a reason. Metadata must hold nothing secret. An OK status stays OK.
absl::Status WithReason(absl::Status status, absl::string_view reason,
                        const Metadata& metadata = {});
absl::Status WithRetry(absl::Status status, absl::Duration retry_delay);

// Empty when the status carries none.
std::string ReasonOf(const absl::Status& status);
Metadata MetadataOf(const absl::Status& status);
std::optional<absl::Duration> RetryOf(const absl::Status& status);

}  // namespace keyturn::base
