// SPDX-License-Identifier: Apache-2.0
// Named points at which a test may end the process, to prove that every crash has a defined
// outcome. In keyturnd no observer is ever set and a point costs one load; tests/crash sets one
// that kills the process at the n-th point.
#pragma once

#include "absl/strings/string_view.h"

namespace keyturn::base {

using CrashPointObserver = void (*)(absl::string_view point);

// Set once, before any other thread starts.
void SetCrashPointObserver(CrashPointObserver observer);

void CrashPoint(absl::string_view point);

}  // namespace keyturn::base
