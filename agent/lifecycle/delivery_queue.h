// SPDX-License-Identifier: Apache-2.0
// DeliveryQueue: between the threads that hand values out and the lifecycle that remembers who got
// them. Holds the last delivery to each principal of each credential; what there is no room for
// becomes a delivery to somebody unknown, never nothing. Thread-safe; the lock is held for a
// look-up in memory alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/lifecycle/consumers.h"

namespace keyturn::lifecycle {

class DeliveryQueue {
 public:
  // Beyond `most`, it grows by one entry a credential only.
  explicit DeliveryQueue(size_t most = 4096) : most_(most) {}

  // True when nothing was waiting: somebody must call Take.
  bool Push(const Delivery& delivery);
  std::vector<Delivery> Take();

 private:
  struct Waiting {
    uint64_t version = 0;
    absl::Time at;
    bool acknowledged = false;
  };

  const size_t most_;
  absl::Mutex mu_;
  // By `NAME PRINCIPAL`: a name has no space.
  absl::flat_hash_map<std::string, Waiting> waiting_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::lifecycle
