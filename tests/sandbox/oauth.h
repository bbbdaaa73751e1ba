// SPDX-License-Identifier: Apache-2.0
//
// An OAuth 2.0 token endpoint (RFC 6749) with client_credentials and refresh_token, and one
// protected resource. Refresh tokens rotate; one used a second time burns its whole grant, access
// tokens included (RFC 9700 section 4.14.2), unless it comes within the leeway. Pure state: every
// entry point takes the present time. Not thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <absl/status/statusor.h>
#include <absl/strings/string_view.h>
#include <absl/time/time.h>

#include <nlohmann/json_fwd.hpp>

#include "tests/sandbox/request.h"
#include "tests/sandbox/token_request.h"
#include "tests/sandbox/tokens.h"

namespace keyturn::sandbox {

struct OauthClient {
  std::string id;
  std::string secret;
  // Empty allows any scope.
  std::vector<std::string> scopes;
};

struct OauthOptions {
  // At least a second, since expires_in is told in whole seconds.
  absl::Duration access_token_ttl = absl::Seconds(10);
  bool rotate_refresh_tokens = true;
  // For so long after a rotation the token just replaced is accepted again, and is answered with
  // the very pair that replaced it.
  absl::Duration reuse_leeway;
  std::vector<OauthClient> clients = {{"sandbox-client", "sandbox-secret", {}}};
};

class OauthServer {
 public:
  // `tokens` must outlive this object.
  OauthServer(OauthOptions options, TokenSource* tokens);

  // POST /oauth/token.
  Reply Token(const Request& request, absl::Time now);
  // GET /resource.
  Reply Resource(const Request& request, absl::Time now) const;

  // Makes a grant as if a person had just consented, and returns its first refresh token.
  // NOT_FOUND: no such client. RESOURCE_EXHAUSTED: too many grants since the last Reset.
  absl::StatusOr<std::string> SeedGrant(absl::string_view client_id, std::string scope);

  bool AcceptsAccessToken(absl::string_view token, absl::Time now) const;
  // Whether a refresh with this token would succeed now, without burning anything.
  bool AcceptsRefreshToken(absl::string_view token, absl::Time now) const;

  nlohmann::json Snapshot(absl::Time now) const;
  void Reset();

 private:
  using GrantId = uint64_t;
  static constexpr GrantId kNoGrant = 0;

  struct AccessToken {
    GrantId grant = kNoGrant;
    absl::Time expires;
  };
  struct Grant {
    std::string client_id;
    std::string scope;
    std::string current;
    // What the last rotation replaced and handed out, for a retry within the leeway.
    std::string previous;
    absl::Time rotated = absl::InfinitePast();
    std::string last_access_token;
    absl::Time last_access_expires;
    bool burned = false;
    std::deque<std::string> spent;
  };

  Reply Refuse(OauthError error);
  const OauthClient* FindClient(absl::string_view id) const;
  Reply ClientCredentials(const TokenRequest& request, absl::Time now);
  Reply Refresh(const TokenRequest& request, absl::Time now);
  bool InLeeway(const Grant& grant, absl::string_view token, absl::Time now) const;
  void Burn(GrantId id, Grant* grant);
  void Rotate(GrantId id, Grant* grant, absl::Time now);
  std::string IssueAccessToken(GrantId grant, absl::Time now);
  void ForgetExpired(absl::Time now);

  const OauthOptions options_;
  TokenSource* const tokens_;

  std::map<GrantId, Grant> grants_;
  // Every refresh token that is current or remembered as spent.
  std::map<std::string, GrantId, std::less<>> refresh_tokens_;
  std::map<std::string, AccessToken, std::less<>> access_tokens_;
  // In order of issue, which is the order of expiry since there is only one lifetime.
  std::deque<std::pair<absl::Time, std::string>> expiries_;
  GrantId next_grant_ = 1;

  std::map<std::string, int64_t> requests_by_grant_type_;
  std::map<std::string, int64_t> errors_by_code_;
  int64_t access_tokens_issued_ = 0;
};

}  // namespace keyturn::sandbox
