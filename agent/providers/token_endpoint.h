// SPDX-License-Identifier: Apache-2.0
// TokenEndpoint: one exchange at an OAuth 2.0 token endpoint (RFC 6749 section 3.2) and what became
// of it. A reply that was lost is its own class: with refresh-token rotation a blind second try can
// end the whole grant. Thread-safe; answers through `done`, exactly once, on any thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "agent/base/clock.h"
#include "agent/base/secret.h"

namespace keyturn::providers {

enum class Grant { kClientCredentials, kRefreshToken };
enum class ClientAuth { kBasic, kPost, kNone };

struct TokenRequest {
  std::string token_url;
  Grant grant = Grant::kClientCredentials;
  ClientAuth client_auth = ClientAuth::kBasic;
  std::string client_id;
  base::Secret client_secret;
  base::Secret refresh_token;
  std::vector<std::string> scopes;
  std::string audience;
  std::map<std::string, std::string> extra_params;
};

enum class TokenOutcome {
  kGranted,
  // Definitely nothing happened; worth another try.
  kTransient,
  // The client is refused, whatever the grant: invalid_client and its kin (RFC 6749 section 5.2).
  kClientRefused,
  // The refresh token is not accepted (any more).
  kInvalidGrant,
  // An error that no OAuth server speaks: a proxy's page, a firewall. Never a reason to give up.
  kAmbiguous,
  // The request went out and no readable reply came back.
  kUnknown,
};

struct TokenReply {
  TokenOutcome outcome = TokenOutcome::kUnknown;
  base::Secret access_token;
  // InfiniteDuration when the server does not say.
  absl::Duration expires_in = absl::InfiniteDuration();
  // Empty when the old one stays.
  base::Secret refresh_token;
  // Lifetime of the refresh token where the server states one; InfiniteDuration otherwise.
  absl::Duration refresh_expires_in = absl::InfiniteDuration();
  // From our own fixed vocabulary.
  std::string cause;
  int http_status = 0;
  absl::Duration retry_after = absl::ZeroDuration();
  // When the request was handed to the network: lifetimes count from here, since the server's clock
  // started no earlier.
  base::BootTime sent_at;
};

class TokenEndpoint {
 public:
  using Done = absl::AnyInvocable<void(TokenReply)>;
  virtual ~TokenEndpoint() = default;
  virtual void Request(TokenRequest request, Done done) = 0;
};

}  // namespace keyturn::providers
