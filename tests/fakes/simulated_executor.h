// SPDX-License-Identifier: Apache-2.0
// Executor over a SimulatedClock: nothing runs until the test says so, and everything runs on the
// test's thread in an order that depends on nothing but the calls made. The order is that of
// base::SerialExecutor: due timers by time and age, then posted tasks. Post, After and Cancel are
// thread-safe; RunReady and the Advance calls belong to one thread and are not called from tasks.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "agent/base/clock.h"
#include "agent/base/executor.h"
#include "tests/fakes/simulated_clock.h"

namespace keyturn::fakes {

class SimulatedExecutor final : public base::Executor {
 public:
  // The clock must outlive this.
  explicit SimulatedExecutor(SimulatedClock& clock) : clock_(clock) {}
  // Drops what did not run, as a killed process does.
  ~SimulatedExecutor() override;

  void Post(Task task) override;
  TimerId After(absl::Duration delay, Task task) override;
  bool Cancel(TimerId id) override;
  // Runs before anything else that is due, once for any number of steps.
  void OnClockSet(Task task) override;

  // Runs what is due now, and what that makes due, until nothing is. Returns how many tasks ran.
  // Time does not move.
  size_t RunReady();
  // Moves both clocks by `d`, stopping at each timer on the way to run it at its time.
  size_t AdvanceBy(absl::Duration d);
  // AdvanceBy to the next timer. False, and nothing happens, when there is none within `limit`.
  bool AdvanceToNextTimer(absl::Duration limit = absl::InfiniteDuration());

  std::optional<base::BootTime> NextTimerAt() const;
  bool idle() const;
  size_t timer_count() const;

 private:
  using TimerKey = std::pair<absl::Duration, TimerId>;
  Task TakeReady();

  SimulatedClock& clock_;
  mutable absl::Mutex mu_;
  TimerId next_id_ ABSL_GUARDED_BY(mu_) = 1;
  std::deque<Task> posted_ ABSL_GUARDED_BY(mu_);
  std::map<TimerKey, Task> timers_ ABSL_GUARDED_BY(mu_);
  std::map<TimerId, absl::Duration> timer_times_ ABSL_GUARDED_BY(mu_);
  Task on_clock_set_;  // the thread's that runs tasks
  int steps_seen_ = 0;
};

}  // namespace keyturn::fakes
