// SPDX-License-Identifier: Apache-2.0
// The only door to time. Two clocks are kept apart: wall time, which people and providers speak of
// and which may be set, and boot time, which only grows, goes on during suspend and is what
// lifetimes and graces are measured by in memory. All methods are thread-safe and cheap.
#pragma once

#include <compare>
#include <string>

#include "absl/time/time.h"

namespace keyturn::base {

// Time since boot, suspend included (CLOCK_BOOTTIME). A type of its own so that it cannot be
// mistaken for wall time.
struct BootTime {
  absl::Duration since_boot = absl::ZeroDuration();

  friend bool operator==(BootTime a, BootTime b) { return a.since_boot == b.since_boot; }
  friend auto operator<=>(BootTime a, BootTime b) {
    return a.since_boot < b.since_boot   ? std::strong_ordering::less
           : b.since_boot < a.since_boot ? std::strong_ordering::greater
                                         : std::strong_ordering::equal;
  }
  friend BootTime operator+(BootTime t, absl::Duration d) { return {t.since_boot + d}; }
  friend BootTime operator-(BootTime t, absl::Duration d) { return {t.since_boot - d}; }
  friend absl::Duration operator-(BootTime a, BootTime b) { return a.since_boot - b.since_boot; }
  static BootTime InfiniteFuture() { return {absl::InfiniteDuration()}; }
};

// A boot time that can be stored: with the boot that it is counted from.
struct BootStamp {
  std::string boot_id;  // empty: not known
  BootTime at;
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time WallNow() const = 0;
  virtual BootTime BootNow() const = 0;
  // Another one after each boot; empty where the machine has none to give.
  virtual const std::string& BootId() const = 0;

  // The boot time at which the wall clock, if left alone, will show `t`.
  BootTime ToBoot(absl::Time t) const { return BootNow() + (t - WallNow()); }
  absl::Time ToWall(BootTime t) const { return WallNow() + (t - BootNow()); }

  BootStamp Stamp(BootTime at) const { return {BootId(), at}; }
  // Whether the stamp is of this boot, so that its time can be compared with BootNow.
  bool IsOfThisBoot(const BootStamp& stamp) const {
    return !stamp.boot_id.empty() && stamp.boot_id == BootId();
  }
  // Of a moment that was stored as both clocks showed it. What was stored during an earlier boot
  // only the wall clock can tell.
  BootTime ToBoot(absl::Time wall, const BootStamp& stamp) const {
    return IsOfThisBoot(stamp) ? stamp.at : ToBoot(wall);
  }
};

// The machine's clocks. Lives for the whole process.
Clock& SystemClock();

}  // namespace keyturn::base
