// SPDX-License-Identifier: Apache-2.0
// Audit events as log lines (`"event":"audit"`). Denials and changes are always written; allowed
// reads of one (principal, name, version) once, since a service may read a thousand times a second.
#pragma once

#include <cstddef>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "agent/audit/audit_sink.h"
#include "agent/observe/log.h"

namespace keyturn::audit {

class LogAuditSink final : public AuditSink {
 public:
  explicit LogAuditSink(observe::Log& log) : log_(log) {}
  void Record(const Event& event) override;

 private:
  observe::Log& log_;
  absl::Mutex mu_;
  // Bounded: emptied when full, which costs repeated lines and nothing else.
  absl::flat_hash_set<std::string> seen_reads_ ABSL_GUARDED_BY(mu_);
};

}  // namespace keyturn::audit
