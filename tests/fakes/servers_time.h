// SPDX-License-Identifier: Apache-2.0
// What time it is at a service, whose clock nobody here can set: it goes on evenly while the test
// steps the agent's own.
#pragma once

#include "absl/time/time.h"
#include "agent/base/clock.h"

namespace keyturn::fakes {

inline absl::Time ServersNow(const base::Clock& clock) {
  return absl::FromUnixSeconds(1'767'614'400) + clock.BootNow().since_boot;
}

}  // namespace keyturn::fakes
