// SPDX-License-Identifier: Apache-2.0
// ClockWatch: by how much the wall clock was set. Pure but for the clock it looks at; not
// thread-safe.
#pragma once

#include "absl/time/time.h"
#include "agent/base/clock.h"

namespace keyturn::lifecycle {

// A date that moves further than this is worth a person's attention.
inline constexpr absl::Duration kClockJump = absl::Minutes(5);

class ClockWatch {
 public:
  explicit ClockWatch(const base::Clock& clock) : clock_(clock), offset_(Offset()) {}

  // Since the last call; positive when it was set forward.
  absl::Duration Moved() {
    const absl::Duration before = offset_;
    offset_ = Offset();
    return offset_ - before;
  }

 private:
  // Grows only by setting the date: the boot-time clock goes on while the machine sleeps.
  absl::Duration Offset() const {
    return clock_.WallNow() - absl::UnixEpoch() - clock_.BootNow().since_boot;
  }

  const base::Clock& clock_;
  absl::Duration offset_;
};

}  // namespace keyturn::lifecycle
