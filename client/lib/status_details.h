// SPDX-License-Identifier: Apache-2.0
// From what gRPC reports to absl::Status, without losing the agent's details. Private to the
// client. Pure functions.
#pragma once

#include <string>

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace keyturn::client {

// The google.rpc.Status that the agent sent along stays in a payload, where errors.h finds it.
absl::Status FromGrpc(const grpc::Status& status);

// A status for one name out of a reply, with the same details as a failed call would have.
absl::Status FromFailure(int code, const std::string& reason, const std::string& message,
                         absl::Duration retry_delay);

// A status for which IsUnreachable() holds: PERMISSION_DENIED when the socket is there but closed
// to this process, UNAVAILABLE otherwise.
absl::Status Unreachable(absl::string_view message, bool denied = false);

// True when the status came with details, so that the agent itself decided it.
bool FromAgent(const absl::Status& status);

}  // namespace keyturn::client
