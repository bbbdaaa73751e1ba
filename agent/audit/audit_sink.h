// SPDX-License-Identifier: Apache-2.0
// AuditSink: an account of who did what. Never holds a secret. Thread-safe, does not block on I/O
// longer than a log line does.
#pragma once

#include <cstdint>
#include <string>

namespace keyturn::audit {

struct Event {
  std::string principal;  // authn::Principal::ToString, or `agent`
  std::string method;     // Get, Watch, Apply, Rotate, ...
  std::string name;       // the resource, may be empty
  uint64_t version = 0;
  bool allowed = true;
  std::string rule;    // the policy that allowed it, or what is missing
  std::string result;  // OK, PERMISSION_DENIED, ...
};

class AuditSink {
 public:
  virtual ~AuditSink() = default;
  virtual void Record(const Event& event) = 0;
};

}  // namespace keyturn::audit
