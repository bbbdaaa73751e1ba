// SPDX-License-Identifier: Apache-2.0
//
// One thread sleeps until the earliest effect is due or something changes. Effects run without
// the lock, one at a time, in order of their due times. Thread-safe.
#include "tests/sandbox/late_effects.h"

#include <utility>

#include <absl/time/clock.h>

namespace keyturn::sandbox {

LateEffects::LateEffects() : thread_([this] { Run(); }) {}

LateEffects::~LateEffects() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
}

bool LateEffects::Schedule(absl::Duration delay, std::function<void()> effect) {
  absl::MutexLock lock(&mutex_);
  if (stopping_ || pending_.size() >= kMaxPending) return false;
  pending_.emplace(absl::Now() + delay, std::move(effect));
  return true;
}

void LateEffects::WaitUntilIdle() {
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return (pending_.empty() && !running_effect_) || stopping_;
  };
  mutex_.LockWhen(absl::Condition(&idle));
  mutex_.Unlock();
}

void LateEffects::Run() {
  absl::MutexLock lock(&mutex_);
  while (!stopping_) {
    const absl::Time due = pending_.empty() ? absl::InfiniteFuture() : pending_.begin()->first;
    if (due > absl::Now()) {
      const auto changed = [this, due]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return stopping_ || (!pending_.empty() && pending_.begin()->first < due);
      };
      mutex_.AwaitWithDeadline(absl::Condition(&changed), due);
      continue;
    }
    const std::function<void()> effect = std::move(pending_.begin()->second);
    pending_.erase(pending_.begin());
    running_effect_ = true;
    mutex_.Unlock();
    effect();
    mutex_.Lock();
    running_effect_ = false;
  }
}

}  // namespace keyturn::sandbox
