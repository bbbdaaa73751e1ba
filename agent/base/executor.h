// SPDX-License-Identifier: Apache-2.0
// A serial executor: tasks run one after the other, in the order of their time, on one thread. What
// belongs to one executor needs no locks. The real one is SerialExecutor; tests drive simulated
// time through tests/fakes/simulated_executor.h.
#pragma once

#include <cstdint>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"

namespace keyturn::base {

class Executor {
 public:
  using Task = absl::AnyInvocable<void()>;
  using TimerId = uint64_t;  // 0 is never given out

  virtual ~Executor() = default;

  // Runs the task soon. Thread-safe; tasks posted by one thread keep their order. After Stop the
  // task is destroyed without being run.
  virtual void Post(Task task) = 0;

  // Runs the task once, not earlier than `delay` of boot time from now (a suspended machine runs it
  // on waking). Thread-safe.
  virtual TimerId After(absl::Duration delay, Task task) = 0;

  // Runs the task each time after the wall clock was set, or the machine woke from suspend; small
  // corrections, by which time does not jump, do not count. One task: call once, before time is of
  // interest. Thread-safe.
  virtual void OnClockSet(Task task) = 0;

  // True if the task will not run. From a task of this executor that answer is final; from another
  // thread the task may be running at this moment. Unknown ids and 0 are fine.
  virtual bool Cancel(TimerId id) = 0;
};

}  // namespace keyturn::base
