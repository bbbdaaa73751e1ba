// SPDX-License-Identifier: Apache-2.0
//
// Parsing and choosing of faults. Parsing is strict, since a fault that silently does not happen
// makes a test pass that should not. Not thread-safe.
#include "tests/sandbox/faults.h"

#include <array>
#include <utility>

#include <absl/strings/match.h>
#include <absl/strings/str_cat.h>

#include <nlohmann/json.hpp>

#include "tests/sandbox/strict_object.h"

namespace keyturn::sandbox {
namespace {

using nlohmann::json;

constexpr size_t kMaxRules = 256;
constexpr int64_t kMaxDelayMs = 600'000;

struct KindName {
  FaultKind kind;
  absl::string_view name;
};

constexpr std::array<KindName, 8> kKindNames = {{
    {FaultKind::kLoseReply, "lose_reply"},
    {FaultKind::kResetBefore, "reset_before"},
    {FaultKind::kLateEffect, "late_effect"},
    {FaultKind::kDuplicate, "duplicate"},
    {FaultKind::kStatus, "status"},
    {FaultKind::kHtmlPage, "html_page"},
    {FaultKind::kEndlessBody, "endless_body"},
    {FaultKind::kSlowLoris, "slow_loris"},
}};

std::optional<FaultKind> KindOf(absl::string_view name) {
  for (const KindName& entry : kKindNames) {
    if (entry.name == name) return entry.kind;
  }
  return std::nullopt;
}

absl::StatusOr<FaultRule> ParseRule(const json& document, const std::string& path) {
  StrictObject fields(document, path);
  FaultRule rule;
  if (const json* match_document = fields.Take("match"); match_document != nullptr) {
    StrictObject match(*match_document, fields.PathOf("match"));
    match.Read("method", &rule.method);
    match.Read("path_prefix", &rule.path_prefix);
    if (absl::Status status = match.Finish(); !status.ok()) return status;
  }

  std::string kind_name;
  fields.Require("fault");
  fields.Read("fault", &kind_name);
  const std::optional<FaultKind> kind = KindOf(kind_name);
  if (!kind.has_value()) fields.Fail("fault", "is not the name of a fault");
  rule.fault.kind = kind.value_or(FaultKind::kStatus);

  int64_t status = 0;
  fields.Read("status", 200, 599, &status);
  if (status == 0 && rule.fault.kind == FaultKind::kStatus) fields.Require("status");
  if (status == 0) status = 200;
  rule.fault.status = static_cast<int>(status);

  int64_t retry_after_s = -1;
  fields.Read("retry_after", 0, 86'400, &retry_after_s);
  if (retry_after_s >= 0) rule.fault.retry_after = absl::Seconds(retry_after_s);

  int64_t delay_ms = 100;
  fields.Read("delay_ms", 0, kMaxDelayMs, &delay_ms);
  rule.fault.delay = absl::Milliseconds(delay_ms);

  fields.Read("effect", &rule.fault.effect);
  fields.Read("count", -1, 1'000'000, &rule.hits_left);
  if (absl::Status parsed = fields.Finish(); !parsed.ok()) return parsed;
  return rule;
}

}  // namespace

absl::string_view NameOf(FaultKind kind) {
  for (const KindName& entry : kKindNames) {
    if (entry.kind == kind) return entry.name;
  }
  return "unknown";
}

absl::StatusOr<std::vector<FaultRule>> ParseFaultRules(const json& document) {
  if (!document.is_array()) return absl::InvalidArgumentError("faults must be a list of rules");
  if (document.size() > kMaxRules) return absl::InvalidArgumentError("too many faults");
  std::vector<FaultRule> rules;
  for (const json& item : document) {
    absl::StatusOr<FaultRule> rule = ParseRule(item, absl::StrCat("faults[", rules.size(), "]"));
    if (!rule.ok()) return rule.status();
    rules.push_back(*std::move(rule));
  }
  return rules;
}

void FaultTable::Replace(std::vector<FaultRule> rules) { rules_ = std::move(rules); }

std::optional<Fault> FaultTable::Take(absl::string_view method, absl::string_view path) {
  for (FaultRule& rule : rules_) {
    if (rule.hits_left == 0) continue;
    if (!rule.method.empty() && rule.method != method) continue;
    if (!absl::StartsWith(path, rule.path_prefix)) continue;
    if (rule.hits_left > 0) --rule.hits_left;
    return rule.fault;
  }
  return std::nullopt;
}

json FaultTable::Snapshot() const {
  json rules = json::array();
  for (const FaultRule& rule : rules_) {
    rules.push_back({{"method", rule.method},
                     {"path_prefix", rule.path_prefix},
                     {"fault", std::string(NameOf(rule.fault.kind))},
                     {"hits_left", rule.hits_left}});
  }
  return rules;
}

Reply StatusReply(const Fault& fault) {
  json body;
  if (fault.status == 429) {
    body["error"] = "rate_limit_exceeded";
  } else {
    body["error"] = fault.status >= 500 ? "server_error" : "sandbox_fault";
  }
  body["status"] = fault.status;
  Reply reply = JsonReply(fault.status, body);
  if (fault.retry_after.has_value()) {
    reply.headers.emplace_back("Retry-After",
                               absl::StrCat(absl::ToInt64Seconds(*fault.retry_after)));
  }
  return reply;
}

Reply HtmlReply(const Fault& fault) {
  Reply reply = {.status = fault.status,
                 .content_type = "text/html; charset=utf-8",
                 .headers = {},
                 .body =
                     "<!DOCTYPE html>\n<html><head><title>Just a moment</title></head>"
                     "<body><h1>Checking your browser</h1></body></html>\n"};
  if (fault.retry_after.has_value()) {
    reply.headers.emplace_back("Retry-After",
                               absl::StrCat(absl::ToInt64Seconds(*fault.retry_after)));
  }
  return reply;
}

}  // namespace keyturn::sandbox
