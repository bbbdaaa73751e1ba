// SPDX-License-Identifier: Apache-2.0
// A closed-loop load of Get calls: so many in flight over so many connections, each answer starts
// the next call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace keyturn::bench {

struct Sample {
  double seconds = 0;
  uint64_t failures = 0;
  std::vector<float> latencies_us;  // one for each call
};

class Load {
 public:
  // Connects; the first call of each connection is over when this returns.
  Load(const std::string& path, int channels, int in_flight);
  ~Load();
  // Blocks for about `duration`.
  Sample Run(absl::Duration duration);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keyturn::bench
