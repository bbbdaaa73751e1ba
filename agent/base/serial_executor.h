// SPDX-License-Identifier: Apache-2.0
// Executor on a thread of its own, with timers on the boot-time clock (timerfd), so that a machine
// that slept runs overdue work on waking.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "agent/base/clock.h"
#include "agent/base/executor.h"

namespace keyturn::base {

class SerialExecutor final : public Executor {
 public:
  // `name` is the thread's, for debuggers; at most 15 characters.
  explicit SerialExecutor(const std::string& name);
  ~SerialExecutor() override;

  void Post(Task task) override;
  TimerId After(absl::Duration delay, Task task) override;
  bool Cancel(TimerId id) override;
  void OnClockSet(Task task) override;

  // Lets the running task end, drops all others and joins the thread. Idempotent. Must not be
  // called from a task.
  void Stop();

 private:
  void Loop();
  void Wake();
  bool Stopping();
  void RunClockSet();
  // What is to run now; else null, with the timer armed for the next one.
  Task TakeNext();

  const int wake_fd_;
  const int timer_fd_;
  const int date_fd_;  // a timer that never ends, but by somebody setting the date
  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  TimerId next_id_ ABSL_GUARDED_BY(mu_) = 1;
  std::deque<Task> posted_ ABSL_GUARDED_BY(mu_);
  // Ordered by time, then by id, so that equal times run in the order they were asked for.
  std::map<std::pair<absl::Duration, TimerId>, Task> timers_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<TimerId, absl::Duration> timer_times_ ABSL_GUARDED_BY(mu_);
  Task on_clock_set_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace keyturn::base
