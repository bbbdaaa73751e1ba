// SPDX-License-Identifier: Apache-2.0
// SystemClock: CLOCK_REALTIME and CLOCK_BOOTTIME, both answered from the vDSO without a system
// call, and the boot id of the kernel, read once.
#include "agent/base/clock.h"

#include <time.h>

#include <string>

#include "absl/strings/ascii.h"
#include "agent/base/file_io.h"

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
  const std::string& BootId() const override { return boot_id_; }

 private:
  // random(4): made by the kernel at each boot.
  static std::string ReadBootId() {
    const auto id = ReadFile("/proc/sys/kernel/random/boot_id", 64);
    return id.ok() ? std::string(absl::StripAsciiWhitespace(*id)) : "";
  }

  const std::string boot_id_ = ReadBootId();
};

}  // namespace

Clock& SystemClock() {
  static MachineClock clock;
  return clock;
}

}  // namespace keyturn::base
