// SPDX-License-Identifier: Apache-2.0
// The exit codes of `keyturn`, as promised in its man page. Pure.
#pragma once

#include "absl/status/status.h"

namespace keyturn::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitError = 1,          // the agent, or this program, could not do it
  kExitUsage = 2,          // wrong arguments or input
  kExitNotFound = 3,       // no such credential, provider or policy
  kExitUnhealthy = 3,      // `status --check`: something is degraded or broken
  kExitDenied = 4,         // policy or the socket's permissions do not allow it
  kExitUnreachable = 5,    // no agent at the socket
  kExitPersonMustAct = 6,  // consent or a first value is needed
  kExitInterrupted = 130,
};

int ExitCodeFor(const absl::Status& status);

}  // namespace keyturn::cli
