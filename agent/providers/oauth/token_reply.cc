// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/token_reply.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "agent/providers/json_tree.h"

namespace keyturn::providers {
namespace {

using nlohmann::json;

constexpr size_t kTokenMax = 64 * 1024;
// Longer lifetimes are no use to anyone and would overflow somewhere.
constexpr absl::Duration kLifetimeMax = absl::Hours(24 * 366);

// RFC 6749 appendix A.12 and A.17: tokens are VSCHAR; none in use holds a space, and one that did
// could not be told from two in a header.
bool IsToken(absl::string_view text) {
  return !text.empty() && text.size() <= kTokenMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

absl::Duration Lifetime(const json& body, const char* name) {
  const auto found = body.find(name);
  if (found == body.end()) return absl::InfiniteDuration();
  double seconds = 0;
  if (found->is_number()) {
    seconds = found->get<double>();
  } else if (!found->is_string() ||
             !absl::SimpleAtod(found->get_ref<const std::string&>(), &seconds)) {
    return absl::InfiniteDuration();
  }
  // Zero, negative and NaN say nothing that could be relied on.
  if (!(seconds > 0)) return absl::InfiniteDuration();
  return std::min(absl::Seconds(std::min(seconds, 1e9)), kLifetimeMax);
}

std::string Text(const json& body, const char* name) {
  const auto found = body.find(name);
  return found != body.end() && found->is_string() ? found->get<std::string>() : std::string();
}

TokenOutcome OutcomeOfError(absl::string_view error) {
  if (error == "invalid_grant") return TokenOutcome::kInvalidGrant;
  for (absl::string_view code : {"invalid_client", "unauthorized_client", "invalid_scope",
                                 "unsupported_grant_type", "invalid_request"}) {
    if (error == code) return TokenOutcome::kClientRefused;
  }
  for (absl::string_view code :
       {"temporarily_unavailable", "slow_down", "rate_limit_exceeded", "server_error"}) {
    if (error == code) return TokenOutcome::kTransient;
  }
  return TokenOutcome::kAmbiguous;
}

absl::Duration RetryAfter(const net::HttpReply& reply, const json& body) {
  int64_t seconds = 0;
  if (!absl::SimpleAtoi(reply.Header("retry-after"), &seconds)) {
    const auto found = body.is_object() ? body.find("retry_after") : body.end();
    if (body.is_object() && found != body.end() && found->is_number_integer()) {
      seconds = found->get<int64_t>();
    }
  }
  return absl::Seconds(std::clamp<int64_t>(seconds, 0, 3600));
}

void ReadGranted(const json& body, TokenReply& reply) {
  std::string token = Text(body, "access_token");
  std::string refresh = Text(body, "refresh_token");
  if (!IsToken(token) || (!refresh.empty() && !IsToken(refresh))) {
    // A 2xx that cannot be read: the server may well have rotated the refresh token.
    reply.outcome = TokenOutcome::kUnknown;
    reply.cause = "unreadable_reply";
    base::Wipe(token);
    base::Wipe(refresh);
    return;
  }
  reply.outcome = TokenOutcome::kGranted;
  reply.access_token = base::Secret::Take(token);
  reply.refresh_token = base::Secret::Take(refresh);
  reply.expires_in = Lifetime(body, "expires_in");
  reply.refresh_expires_in = Lifetime(body, "refresh_expires_in");
}

void ReadError(const json& body, TokenReply& reply) {
  const std::string error = body.is_object() ? Text(body, "error") : std::string();
  if (reply.http_status == 429) {
    reply.outcome = TokenOutcome::kTransient;
  } else if (reply.http_status >= 500) {
    // The server may have done its work before it failed to say so.
    reply.outcome = TokenOutcome::kUnknown;
  } else {
    reply.outcome = OutcomeOfError(error);
    // Only words that we know are repeated; the rest is the remote side's text.
    if (reply.outcome != TokenOutcome::kAmbiguous) {
      reply.cause = error;
      return;
    }
  }
  reply.cause = absl::StrCat("http_", reply.http_status);
}

}  // namespace

TokenReply ReadTokenReply(const net::HttpResult& result) {
  TokenReply reply;
  reply.sent_at = result.sent_at;
  reply.cause = result.cause;
  if (result.delivery == net::Delivery::kNotSent) {
    reply.outcome = TokenOutcome::kTransient;
    return reply;
  }
  if (result.delivery == net::Delivery::kUnknown) return reply;
  reply.http_status = result.reply.status;
  const std::unique_ptr<json> tree = ParseJson(result.reply.body.Reveal());
  json nothing;
  json& body = tree != nullptr ? *tree : nothing;
  reply.retry_after = RetryAfter(result.reply, body);
  if (reply.http_status >= 200 && reply.http_status < 300) {
    if (body.is_object()) {
      ReadGranted(body, reply);
    } else {
      reply.cause = "unreadable_reply";
    }
  } else {
    ReadError(body, reply);
  }
  WipeJson(body);
  return reply;
}

}  // namespace keyturn::providers
