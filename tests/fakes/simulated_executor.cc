// SPDX-License-Identifier: Apache-2.0
#include "tests/fakes/simulated_executor.h"

#include "agent/base/check.h"

namespace keyturn::fakes {
namespace {

// A task that posts itself for ever would hang a test; this many without time moving is a bug.
constexpr size_t kRunawayTasks = 5'000'000;

}  // namespace

SimulatedExecutor::~SimulatedExecutor() {
  // Tasks may own objects that cancel timers when destroyed: not under the lock.
  std::deque<Task> posted;
  std::map<TimerKey, Task> timers;
  {
    absl::MutexLock lock(&mu_);
    posted.swap(posted_);
    timers.swap(timers_);
    timer_times_.clear();
  }
}

void SimulatedExecutor::Post(Task task) {
  absl::MutexLock lock(&mu_);
  posted_.push_back(std::move(task));
}

base::Executor::TimerId SimulatedExecutor::After(absl::Duration delay, Task task) {
  const absl::Duration at = (clock_.BootNow() + delay).since_boot;
  absl::MutexLock lock(&mu_);
  const TimerId id = next_id_++;
  timers_.emplace(TimerKey(at, id), std::move(task));
  timer_times_.emplace(id, at);
  return id;
}

bool SimulatedExecutor::Cancel(TimerId id) {
  Task dropped;  // destroyed after the lock is released
  absl::MutexLock lock(&mu_);
  const auto found = timer_times_.find(id);
  if (found == timer_times_.end()) return false;
  const auto timer = timers_.find({found->second, id});
  dropped = std::move(timer->second);
  timers_.erase(timer);
  timer_times_.erase(found);
  return true;
}

base::Executor::Task SimulatedExecutor::TakeReady() {
  const absl::Duration now = clock_.BootNow().since_boot;
  absl::MutexLock lock(&mu_);
  Task task;
  if (!timers_.empty() && timers_.begin()->first.first <= now) {
    task = std::move(timers_.begin()->second);
    timer_times_.erase(timers_.begin()->first.second);
    timers_.erase(timers_.begin());
  } else if (!posted_.empty()) {
    task = std::move(posted_.front());
    posted_.pop_front();
  }
  return task;
}

void SimulatedExecutor::OnClockSet(Task task) {
  on_clock_set_ = std::move(task);
  steps_seen_ = clock_.steps();
}

size_t SimulatedExecutor::RunReady() {
  size_t ran = 0;
  if (on_clock_set_ && std::exchange(steps_seen_, clock_.steps()) != clock_.steps()) {
    on_clock_set_();
    ++ran;
  }
  while (Task task = TakeReady()) {
    task();
    KEYTURN_CHECK(++ran < kRunawayTasks, "tasks keep making tasks while time stands still");
  }
  return ran;
}

size_t SimulatedExecutor::AdvanceBy(absl::Duration d) {
  const base::BootTime end = clock_.BootNow() + d;
  size_t ran = RunReady();
  for (;;) {
    const std::optional<base::BootTime> next = NextTimerAt();
    if (!next.has_value() || *next > end) break;
    clock_.Advance(*next - clock_.BootNow());
    ran += RunReady();
  }
  clock_.Advance(end - clock_.BootNow());
  return ran;
}

bool SimulatedExecutor::AdvanceToNextTimer(absl::Duration limit) {
  RunReady();
  const std::optional<base::BootTime> next = NextTimerAt();
  if (!next.has_value() || next->since_boot == absl::InfiniteDuration()) return false;
  if (*next - clock_.BootNow() > limit) return false;
  AdvanceBy(*next - clock_.BootNow());
  return true;
}

std::optional<base::BootTime> SimulatedExecutor::NextTimerAt() const {
  absl::MutexLock lock(&mu_);
  if (timers_.empty()) return std::nullopt;
  return base::BootTime{timers_.begin()->first.first};
}

bool SimulatedExecutor::idle() const {
  absl::MutexLock lock(&mu_);
  return posted_.empty() && timers_.empty();
}

size_t SimulatedExecutor::timer_count() const {
  absl::MutexLock lock(&mu_);
  return timers_.size();
}

}  // namespace keyturn::fakes
