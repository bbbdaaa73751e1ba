// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/delivery_queue.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace keyturn::lifecycle {

bool DeliveryQueue::Push(const Delivery& delivery) {
  std::string key = absl::StrCat(delivery.credential, " ", delivery.principal);
  const Waiting waiting{delivery.version, delivery.at, delivery.acknowledged};
  absl::MutexLock lock(&mu_);
  const bool was_empty = waiting_.empty();
  if (waiting_.size() >= most_ && !waiting_.contains(key)) {
    key.resize(delivery.credential.size() + 1);
  }
  waiting_.insert_or_assign(std::move(key), waiting);
  return was_empty;
}

std::vector<Delivery> DeliveryQueue::Take() {
  absl::flat_hash_map<std::string, Waiting> taken;
  {
    absl::MutexLock lock(&mu_);
    taken.swap(waiting_);
  }
  std::vector<Delivery> all;
  all.reserve(taken.size());
  for (const auto& [key, waiting] : taken) {
    const size_t space = key.find(' ');
    all.push_back({key.substr(0, space), key.substr(space + 1), waiting.version, waiting.at,
                   waiting.acknowledged});
  }
  return all;
}

}  // namespace keyturn::lifecycle
