// SPDX-License-Identifier: Apache-2.0
// Rejections: how often what services report may make the agent act. So many reports a minute of
// one user, one look a minute at one credential, and so many who wait for its replacement. Pure;
// time is a parameter, the boot-time clock's. Bounded. Not thread-safe.
#pragma once

#include <cstddef>
#include <map>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/base/clock.h"

namespace keyturn::lifecycle {

class Rejections {
 public:
  explicit Rejections(size_t most = 4096) : most_(most) {}

  // How long the principal must wait before it may report again; zero: this one is counted. A
  // principal is its user: new processes do not make new room.
  absl::Duration Admit(absl::string_view principal, base::BootTime now);
  // True at most once a minute for each credential.
  bool MayLook(const std::string& credential, base::BootTime now);
  // True for the first so many of those who wait for one credential at the same time; each of them
  // is counted until it calls HasWaited.
  bool MayWait(const std::string& credential);
  void HasWaited(const std::string& credential);

 private:
  // Drops what is over; then, while there is still no room, whatever is over first.
  void MakeRoom(std::map<std::string, base::BootTime>& times, base::BootTime now) const;

  const size_t most_;
  // When the bucket of a principal is full again (the generic cell rate algorithm).
  std::map<std::string, base::BootTime> full_at_;
  std::map<std::string, base::BootTime> quiet_until_;
  std::map<std::string, size_t> waiting_;
};

}  // namespace keyturn::lifecycle
