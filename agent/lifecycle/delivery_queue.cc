// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/delivery_queue.h"

namespace keyturn::lifecycle {

bool DeliveryQueue::Push(Delivery delivery) {
  absl::MutexLock lock(&mu_);
  const bool was_empty = waiting_.empty();
  Key key(delivery.credential, delivery.principal);
  if (waiting_.size() >= most_ && !waiting_.contains(key)) {
    delivery.principal.clear();
    key.second.clear();
  }
  waiting_.insert_or_assign(std::move(key), std::move(delivery));
  return was_empty;
}

std::vector<Delivery> DeliveryQueue::Take() {
  absl::flat_hash_map<Key, Delivery> taken;
  {
    absl::MutexLock lock(&mu_);
    taken.swap(waiting_);
  }
  std::vector<Delivery> all;
  all.reserve(taken.size());
  for (auto& [key, delivery] : taken) all.push_back(std::move(delivery));
  return all;
}

}  // namespace keyturn::lifecycle
