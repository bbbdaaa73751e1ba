// SPDX-License-Identifier: Apache-2.0
#include "agent/base/crash_point.h"

namespace keyturn::base {
namespace {
CrashPointObserver g_observer = nullptr;
}  // namespace

void SetCrashPointObserver(CrashPointObserver observer) { g_observer = observer; }

void CrashPoint(absl::string_view point) {
  if (g_observer != nullptr) g_observer(point);
}

}  // namespace keyturn::base
