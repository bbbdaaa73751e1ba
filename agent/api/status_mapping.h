// SPDX-License-Identifier: Apache-2.0
// absl::Status as gRPC answers it: code and message, and in the binary details a google.rpc.Status
// with ErrorInfo (domain `keyturn`) and RetryInfo where the status carries them (base/error.h).
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/authz/policy.h"
#include "keyturn/v1/credentials.pb.h"

namespace keyturn::api {

grpc::Status ToGrpc(const absl::Status& status);

// The same facts for a result inside a message.
void ToFailure(const absl::Status& status, v1::Failure& failure);

// PERMISSION_DENIED that says who may not do what, and who can mend it; reason POLICY_DENIED. Says
// nothing about whether `name` exists.
absl::Status Denied(absl::string_view principal, authz::Action action, absl::string_view name);

// What a call is answered with when the agent is about to stop.
absl::Status Stopping();

}  // namespace keyturn::api
