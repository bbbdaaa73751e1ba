// SPDX-License-Identifier: Apache-2.0
// KEYTURN_CHECK: ends the process when an invariant that only a bug in Keyturn can break does not
// hold. Never for bad input, for a failing disk or for a provider's reply: those are absl::Status.
#pragma once

namespace keyturn::base {

// Prints one line without any value from the program's memory, then aborts.
[[noreturn]] void CheckFailed(const char* file, int line, const char* what);

// Ends the process at once, after one line that says why: for a state in which going on could do
// harm and a restart, which reads everything anew, cannot.
[[noreturn]] void EndProcess(const char* why, int exit_code = 1);

}  // namespace keyturn::base

#define KEYTURN_CHECK(condition, what) \
  ((condition) ? static_cast<void>(0) : ::keyturn::base::CheckFailed(__FILE__, __LINE__, what))
