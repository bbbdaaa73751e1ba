// SPDX-License-Identifier: Apache-2.0
#include "agent/audit/log_audit_sink.h"

#include "absl/strings/str_cat.h"

namespace keyturn::audit {
namespace {
constexpr size_t kSeenMax = 100'000;
}  // namespace

void LogAuditSink::Record(const Event& event) {
  const bool read = event.method == "Get" || event.method == "BatchGet" || event.method == "Watch";
  if (read && event.allowed) {
    const std::string key =
        absl::StrCat(event.principal, "\x1f", event.name, "\x1f", event.version);
    absl::MutexLock lock(&mu_);
    if (seen_reads_.size() >= kSeenMax) seen_reads_.clear();
    if (!seen_reads_.insert(key).second) return;
  }
  log_.Write(event.allowed ? observe::Level::kInfo : observe::Level::kWarning, "audit",
             {{"principal", event.principal},
              {"method", event.method},
              {"name", event.name},
              {"version", event.version},
              {"allowed", event.allowed},
              {"rule", event.rule},
              {"result", event.result}});
}

}  // namespace keyturn::audit
