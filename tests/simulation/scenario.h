// SPDX-License-Identifier: Apache-2.0
// One simulated life of an agent, decided by a seed alone: a provider of some class and two token
// endpoints, faults, crashes, a failing disk, impatient administrators; then peace. Checkers look
// on at every moment. Used from one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace keyturn::simulation {

struct Outcome {
  // What went wrong, oldest first; empty: nothing.
  std::vector<std::string> broken;
  // The agent's log.
  std::vector<std::string> log;
  // What the scenario was, for people.
  std::string summary;
  absl::Duration lived;
  int rotations = 0;
  int refreshes = 0;
  int crashes = 0;
};

Outcome RunScenario(uint64_t seed);

}  // namespace keyturn::simulation
