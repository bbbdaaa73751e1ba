// SPDX-License-Identifier: Apache-2.0
// Tells the thread sanitizer about abseil's locks. The distribution's abseil is not instrumented,
// so what absl::Mutex, CondVar, Notification and BlockingCounter order would look like a race. This
// file stands in front of their functions (the program's definition wins over the shared
// library's), calls the real one, and announces the order. It is part of every program of the tsan
// flavour and of nothing else. Safe from any thread, also before main().
#include <dlfcn.h>
#include <sanitizer/tsan_interface.h>

#include <cstddef>
#include <cstdlib>
#include <string>
#include <typeinfo>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

extern "C" void AnnotateIgnoreReadsBegin(const char* file, int line);
extern "C" void AnnotateIgnoreReadsEnd(const char* file, int line);

namespace {

// The library's own function. `member` is the mangled name after the class; what comes before it
// holds abseil's inline namespace, which each release names differently, and is taken from the
// type.
template <typename Class, typename Function>
Function Real(const char* member, bool is_const = false) {
  const std::string type = typeid(Class).name();  // N4absl...5MutexE
  const std::string name =
      std::string(is_const ? "_ZNK" : "_ZN") + type.substr(1, type.size() - 2) + member;
  void* symbol = dlsym(RTLD_NEXT, name.c_str());
  if (symbol == nullptr) std::abort();
  return reinterpret_cast<Function>(symbol);
}

// While a lock is let go, abseil evaluates the conditions of those who wait, in this thread and
// still under the lock, but after we have announced its release.
class ConditionsMayBeRead {
 public:
  ConditionsMayBeRead() { AnnotateIgnoreReadsBegin(__FILE__, __LINE__); }
  ~ConditionsMayBeRead() { AnnotateIgnoreReadsEnd(__FILE__, __LINE__); }
  ConditionsMayBeRead(const ConditionsMayBeRead&) = delete;
  ConditionsMayBeRead& operator=(const ConditionsMayBeRead&) = delete;
};

// HasBeenNotified() is inline and reads a flag inside the object: announce on every word of it.
template <typename Object>
void ReleaseAll(Object* object) {
  char* address = reinterpret_cast<char*>(object);
  for (size_t at = 0; at < sizeof(Object); at += 8) __tsan_release(address + at);
}

}  // namespace

namespace absl {
ABSL_NAMESPACE_BEGIN

void Mutex::Lock() {
  static const auto real = Real<Mutex, void (*)(Mutex*)>("4LockEv");
  real(this);
  __tsan_acquire(this);
}

bool Mutex::TryLock() {
  static const auto real = Real<Mutex, bool (*)(Mutex*)>("7TryLockEv");
  const bool locked = real(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

void Mutex::Unlock() {
  static const auto real = Real<Mutex, void (*)(Mutex*)>("6UnlockEv");
  __tsan_release(this);
  ConditionsMayBeRead scope;
  real(this);
}

void Mutex::ReaderLock() {
  static const auto real = Real<Mutex, void (*)(Mutex*)>("10ReaderLockEv");
  real(this);
  __tsan_acquire(this);
}

bool Mutex::ReaderTryLock() {
  static const auto real = Real<Mutex, bool (*)(Mutex*)>("13ReaderTryLockEv");
  const bool locked = real(this);
  if (locked) __tsan_acquire(this);
  return locked;
}

void Mutex::ReaderUnlock() {
  static const auto real = Real<Mutex, void (*)(Mutex*)>("12ReaderUnlockEv");
  __tsan_release(this);
  ConditionsMayBeRead scope;
  real(this);
}

void Mutex::Await(const Condition& condition) {
  static const auto real =
      Real<Mutex, void (*)(Mutex*, const Condition&)>("5AwaitERKNS0_9ConditionE");
  __tsan_release(this);
  {
    ConditionsMayBeRead scope;
    real(this, condition);
  }
  __tsan_acquire(this);
}

bool Mutex::AwaitWithTimeout(const Condition& condition, Duration timeout) {
  static const auto real = Real<Mutex, bool (*)(Mutex*, const Condition&, Duration)>(
      "16AwaitWithTimeoutERKNS0_9ConditionENS0_8DurationE");
  __tsan_release(this);
  bool result = false;
  {
    ConditionsMayBeRead scope;
    result = real(this, condition, timeout);
  }
  __tsan_acquire(this);
  return result;
}

bool Mutex::AwaitWithDeadline(const Condition& condition, Time deadline) {
  static const auto real = Real<Mutex, bool (*)(Mutex*, const Condition&, Time)>(
      "17AwaitWithDeadlineERKNS0_9ConditionENS0_4TimeE");
  __tsan_release(this);
  bool result = false;
  {
    ConditionsMayBeRead scope;
    result = real(this, condition, deadline);
  }
  __tsan_acquire(this);
  return result;
}

void Mutex::LockWhen(const Condition& condition) {
  static const auto real =
      Real<Mutex, void (*)(Mutex*, const Condition&)>("8LockWhenERKNS0_9ConditionE");
  {
    ConditionsMayBeRead scope;
    real(this, condition);
  }
  __tsan_acquire(this);
}

void CondVar::Wait(Mutex* mutex) {
  static const auto real = Real<CondVar, void (*)(CondVar*, Mutex*)>("4WaitEPNS0_5MutexE");
  __tsan_release(mutex);
  {
    ConditionsMayBeRead scope;
    real(this, mutex);
  }
  __tsan_acquire(mutex);
}

bool CondVar::WaitWithTimeout(Mutex* mutex, Duration timeout) {
  static const auto real = Real<CondVar, bool (*)(CondVar*, Mutex*, Duration)>(
      "15WaitWithTimeoutEPNS0_5MutexENS0_8DurationE");
  __tsan_release(mutex);
  bool result = false;
  {
    ConditionsMayBeRead scope;
    result = real(this, mutex, timeout);
  }
  __tsan_acquire(mutex);
  return result;
}

bool CondVar::WaitWithDeadline(Mutex* mutex, Time deadline) {
  static const auto real =
      Real<CondVar, bool (*)(CondVar*, Mutex*, Time)>("16WaitWithDeadlineEPNS0_5MutexENS0_4TimeE");
  __tsan_release(mutex);
  bool result = false;
  {
    ConditionsMayBeRead scope;
    result = real(this, mutex, deadline);
  }
  __tsan_acquire(mutex);
  return result;
}

void Notification::Notify() {
  static const auto real = Real<Notification, void (*)(Notification*)>("6NotifyEv");
  ReleaseAll(this);
  real(this);
}

void Notification::WaitForNotification() const {
  static const auto real =
      Real<Notification, void (*)(const Notification*)>("19WaitForNotificationEv", true);
  real(this);
  __tsan_acquire(const_cast<Notification*>(this));
}

bool Notification::WaitForNotificationWithTimeout(Duration timeout) const {
  static const auto real = Real<Notification, bool (*)(const Notification*, Duration)>(
      "30WaitForNotificationWithTimeoutENS0_8DurationE", true);
  const bool notified = real(this, timeout);
  if (notified) __tsan_acquire(const_cast<Notification*>(this));
  return notified;
}

bool Notification::WaitForNotificationWithDeadline(Time deadline) const {
  static const auto real = Real<Notification, bool (*)(const Notification*, Time)>(
      "31WaitForNotificationWithDeadlineENS0_4TimeE", true);
  const bool notified = real(this, deadline);
  if (notified) __tsan_acquire(const_cast<Notification*>(this));
  return notified;
}

bool BlockingCounter::DecrementCount() {
  static const auto real = Real<BlockingCounter, bool (*)(BlockingCounter*)>("14DecrementCountEv");
  __tsan_release(this);
  return real(this);
}

void BlockingCounter::Wait() {
  static const auto real = Real<BlockingCounter, void (*)(BlockingCounter*)>("4WaitEv");
  real(this);
  __tsan_acquire(this);
}

ABSL_NAMESPACE_END
}  // namespace absl
