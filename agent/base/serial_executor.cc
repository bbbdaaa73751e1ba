// SPDX-License-Identifier: Apache-2.0
#include "agent/base/serial_executor.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <limits>

#include "agent/base/check.h"

namespace keyturn::base {

SerialExecutor::SerialExecutor(const std::string& name)
    : wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      timer_fd_(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)),
      date_fd_(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK)) {
  KEYTURN_CHECK(wake_fd_ >= 0 && timer_fd_ >= 0 && date_fd_ >= 0,
                "no file descriptors left for an executor");
  thread_ = std::thread([this] { Loop(); });
  pthread_setname_np(thread_.native_handle(), name.substr(0, 15).c_str());
}

SerialExecutor::~SerialExecutor() {
  Stop();
  close(wake_fd_);
  close(timer_fd_);
  close(date_fd_);
}

void SerialExecutor::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  Wake();
  if (thread_.joinable()) thread_.join();
  std::deque<Task> posted;
  std::map<std::pair<absl::Duration, TimerId>, Task> timers;
  absl::MutexLock lock(&mu_);
  posted.swap(posted_);
  timers.swap(timers_);
  timer_times_.clear();
  Task dropped = std::move(on_clock_set_);
}

void SerialExecutor::Wake() {
  const uint64_t one = 1;
  // A full counter means that a wake-up is pending already.
  [[maybe_unused]] const ssize_t n = write(wake_fd_, &one, sizeof one);
}

void SerialExecutor::Post(Task task) {
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) return;
    posted_.push_back(std::move(task));
  }
  Wake();
}

Executor::TimerId SerialExecutor::After(absl::Duration delay, Task task) {
  const absl::Duration at = SystemClock().BootNow().since_boot + delay;
  TimerId id = 0;
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) return 0;
    id = next_id_++;
    timers_.emplace(std::pair(at, id), std::move(task));
    timer_times_.emplace(id, at);
  }
  Wake();
  return id;
}

void SerialExecutor::OnClockSet(Task task) {
  {
    absl::MutexLock lock(&mu_);
    on_clock_set_ = std::move(task);
  }
  itimerspec never{};
  never.it_value.tv_sec = std::numeric_limits<int32_t>::max() * int64_t{4};  // the year 2242
  timerfd_settime(date_fd_, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, nullptr);
}

void SerialExecutor::RunClockSet() {
  Task task;
  {
    absl::MutexLock lock(&mu_);
    task = std::move(on_clock_set_);
  }
  if (!task) return;
  task();
  absl::MutexLock lock(&mu_);
  on_clock_set_ = std::move(task);
}

bool SerialExecutor::Cancel(TimerId id) {
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

Executor::Task SerialExecutor::TakeNext() {
  absl::MutexLock lock(&mu_);
  if (stopping_) return nullptr;
  const absl::Duration now = SystemClock().BootNow().since_boot;
  if (!timers_.empty() && timers_.begin()->first.first <= now) {
    Task task = std::move(timers_.begin()->second);
    timer_times_.erase(timers_.begin()->first.second);
    timers_.erase(timers_.begin());
    return task;
  }
  if (!posted_.empty()) {
    Task task = std::move(posted_.front());
    posted_.pop_front();
    return task;
  }
  itimerspec spec{};
  if (!timers_.empty() && timers_.begin()->first.first < absl::InfiniteDuration()) {
    spec.it_value = absl::ToTimespec(timers_.begin()->first.first);
  }
  timerfd_settime(timer_fd_, TFD_TIMER_ABSTIME, &spec, nullptr);
  return nullptr;
}

bool SerialExecutor::Stopping() {
  absl::MutexLock lock(&mu_);
  return stopping_;
}

void SerialExecutor::Loop() {
  while (!Stopping()) {
    // One at a time, so that a task can still cancel a timer that is due as well.
    if (Task task = TakeNext()) {
      task();
      continue;
    }
    pollfd fds[3] = {{wake_fd_, POLLIN, 0}, {timer_fd_, POLLIN, 0}, {date_fd_, POLLIN, 0}};
    poll(fds, 3, -1);
    uint64_t count = 0;
    for (const int fd : {wake_fd_, timer_fd_}) {
      [[maybe_unused]] const ssize_t n = read(fd, &count, sizeof count);
    }
    // timerfd_create(2): the read that finds the timer cancelled says so, and arms it again.
    if (read(date_fd_, &count, sizeof count) == -1 && errno == ECANCELED) RunClockSet();
  }
}

}  // namespace keyturn::base
