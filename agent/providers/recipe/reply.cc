// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/recipe/reply.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "agent/base/secret.h"
#include "agent/providers/json_tree.h"
#include "agent/providers/recipe/extract.h"

namespace keyturn::providers {
namespace {

namespace pb = internal::v1;
using nlohmann::json;

constexpr absl::Duration kRetryAfterMax = absl::Hours(1);

bool StatusMatches(const pb::Rule& rule, int status) {
  if (rule.status().empty()) return true;
  const std::string text = absl::StrCat(status);
  return std::any_of(rule.status().begin(), rule.status().end(), [&](const std::string& wanted) {
    return wanted == text || (absl::EndsWith(wanted, "xx") && wanted[0] == text[0]);
  });
}

Outcome ToOutcome(pb::Outcome outcome) {
  switch (outcome) {
    case pb::OK:
      return Outcome::kOk;
    case pb::REJECTED:
      return Outcome::kRejected;
    case pb::LIMITED:
      return Outcome::kLimited;
    case pb::TRANSIENT:
      return Outcome::kTransient;
    default:
      return Outcome::kUnknown;
  }
}

// Whether a request without an answer may have changed something.
bool Changes(const RecipeRequest& request) {
  if (request.is_step && request.method == "GET") return false;
  return request.call == RecipeCall::kCreate || request.call == RecipeCall::kRevoke;
}

Outcome WithoutRule(const RecipeRequest& request, int status) {
  if (status == 429) return Outcome::kTransient;
  if (request.call == RecipeCall::kRevoke && (status == 404 || status == 410)) return Outcome::kOk;
  return Changes(request) ? Outcome::kUnknown : Outcome::kTransient;
}

}  // namespace

CallResult SortReply(const RecipeRequest& request, const net::HttpResult& result, absl::Time now) {
  CallResult call;
  call.cause = result.cause;
  if (result.delivery == net::Delivery::kNotSent) {
    call.outcome = Outcome::kTransient;
    return call;
  }
  if (result.delivery == net::Delivery::kUnknown) {
    call.outcome = Changes(request) ? Outcome::kUnknown : Outcome::kTransient;
    return call;
  }
  const net::HttpReply& reply = result.reply;
  call.http_status = reply.status;
  call.outcome = WithoutRule(request, reply.status);
  const std::unique_ptr<json> tree = ParseReply(request, reply);
  const absl::Cleanup wipe = [&] {
    if (tree != nullptr) WipeJson(*tree);
  };
  for (const pb::Rule& rule : request.spec.outcomes()) {
    if (!StatusMatches(rule, reply.status)) continue;
    if (!std::all_of(rule.match().begin(), rule.match().end(), [&](const pb::Match& match) {
          return MatchHolds(match, reply.body.Reveal(), tree.get());
        })) {
      continue;
    }
    call.outcome = ToOutcome(rule.is());
    break;
  }
  if (call.outcome != Outcome::kOk) {
    call.cause = absl::StrCat("http_", reply.status);
    call.retry_after = ParseRetryAfter(reply.Header("retry-after"), now);
  }
  return call;
}

absl::Duration ParseRetryAfter(absl::string_view text, absl::Time now) {
  int64_t seconds = 0;
  absl::Duration wait;
  absl::Time date;
  if (absl::SimpleAtoi(text, &seconds)) {
    wait = absl::Seconds(seconds);
  } else if (absl::ParseTime("%a, %d %b %Y %H:%M:%S GMT", text, &date, nullptr)) {
    wait = date - now;
  }
  return std::clamp(wait, absl::ZeroDuration(), kRetryAfterMax);
}

}  // namespace keyturn::providers
