// SPDX-License-Identifier: Apache-2.0
// One record of each kind with every field filled, always the same. Part of the frozen vectors: a
// new field gets its sample here and a new vector beside the old one.
#pragma once

#include <vector>

#include "agent/store/store.h"

namespace keyturn::fakes {

std::vector<store::Record> SampleRecords();

}  // namespace keyturn::fakes
