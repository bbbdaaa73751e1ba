// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/token_reply.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "agent/providers/oauth/lifetime.h"
#include "agent/providers/oauth/oauth_errors.h"
#include "agent/providers/oauth/reply_body.h"

namespace keyturn::providers {
namespace {

using nlohmann::json;

constexpr size_t kScopesMax = 256;
constexpr size_t kScopeBytesMax = 512;
// RFC 8628 section 3.5: what slow_down adds to the interval.
constexpr absl::Duration kSlowDown = absl::Seconds(5);

// Where the parts of a granted reply are: JSON Pointers, the first that leads to something counts.
struct Places {
  std::vector<std::string> access_token;
  std::vector<std::string> refresh_token;
  std::vector<std::string> expires_in;
  std::vector<std::string> refresh_expires_in;
};

// Where a login brings the tokens of several parties, a refresh brings those of the one that was
// asked for, and services put them in the usual place then, or some of them: each part is looked
// for in both. A new refresh token that is missed costs the grant.
Places PlacesOf(const v1::OAuthQuirks& quirks, Grant grant) {
  const auto one = [grant](const std::string& quirk, std::vector<std::string> standard) {
    if (quirk.empty()) return standard;
    if (grant != Grant::kRefreshToken) return std::vector<std::string>{quirk};
    standard.insert(standard.begin(), quirk);
    return standard;
  };
  return {one(quirks.access_token(), {"/access_token"}),
          one(quirks.refresh_token(), {"/refresh_token"}),
          one(quirks.expires_in(), {"/expires_in"}),
          // No standard has it: Keycloak and others say the first, GitHub the second.
          one(quirks.refresh_expires_in(), {"/refresh_expires_in", "/refresh_token_expires_in"})};
}

const json* Find(const ReplyBody& body, const std::vector<std::string>& places) {
  for (const std::string& place : places) {
    const json* found = body.At(place);
    if (found == nullptr) continue;
    if (!found->is_string() || !found->get_ref<const std::string&>().empty()) return found;
  }
  return nullptr;
}

// True unless there is something there that is no token. Absent and empty leave `token` empty.
bool ReadToken(const json* stated, base::Secret& token) {
  if (stated == nullptr) return true;
  if (!stated->is_string()) return false;
  const auto& text = stated->get_ref<const std::string&>();
  if (text.empty()) return true;
  if (!IsTokenText(text)) return false;
  token = base::Secret(text);
  return true;
}

bool IsScope(absl::string_view text) { return IsTokenText(text) && text.size() <= kScopeBytesMax; }

std::vector<std::string> ReadScopes(const ReplyBody& body, const v1::OAuthQuirks& quirks) {
  std::vector<std::string> scopes;
  const auto take = [&scopes](absl::string_view scope) {
    if (IsScope(scope) && scopes.size() < kScopesMax) scopes.emplace_back(scope);
  };
  const json* stated = body.At("/scope");
  if (stated == nullptr) stated = body.At("/scopes");
  if (stated != nullptr && stated->is_array()) {
    for (const json& scope : *stated) {
      if (scope.is_string()) take(scope.get_ref<const std::string&>());
    }
  } else if (stated != nullptr && stated->is_string()) {
    const absl::string_view text = stated->get_ref<const std::string&>();
    const std::string separators = absl::StrCat(" ", quirks.scope_separator());
    for (absl::string_view scope : absl::StrSplit(text, absl::ByAnyChar(separators))) take(scope);
  }
  return scopes;
}

// Types that are known to be presented otherwise than as a header with the token: RFC 6749 section
// 7.1 forbids to use what one does not know how to. N_A: it is no access token (RFC 8693).
constexpr absl::string_view kOtherTypes[] = {"mac", "pop", "N_A"};

// Which of the two schemes the token is presented with; nothing for those that know neither.
// Services invent words for bearer tokens (Slack: "bot", Apigee: "BearerToken").
std::optional<std::string> ReadTokenType(const ReplyBody& body) {
  const std::string stated = body.Text("token_type");
  if (stated.empty()) return "";
  for (const absl::string_view type : kOtherTypes) {
    if (absl::EqualsIgnoreCase(stated, type)) return std::nullopt;
  }
  return absl::EqualsIgnoreCase(stated, "DPoP") ? "DPoP" : "Bearer";
}

void Unreadable(TokenReply& reply) {
  reply.outcome = TokenOutcome::kUnknown;
  reply.cause = "unreadable_reply";
  reply.access_token.Clear();
  reply.refresh_token.Clear();
}

// A 2xx that cannot be read ends as kUnknown: the server may well have rotated the refresh token.
void ReadGranted(const ReplyBody& body, const Places& places, const TokenQuestion& question,
                 absl::Time servers_time, TokenReply& reply) {
  if (!ReadToken(Find(body, places.access_token), reply.access_token) ||
      !ReadToken(Find(body, places.refresh_token), reply.refresh_token) ||
      reply.access_token.empty()) {
    Unreadable(reply);
    return;
  }
  std::optional<std::string> type = ReadTokenType(body);
  if (!type.has_value()) {
    // Of no use, and yet the server gave it: the refresh token may be spent.
    reply.outcome = question.grant == Grant::kRefreshToken ? TokenOutcome::kUnknown
                                                           : TokenOutcome::kClientRefused;
    reply.cause = "unsupported_token_type";
    reply.access_token.Clear();
    reply.refresh_token.Clear();
    return;
  }
  reply.outcome = TokenOutcome::kGranted;
  reply.cause.clear();
  reply.token_type = *std::move(type);
  const auto unit = question.quirks.lifetime_unit();
  if (unit == v1::OAuthQuirks::JWT_EXP) {
    reply.expires_in = JwtLifetime(reply.access_token.Reveal(), servers_time);
  } else if (const json* stated = Find(body, places.expires_in);
             stated != nullptr && unit != v1::OAuthQuirks::FIXED) {
    // In the usual place there may be the usual seconds.
    const bool elsewhere =
        !question.quirks.expires_in().empty() && stated != body.At(question.quirks.expires_in());
    reply.expires_in = elsewhere ? ReadUnlessSeconds(*stated, unit, servers_time)
                                 : ReadLifetime(*stated, unit, servers_time);
  }
  if (const json* stated = Find(body, places.refresh_expires_in)) {
    reply.refresh_expires_in = ReadRefreshLifetime(*stated, unit, servers_time);
    // Keycloak, of offline tokens: they do not expire.
    if (reply.refresh_expires_in == absl::ZeroDuration()) {
      reply.refresh_expires_in = absl::InfiniteDuration();
    }
  }
  reply.scopes = ReadScopes(body, question.quirks);
}

void Refuse(const OAuthError& error, Grant grant, TokenReply& reply) {
  reply.outcome = error.outcome;
  if (grant == Grant::kRefreshToken && error.outcome == TokenOutcome::kDenied) {
    // Nobody was asked just now: the person has to come back. With 401 it is the client that is not
    // let in.
    reply.outcome =
        reply.http_status == 401 ? TokenOutcome::kClientRefused : TokenOutcome::kInvalidGrant;
  }
  reply.cause = error.outcome == TokenOutcome::kAmbiguous ? absl::StrCat("http_", reply.http_status)
                                                          : error.code;
  if (reply.cause == "slow_down") reply.retry_after = std::max(reply.retry_after, kSlowDown);
}

// Any status but 2xx.
void ReadError(const ReplyBody& body, const Places& places, const OAuthError& error, Grant grant,
               TokenReply& reply) {
  const int status = reply.http_status;
  const absl::string_view code = error.code;
  // The server may have done its work before it failed to say so. 303 is how one answers a POST
  // that was done, 408 what gateways say when the server behind them is late.
  const bool perhaps_done = (status >= 500 || status < 300 || status == 303 || status == 408) &&
                            !(status == 503 && code == "temporarily_unavailable");
  // An odd status, and yet a token: something did happen.
  const bool token_all_the_same = code.empty() && Find(body, places.access_token) != nullptr;
  reply.cause = absl::StrCat("http_", status);
  // To be polled more slowly from now on (RFC 8628 section 3.5), which some say with this status.
  if (status == 429 && error.outcome != TokenOutcome::kPending) {
    reply.outcome = TokenOutcome::kTransient;
  } else if (perhaps_done || token_all_the_same) {
    reply.outcome = TokenOutcome::kUnknown;
  } else if (!code.empty()) {
    Refuse(error, grant, reply);
  } else {
    reply.outcome = TokenOutcome::kAmbiguous;
  }
}

}  // namespace

TokenReply ReadTokenReply(const net::HttpResult& result, const TokenQuestion& question) {
  TokenReply reply;
  reply.sent_at = result.sent_at;
  reply.cause = result.cause;
  if (result.delivery == net::Delivery::kNotSent) {
    reply.outcome = TokenOutcome::kTransient;
    return reply;
  }
  if (result.delivery == net::Delivery::kUnknown) return reply;
  reply.http_status = result.reply.status;
  const ReplyBody body(result.reply);
  const absl::Time servers_time = ServersTime(result.reply, question.now);
  reply.retry_after = RetryAfterOf(result.reply, body, servers_time);
  const bool polling = question.grant == Grant::kDeviceCode;
  if (const auto said = QuirkError(body, question.quirks, polling)) {
    Refuse(*said, question.grant, reply);
    return reply;
  }
  const OAuthError error = ErrorOf(body.Text("error"), polling);
  const Places places = PlacesOf(question.quirks, question.grant);
  if (reply.http_status < 200 || reply.http_status >= 300) {
    ReadError(body, places, error, question.grant, reply);
  } else if (*error.code != '\0' && Find(body, places.access_token) == nullptr) {
    Refuse(error, question.grant, reply);
  } else {
    ReadGranted(body, places, question, servers_time, reply);
  }
  return reply;
}

}  // namespace keyturn::providers
