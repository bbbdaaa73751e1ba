// SPDX-License-Identifier: Apache-2.0
#include "agent/api/read_audit.h"

#include <string>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/str_cat.h"

namespace keyturn::api {

bool ReadAudit::IsRepeated(absl::string_view name, uint64_t version) {
  // The hash is seeded per process; 64 equal bits of two different reads do not happen.
  const uint64_t hash = absl::Hash<std::pair<absl::string_view, uint64_t>>{}({name, version}) | 1;
  std::atomic<uint64_t>& slot = given_[(hash >> 1) % given_.size()];
  if (slot.load(std::memory_order_relaxed) == hash) return true;
  slot.store(hash, std::memory_order_relaxed);
  return false;
}

void ReadAudit::Given(const char* method, absl::string_view name, uint64_t version,
                      const authz::Decision& decision) {
  if (!IsRepeated(name, version)) {
    Record(method, name, version, true, decision.rule, absl::OkStatus());
  }
}

void ReadAudit::Heard(const char* method, absl::string_view name, uint64_t version,
                      const authz::Decision& decision) {
  Record(method, name, version, true, decision.rule, absl::OkStatus());
}

void ReadAudit::Failed(const char* method, absl::string_view name, const absl::Status& status,
                       const authz::Decision& decision) {
  Record(method, name, 0, true, decision.rule, status);
}

void ReadAudit::Denied(const char* method, absl::string_view name) {
  Record(method, name, 0, false, absl::StrCat("no policy allows read on ", name),
         absl::PermissionDeniedError(""));
}

void ReadAudit::Record(const char* method, absl::string_view name, uint64_t version, bool allowed,
                       const std::string& rule, const absl::Status& status) {
  audit::Event event;
  event.principal = policy_.principal_text();
  event.method = method;
  event.name = std::string(name);
  event.version = version;
  event.allowed = allowed;
  event.rule = rule;
  event.result = absl::StatusCodeToString(status.code());
  sink_.Record(event);
}

}  // namespace keyturn::api
