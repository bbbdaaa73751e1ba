// SPDX-License-Identifier: Apache-2.0
#include "agent/lifecycle/oauth/token_request.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/base/duration_text.h"
#include "agent/lifecycle/oauth/oauth_checks.h"
#include "agent/lifecycle/resources.h"

namespace keyturn::lifecycle::oauth {
namespace {

using providers::Grant;

constexpr char kAccessTokenType[] = "urn:ietf:params:oauth:token-type:access_token";

// The value that `ref` names goes to `into`; nothing happens when no credential is named.
absl::Status Resolve(const Ledger& ledger, const v1::SecretRef& ref, base::Secret& into) {
  if (ref.credential().empty()) return absl::OkStatus();
  const CredentialState* holder = ledger.Find(ref.credential());
  const store::VersionRecord* version = holder == nullptr ? nullptr : holder->Current();
  const base::Secret* secret = version == nullptr    ? nullptr
                               : ref.field().empty() ? version->value.Primary()
                                                     : version->value.Find(ref.field());
  if (secret == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "\"", ref.credential(), "\" has no value yet: keyturn put ", ref.credential()));
  }
  into = *secret;
  return absl::OkStatus();
}

Grant GrantOf(const v1::CredentialSpec& spec) {
  if (UsesRefreshToken(spec)) return Grant::kRefreshToken;
  switch (spec.oauth().grant()) {
    case v1::JWT_BEARER:
      return Grant::kJwtBearer;
    case v1::TOKEN_EXCHANGE:
      return Grant::kTokenExchange;
    default:
      return Grant::kClientCredentials;
  }
}

std::string Or(const std::string& text, absl::string_view otherwise) {
  return text.empty() ? std::string(otherwise) : text;
}

void AddAssertion(const v1::OAuthSpec& spec, providers::TokenRequest& request) {
  const v1::Assertion& assertion = spec.assertion();
  request.claims.insert(assertion.claims().begin(), assertion.claims().end());
  request.claims["iss"] = Or(assertion.issuer(), spec.client_id());
  request.claims["aud"] = Or(assertion.audience(), spec.token_url());
  if (!assertion.subject().empty()) request.claims["sub"] = assertion.subject();
  if (assertion.has_lifetime()) request.assertion_lifetime = base::ToDuration(assertion.lifetime());
}

}  // namespace

bool HasLogin(const v1::CredentialSpec& spec) { return HasLogin(spec.oauth().grant()); }

std::string ServerHostOf(const v1::OAuthSpec& spec) {
  return HostOf(spec.token_url().empty() ? spec.issuer() : spec.token_url());
}

bool UsesRefreshToken(const v1::CredentialSpec& spec) {
  return UsesRefreshToken(spec.oauth().grant());
}

absl::StatusOr<providers::ServerConfig> ServerConfigFor(const Ledger& ledger,
                                                        const CredentialState& state) {
  const v1::OAuthSpec& spec = state.record.spec.oauth();
  providers::ServerConfig server;
  server.endpoints.issuer = spec.issuer();
  server.endpoints.token = spec.token_url();
  server.endpoints.refresh = spec.refresh_url();
  server.endpoints.authorization = spec.authorization_url();
  server.endpoints.device = spec.device_url();
  server.endpoints.revocation = spec.revocation_url();
  server.endpoints.introspection = spec.introspection_url();
  server.quirks = spec.quirks();
  providers::OAuthClient& client = server.client;
  client.auth = spec.client_auth() == v1::CLIENT_AUTH_UNSPECIFIED ? v1::BASIC : spec.client_auth();
  client.id = spec.client_id();
  client.key_id = spec.signing_key().key_id();
  client.algorithm = Or(spec.signing_key().algorithm(), "RS256");
  for (const absl::Status& resolved :
       {Resolve(ledger, spec.client_secret(), client.secret),
        Resolve(ledger, spec.signing_key().key(), client.signing_key),
        Resolve(ledger, spec.client_certificate().certificate(), client.certificate),
        Resolve(ledger, spec.client_certificate().key(), client.certificate_key)}) {
    if (!resolved.ok()) return resolved;
  }
  if (spec.dpop() && state.refresh) server.dpop_key = state.refresh->dpop_key;
  return server;
}

absl::StatusOr<providers::TokenRequest> TokenRequestFor(const Ledger& ledger,
                                                        const CredentialState& state) {
  const v1::OAuthSpec& spec = state.record.spec.oauth();
  auto server = ServerConfigFor(ledger, state);
  if (!server.ok()) return server.status();
  providers::TokenRequest request;
  request.server = *std::move(server);
  request.grant = GrantOf(state.record.spec);
  request.scopes.assign(spec.scopes().begin(), spec.scopes().end());
  request.resources.assign(spec.resources().begin(), spec.resources().end());
  request.audience = spec.audience();
  request.extra_params.insert(spec.extra_params().begin(), spec.extra_params().end());
  absl::Status resolved;
  switch (request.grant) {
    case Grant::kRefreshToken:
      if (state.refresh) request.refresh_token = state.refresh->refresh_token;
      // Of what a person consented to, all that was granted: RFC 6749 section 6. What is asked for
      // beyond that would be refused.
      if (HasLogin(state.record.spec)) request.scopes.clear();
      break;
    case Grant::kJwtBearer:
      AddAssertion(spec, request);
      resolved = Resolve(ledger, spec.assertion().token(), request.assertion);
      break;
    case Grant::kTokenExchange:
      resolved = Resolve(ledger, spec.exchange().subject_token(), request.subject_token);
      resolved.Update(Resolve(ledger, spec.exchange().actor_token(), request.actor_token));
      request.subject_token_type = Or(spec.exchange().subject_token_type(), kAccessTokenType);
      request.actor_token_type = Or(spec.exchange().actor_token_type(), kAccessTokenType);
      request.requested_token_type = spec.exchange().requested_token_type();
      break;
    default:
      break;
  }
  if (!resolved.ok()) return resolved;
  return request;
}

}  // namespace keyturn::lifecycle::oauth
