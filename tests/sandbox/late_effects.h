// SPDX-License-Identifier: Apache-2.0
//
// Runs effects some time after they were asked for, on one thread of its own: the server that goes
// on working on a request whose client has long given up. Bounded; what has not run when this is
// destroyed never runs. Thread-safe.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <thread>

#include <absl/base/thread_annotations.h>
#include <absl/synchronization/mutex.h>
#include <absl/time/time.h>

namespace keyturn::sandbox {

class LateEffects {
 public:
  static constexpr size_t kMaxPending = 1024;

  LateEffects();
  ~LateEffects();
  LateEffects(const LateEffects&) = delete;
  LateEffects& operator=(const LateEffects&) = delete;

  // False when full: the effect will not happen.
  [[nodiscard]] bool Schedule(absl::Duration delay, std::function<void()> effect);

  // Blocks until nothing is pending or running.
  void WaitUntilIdle();

 private:
  void Run();

  absl::Mutex mutex_;
  // Due times on the wall clock: sandbox delays are short, and a jump only moves a fault.
  std::multimap<absl::Time, std::function<void()>> pending_ ABSL_GUARDED_BY(mutex_);
  bool running_effect_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace keyturn::sandbox
