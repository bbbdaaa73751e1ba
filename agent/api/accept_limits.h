// SPDX-License-Identifier: Apache-2.0
// How many connections there may be, in all and of one uid, and how fast one uid may make them.
// Asked before anything is built for a connection, so that one caller cannot use up what the others
// need. Thread-safe.
#pragma once

#include <sys/types.h>

#include <cstddef>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "agent/api/limits.h"
#include "agent/base/clock.h"

namespace keyturn::api {

class AcceptLimits {
 public:
  enum class Verdict { kAdmitted, kTooMany, kTooManyOfUid, kTooFast };
  static const char* Words(Verdict verdict);

  explicit AcceptLimits(const ConnectionLimits& limits) : limits_(limits) {}

  // Takes effect for what comes; nothing that is open is closed.
  void Set(const ConnectionLimits& limits);
  // Counts the connection when it is admitted; Release must follow then.
  Verdict Admit(uid_t uid, base::BootTime now);
  void Release(uid_t uid);
  size_t open() const;

 private:
  struct Caller {
    size_t open = 0;
    double tokens = 0;
    base::BootTime filled;
  };
  void Fill(Caller& caller, base::BootTime now) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ForgetIdle(base::BootTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  ConnectionLimits limits_ ABSL_GUARDED_BY(mu_);
  size_t open_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<uid_t, Caller> callers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::api
