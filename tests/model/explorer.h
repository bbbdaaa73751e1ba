// SPDX-License-Identifier: Apache-2.0
// Explores every world that can follow from the first one, breadth first, and says whether one of
// them breaks an invariant or has no way back to a clean state. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tests/model/rotation_model.h"

namespace keyturn::model {

struct Verdict {
  size_t states = 0;
  // Worlds at rest after a promotion: shows that rotations really end.
  size_t rotated = 0;
  // Empty: all is well. Else what is broken, and the shortest way to it.
  std::string violation;
  std::vector<std::string> trace;

  std::string ToString() const;
};

// Gives up (with a violation that says so) beyond `states_max`.
Verdict Explore(const Setting& setting, size_t states_max = 3'000'000);

}  // namespace keyturn::model
