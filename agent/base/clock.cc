// SPDX-License-Identifier: Apache-2.0
// SystemClock: CLOCK_REALTIME and CLOCK_BOOTTIME, both answered from the vDSO without a system
// call.
#include "agent/base/clock.h"

#include <time.h>

namespace keyturn::base {
namespace {

absl::Duration Read(clockid_t id) {
  timespec ts{};
  clock_gettime(id, &ts);
  return absl::DurationFromTimespec(ts);
}

class MachineClock final : public Clock {
 public:
  absl::Time WallNow() const override { return absl::UnixEpoch() + Read(CLOCK_REALTIME); }
  BootTime BootNow() const override { return {Read(CLOCK_BOOTTIME)}; }
};

}  // namespace

Clock& SystemClock() {
  static MachineClock clock;
  return clock;
}

}  // namespace keyturn::base
