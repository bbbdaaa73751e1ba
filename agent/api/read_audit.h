// SPDX-License-Identifier: Apache-2.0
// Audit of the reads of one connection. Every denial and every failed read is recorded; a value
// that this connection was given before is not recorded again, so that a service that asks a
// thousand times a second does not pay for a thousand equal records. Thread-safe, takes no lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "agent/api/connection_policy.h"
#include "agent/audit/audit_sink.h"
#include "agent/authz/policy.h"

namespace keyturn::api {

class ReadAudit {
 public:
  ReadAudit(audit::AuditSink& sink, const ConnectionPolicy& policy)
      : sink_(sink), policy_(policy) {}

  void Given(const char* method, absl::string_view name, uint64_t version,
             const authz::Decision& decision);
  void Heard(const char* method, absl::string_view name, uint64_t version,
             const authz::Decision& decision);
  void Failed(const char* method, absl::string_view name, const absl::Status& status,
              const authz::Decision& decision);
  void Denied(const char* method, absl::string_view name);

 private:
  bool IsRepeated(absl::string_view name, uint64_t version);
  void Record(const char* method, absl::string_view name, uint64_t version, bool allowed,
              const std::string& rule, const absl::Status& status);

  audit::AuditSink& sink_;
  const ConnectionPolicy& policy_;
  // A small direct-mapped memory of what was given, by hash; forgetting costs a repeated record.
  std::array<std::atomic<uint64_t>, 64> given_{};
};

}  // namespace keyturn::api
