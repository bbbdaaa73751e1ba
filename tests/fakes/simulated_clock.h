// SPDX-License-Identifier: Apache-2.0
// A clock that stands still until a test moves it. Wall and boot time move together in Advance and
// apart in StepWall, as when somebody sets the date. Starts at a fixed moment, so runs repeat
// exactly. Thread-safe.
#pragma once

#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/base/check.h"
#include "agent/base/clock.h"

namespace keyturn::fakes {

class SimulatedClock final : public base::Clock {
 public:
  // 2026-01-05 12:00:00 UTC, a Monday, an hour after boot.
  explicit SimulatedClock(absl::Time start = absl::FromUnixSeconds(1767614400)) : wall_(start) {}

  absl::Time WallNow() const override {
    absl::MutexLock lock(&mu_);
    return wall_;
  }
  base::BootTime BootNow() const override {
    absl::MutexLock lock(&mu_);
    return boot_;
  }

  const std::string& BootId() const override { return boot_id_; }

  // Both clocks. Timers of a SimulatedExecutor are not run by this: use its AdvanceBy.
  void Advance(absl::Duration d) {
    KEYTURN_CHECK(d >= absl::ZeroDuration(), "boot time does not run backwards");
    absl::MutexLock lock(&mu_);
    wall_ += d;
    boot_ = boot_ + d;
  }

  // The wall clock alone, either way.
  void StepWall(absl::Duration d) {
    absl::MutexLock lock(&mu_);
    wall_ += d;
    ++steps_;
  }
  // How often the wall clock was set.
  int steps() const {
    absl::MutexLock lock(&mu_);
    return steps_;
  }

  // The machine is off for a while, and boot time begins anew. Only while no executor has timers.
  void Reboot(absl::Duration off) {
    absl::MutexLock lock(&mu_);
    wall_ += off;
    boot_ = {absl::Seconds(20)};
    boot_id_ = absl::StrCat("boot-", ++boots_);
  }

 private:
  mutable absl::Mutex mu_;
  absl::Time wall_ ABSL_GUARDED_BY(mu_);
  base::BootTime boot_ ABSL_GUARDED_BY(mu_) = {absl::Hours(1)};
  int steps_ ABSL_GUARDED_BY(mu_) = 0;
  int boots_ ABSL_GUARDED_BY(mu_) = 1;
  std::string boot_id_ = "boot-1";  // changed by Reboot only, while nothing runs
};

}  // namespace keyturn::fakes
