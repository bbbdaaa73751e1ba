// SPDX-License-Identifier: Apache-2.0
// DeliveryQueue: between the threads that hand values out and the lifecycle that remembers who got
// them. Holds the last delivery to each principal of each credential; what there is no room for
// becomes a delivery to somebody unknown, never nothing. Thread-safe; the lock is held for a
// look-up in memory alone.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "agent/lifecycle/consumers.h"

namespace keyturn::lifecycle {

class DeliveryQueue {
 public:
  // Beyond `most`, it grows by one entry a credential only.
  explicit DeliveryQueue(size_t most = 4096) : most_(most) {}

  // True when nothing was waiting: somebody must call Take.
  bool Push(Delivery delivery);
  std::vector<Delivery> Take();

 private:
  using Key = std::pair<std::string, std::string>;

  const size_t most_;
  absl::Mutex mu_;
  absl::flat_hash_map<Key, Delivery> waiting_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::lifecycle
