// SPDX-License-Identifier: Apache-2.0
// From a status to an exit code.
#include "client/cli/exit_code.h"

#include "keyturn/errors.h"

namespace keyturn::cli {

int ExitCodeFor(const absl::Status& status) {
  if (absl::IsUnavailable(status) && IsUnreachable(status)) return kExitUnreachable;
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return kExitDenied;
    case absl::StatusCode::kFailedPrecondition:
      return kExitPersonMustAct;
    default:
      return kExitError;
  }
}

}  // namespace keyturn::cli
