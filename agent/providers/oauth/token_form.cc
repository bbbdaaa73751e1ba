// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/token_form.h"

#include <utility>

#include "absl/strings/str_join.h"
#include "agent/providers/oauth/client_authentication.h"
#include "agent/providers/signing/jwt.h"

namespace keyturn::providers {
namespace {

constexpr char kDeviceCodeGrant[] = "urn:ietf:params:oauth:grant-type:device_code";
constexpr char kJwtBearerGrant[] = "urn:ietf:params:oauth:grant-type:jwt-bearer";
constexpr char kTokenExchangeGrant[] = "urn:ietf:params:oauth:grant-type:token-exchange";

absl::StatusOr<base::Secret> OwnAssertion(const TokenRequest& request, absl::string_view audience,
                                          absl::Time now, base::Random& random) {
  const auto signature = JwtSignatureOf(request.server.client.algorithm);
  if (!signature.has_value() || *signature == JwtSignature::kHs256) {
    return absl::InvalidArgumentError("the algorithm must be RS256, ES256 or EdDSA");
  }
  JwtContent content;
  if (!request.server.client.key_id.empty()) content.header["kid"] = request.server.client.key_id;
  content.claims = request.claims;
  std::string& aud = content.claims["aud"];
  if (aud.empty()) aud = std::string(audience);
  content.claims.try_emplace("jti", NewJti(random));
  content.issued_at = now;
  content.expires_at = now + request.assertion_lifetime;
  return SignJwt(*signature, request.server.client.signing_key, content);
}

absl::Status AddGrant(const TokenRequest& request, absl::string_view audience, absl::Time now,
                      base::Random& random, RequestParams& params) {
  switch (request.grant) {
    case Grant::kClientCredentials:
      params.Add("grant_type", "client_credentials");
      break;
    case Grant::kRefreshToken:
      params.Add("grant_type", "refresh_token");
      params.Add("refresh_token", request.refresh_token.Reveal());
      break;
    case Grant::kAuthorizationCode:
      params.Add("grant_type", "authorization_code");
      params.Add("code", request.code.Reveal());
      params.AddIfAny("redirect_uri", request.redirect_uri);
      params.AddIfAny("code_verifier", request.code_verifier.Reveal());
      break;
    case Grant::kDeviceCode:
      params.Add("grant_type", kDeviceCodeGrant);
      params.Add("device_code", request.device_code.Reveal());
      break;
    case Grant::kJwtBearer: {
      params.Add("grant_type", kJwtBearerGrant);
      if (!request.assertion.empty()) {
        params.Add("assertion", request.assertion.Reveal());
        break;
      }
      const auto assertion = OwnAssertion(request, audience, now, random);
      if (!assertion.ok()) return assertion.status();
      params.Add("assertion", assertion->Reveal());
      break;
    }
    case Grant::kTokenExchange:
      params.Add("grant_type", kTokenExchangeGrant);
      params.Add("subject_token", request.subject_token.Reveal());
      params.Add("subject_token_type", request.subject_token_type);
      if (!request.actor_token.empty()) {
        params.Add("actor_token", request.actor_token.Reveal());
        params.Add("actor_token_type", request.actor_token_type);
      }
      params.AddIfAny("requested_token_type", request.requested_token_type);
      break;
  }
  return absl::OkStatus();
}

}  // namespace

std::string JoinScopes(const std::vector<std::string>& scopes, const v1::OAuthQuirks& quirks) {
  return absl::StrJoin(scopes, quirks.scope_separator().empty() ? " " : quirks.scope_separator());
}

absl::StatusOr<RequestParams> TokenParams(const TokenRequest& request, absl::string_view audience,
                                          absl::Time now, base::Random& random) {
  RequestParams params;
  if (absl::Status added = AddGrant(request, audience, now, random, params); !added.ok()) {
    return added;
  }
  // A code stands for the scopes that were consented to; RFC 6749 section 4.1.3 and RFC 8628
  // section 3.4 do not have them said again.
  if (request.grant != Grant::kAuthorizationCode && request.grant != Grant::kDeviceCode) {
    params.AddIfAny("scope", JoinScopes(request.scopes, request.server.quirks));
  }
  params.AddIfAny("audience", request.audience);
  for (const std::string& resource : request.resources) params.Add("resource", resource);
  // Last, because some servers have their own words for the standard parameters too.
  for (const auto& [name, value] : request.extra_params) params.Replace(name, value);
  return params;
}

}  // namespace keyturn::providers
