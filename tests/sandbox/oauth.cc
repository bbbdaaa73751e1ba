// SPDX-License-Identifier: Apache-2.0
//
// The rules of the token endpoint. What it remembers is bounded: expired access tokens are
// dropped, a grant recalls a fixed number of spent refresh tokens, and grants themselves are
// limited between resets. Not thread-safe.
#include "tests/sandbox/oauth.h"

#include <algorithm>
#include <utility>

#include <absl/status/status.h>
#include <absl/strings/str_split.h>

#include <nlohmann/json.hpp>

namespace keyturn::sandbox {
namespace {

using nlohmann::json;

constexpr size_t kMaxGrants = 4096;
// A refresh token older than this many rotations is simply unknown, and reusing it burns nothing.
constexpr size_t kMaxSpentPerGrant = 1024;
constexpr size_t kMaxAccessTokens = 100'000;

json TokenBody(const std::string& access_token, absl::Duration left, const std::string& scope) {
  json body = {{"access_token", access_token},
               {"token_type", "Bearer"},
               {"expires_in", std::max<int64_t>(0, absl::ToInt64Seconds(left))}};
  if (!scope.empty()) body["scope"] = scope;
  return body;
}

// Whether every scope asked for is among the allowed ones; an empty `allowed` allows all.
bool ScopesWithin(const std::string& asked, const std::vector<std::string>& allowed) {
  if (allowed.empty()) return true;
  for (const std::string& scope :
       std::vector<std::string>(absl::StrSplit(asked, ' ', absl::SkipEmpty()))) {
    if (std::find(allowed.begin(), allowed.end(), scope) == allowed.end()) return false;
  }
  return true;
}

}  // namespace

OauthServer::OauthServer(OauthOptions options, TokenSource* tokens)
    : options_(std::move(options)), tokens_(tokens) {}

Reply OauthServer::Refuse(OauthError error) {
  ++errors_by_code_[error.code];
  return ToReply(error);
}

const OauthClient* OauthServer::FindClient(absl::string_view id) const {
  for (const OauthClient& client : options_.clients) {
    if (client.id == id) return &client;
  }
  return nullptr;
}

Reply OauthServer::Token(const Request& request, absl::Time now) {
  std::variant<TokenRequest, OauthError> parsed = ParseTokenRequest(request);
  if (auto* error = std::get_if<OauthError>(&parsed)) {
    ++requests_by_grant_type_["unreadable"];
    return Refuse(*std::move(error));
  }
  const TokenRequest& token_request = std::get<TokenRequest>(parsed);
  const bool credentials = token_request.grant_type == "client_credentials";
  const bool refresh = token_request.grant_type == "refresh_token";
  ++requests_by_grant_type_[credentials || refresh ? token_request.grant_type : "other"];

  const OauthClient* client = FindClient(token_request.client_id);
  if (client == nullptr || client->secret != token_request.client_secret) {
    return Refuse(
        {401, "invalid_client", "unknown client or wrong secret", token_request.used_basic});
  }
  if (!credentials && !refresh) {
    return Refuse(
        {400, "unsupported_grant_type", "only client_credentials and refresh_token", false});
  }
  if (!ScopesWithin(token_request.scope, client->scopes)) {
    return Refuse({400, "invalid_scope", "the client may not ask for this scope", false});
  }
  ForgetExpired(now);
  if (access_tokens_.size() >= kMaxAccessTokens) {
    return Refuse({503, "temporarily_unavailable", "too many live access tokens", false});
  }
  return credentials ? ClientCredentials(token_request, now) : Refresh(token_request, now);
}

Reply OauthServer::ClientCredentials(const TokenRequest& request, absl::Time now) {
  // No refresh token here: RFC 6749 section 4.4.3.
  return TokenEndpointReply(
      200, TokenBody(IssueAccessToken(kNoGrant, now), options_.access_token_ttl, request.scope));
}

bool OauthServer::InLeeway(const Grant& grant, absl::string_view token, absl::Time now) const {
  return !grant.previous.empty() && token == grant.previous &&
         now < grant.rotated + options_.reuse_leeway;
}

Reply OauthServer::Refresh(const TokenRequest& request, absl::Time now) {
  if (request.refresh_token.empty()) {
    return Refuse({400, "invalid_request", "refresh_token is missing", false});
  }
  const auto entry = refresh_tokens_.find(request.refresh_token);
  if (entry == refresh_tokens_.end()) {
    return Refuse({400, "invalid_grant", "unknown refresh token", false});
  }
  const GrantId id = entry->second;
  Grant& grant = grants_.at(id);
  // Another client's attempt must not be able to burn the grant.
  if (grant.client_id != request.client_id) {
    return Refuse({400, "invalid_grant", "the refresh token is another client's", false});
  }
  if (grant.burned) return Refuse({400, "invalid_grant", "the grant is revoked", false});
  if (!InLeeway(grant, request.refresh_token, now)) {
    if (request.refresh_token != grant.current) {
      Burn(id, &grant);
      return Refuse({400, "invalid_grant", "the refresh token was used before", false});
    }
    if (!ScopesWithin(request.scope, absl::StrSplit(grant.scope, ' ', absl::SkipEmpty()))) {
      return Refuse({400, "invalid_scope", "more than what was granted", false});
    }
    Rotate(id, &grant, now);
  }
  json body = TokenBody(grant.last_access_token, grant.last_access_expires - now, grant.scope);
  if (options_.rotate_refresh_tokens) body["refresh_token"] = grant.current;
  return TokenEndpointReply(200, body);
}

void OauthServer::Burn(GrantId id, Grant* grant) {
  grant->burned = true;
  for (auto token = access_tokens_.begin(); token != access_tokens_.end();) {
    token = token->second.grant == id ? access_tokens_.erase(token) : std::next(token);
  }
}

void OauthServer::Rotate(GrantId id, Grant* grant, absl::Time now) {
  grant->last_access_token = IssueAccessToken(id, now);
  grant->last_access_expires = now + options_.access_token_ttl;
  if (!options_.rotate_refresh_tokens) return;
  grant->rotated = now;
  grant->previous = std::exchange(grant->current, tokens_->RefreshToken());
  refresh_tokens_[grant->current] = id;
  grant->spent.push_back(grant->previous);
  if (grant->spent.size() > kMaxSpentPerGrant) {
    refresh_tokens_.erase(grant->spent.front());
    grant->spent.pop_front();
  }
}

std::string OauthServer::IssueAccessToken(GrantId grant, absl::Time now) {
  std::string token = tokens_->AccessToken();
  const absl::Time expires = now + options_.access_token_ttl;
  access_tokens_[token] = {grant, expires};
  expiries_.emplace_back(expires, token);
  ++access_tokens_issued_;
  return token;
}

void OauthServer::ForgetExpired(absl::Time now) {
  while (!expiries_.empty() && expiries_.front().first <= now) {
    access_tokens_.erase(expiries_.front().second);
    expiries_.pop_front();
  }
}

Reply OauthServer::Resource(const Request& request, absl::Time now) const {
  const std::optional<std::string> token = AuthorizationOf(request, "Bearer");
  if (token.has_value() && AcceptsAccessToken(*token, now)) return JsonReply(200, {{"ok", true}});
  // RFC 6750 section 3.1: no error code towards a client that showed no token at all.
  Reply reply = JsonReply(401, {{"error", token.has_value() ? "invalid_token" : "unauthorized"}});
  reply.headers.emplace_back("WWW-Authenticate",
                             token.has_value() ? "Bearer realm=\"sandbox\", error=\"invalid_token\""
                                               : "Bearer realm=\"sandbox\"");
  return reply;
}

absl::StatusOr<std::string> OauthServer::SeedGrant(absl::string_view client_id, std::string scope) {
  const OauthClient* client = FindClient(client_id);
  if (client == nullptr) return absl::NotFoundError("no such client");
  if (!ScopesWithin(scope, client->scopes)) {
    return absl::InvalidArgumentError("the client may not have this scope");
  }
  if (grants_.size() >= kMaxGrants) return absl::ResourceExhaustedError("too many grants");
  const GrantId id = next_grant_++;
  Grant& grant = grants_[id];
  grant.client_id = client->id;
  grant.scope = std::move(scope);
  grant.current = tokens_->RefreshToken();
  refresh_tokens_[grant.current] = id;
  return grant.current;
}

bool OauthServer::AcceptsAccessToken(absl::string_view token, absl::Time now) const {
  const auto entry = access_tokens_.find(token);
  return entry != access_tokens_.end() && now < entry->second.expires;
}

bool OauthServer::AcceptsRefreshToken(absl::string_view token, absl::Time now) const {
  const auto entry = refresh_tokens_.find(token);
  if (entry == refresh_tokens_.end()) return false;
  const Grant& grant = grants_.at(entry->second);
  return !grant.burned && (token == grant.current || InLeeway(grant, token, now));
}

json OauthServer::Snapshot(absl::Time now) const {
  const auto burned = std::count_if(grants_.begin(), grants_.end(),
                                    [](const auto& entry) { return entry.second.burned; });
  const auto active = std::count_if(access_tokens_.begin(), access_tokens_.end(),
                                    [now](const auto& e) { return now < e.second.expires; });
  return {{"token_requests", json(requests_by_grant_type_)},
          {"token_errors", json(errors_by_code_)},
          {"grants", {{"issued", grants_.size()}, {"burned", burned}}},
          {"access_tokens", {{"issued", access_tokens_issued_}, {"active", active}}}};
}

void OauthServer::Reset() {
  grants_.clear();
  refresh_tokens_.clear();
  access_tokens_.clear();
  expiries_.clear();
  requests_by_grant_type_.clear();
  errors_by_code_.clear();
  access_tokens_issued_ = 0;
}

}  // namespace keyturn::sandbox
