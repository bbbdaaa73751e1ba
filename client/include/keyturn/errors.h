// SPDX-License-Identifier: Apache-2.0
// What an error of this library says beyond its code: the agent's stable reason, when asking again
// helps, and whether there was an agent at all. Pure functions of the status.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace keyturn {

// The agent's code for why, such as "NEEDS_CONSENT"; empty when it gave none.
std::string ReasonOf(const absl::Status& status);

// Facts that belong to the reason (credential, principal, action, ...); never secret.
std::map<std::string, std::string> FactsOf(const absl::Status& status);

// When asking again may help; absent when the agent did not say.
std::optional<absl::Duration> RetryDelayOf(const absl::Status& status);

// True when no agent answered at the socket, so that the error is this library's own: UNAVAILABLE,
// or PERMISSION_DENIED when the socket is closed to this process.
bool IsUnreachable(const absl::Status& status);

}  // namespace keyturn
