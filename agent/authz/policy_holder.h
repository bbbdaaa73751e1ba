// SPDX-License-Identifier: Apache-2.0
// Holds the policy set in force. Readers see a generation number first and fetch the set only when
// it changed, so the read path takes no lock. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "agent/authz/policy.h"

namespace keyturn::authz {

class PolicyHolder {
 public:
  PolicyHolder() : set_(std::make_shared<const PolicySet>(std::vector<Policy>{})) {}

  void Replace(PolicySet set) {
    auto next = std::make_shared<const PolicySet>(std::move(set));
    absl::MutexLock lock(&mu_);
    set_.swap(next);
    generation_.fetch_add(1, std::memory_order_release);
  }
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }
  std::shared_ptr<const PolicySet> Current() const {
    absl::MutexLock lock(&mu_);
    return set_;
  }

 private:
  mutable absl::Mutex mu_;
  std::shared_ptr<const PolicySet> set_ ABSL_GUARDED_BY(mu_);
  std::atomic<uint64_t> generation_{1};
};

}  // namespace keyturn::authz
