// SPDX-License-Identifier: Apache-2.0
//
// Which requests the sandbox mistreats, and how. Rules are asked in order and the first that
// matches and has hits left is taken. This decides only; the server acts. Not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <absl/status/statusor.h>
#include <absl/strings/string_view.h>
#include <absl/time/time.h>

#include <nlohmann/json_fwd.hpp>

#include "tests/sandbox/request.h"

namespace keyturn::sandbox {

enum class FaultKind {
  kLoseReply,    // effect, then the connection closes without a reply
  kResetBefore,  // the connection closes, no effect
  kLateEffect,   // the connection closes, the effect follows after `delay`
  kDuplicate,    // the effect twice, the second reply
  kStatus,       // this status
  kHtmlPage,     // a page of HTML where JSON was expected
  kEndlessBody,  // a body that never ends
  kSlowLoris,    // effect, and the reply's body one byte per `delay`
};

struct Fault {
  FaultKind kind = FaultKind::kStatus;
  int status = 0;
  std::optional<absl::Duration> retry_after;
  absl::Duration delay;
  // For kStatus, kHtmlPage and kEndlessBody: perform the effect all the same.
  bool effect = false;
};

struct FaultRule {
  std::string method;  // empty matches every method
  std::string path_prefix;
  Fault fault;
  int64_t hits_left = 1;  // negative: for ever
};

// A JSON list of rules; the README tells the fields. INVALID_ARGUMENT names the first field that
// is wrong.
absl::StatusOr<std::vector<FaultRule>> ParseFaultRules(const nlohmann::json& document);

absl::string_view NameOf(FaultKind kind);

class FaultTable {
 public:
  void Replace(std::vector<FaultRule> rules);
  // Uses up one hit of the rule it returns.
  std::optional<Fault> Take(absl::string_view method, absl::string_view path);
  // The rules with the hits they have left.
  nlohmann::json Snapshot() const;

 private:
  std::vector<FaultRule> rules_;
};

// What the client is told by kStatus and by kHtmlPage.
Reply StatusReply(const Fault& fault);
Reply HtmlReply(const Fault& fault);

}  // namespace keyturn::sandbox
