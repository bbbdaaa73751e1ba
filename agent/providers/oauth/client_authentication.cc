// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/oauth/client_authentication.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "agent/providers/signing/jwt.h"

namespace keyturn::providers {
namespace {

constexpr char kAssertionType[] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
// It is used at once; the rest is for clocks that differ.
constexpr absl::Duration kAssertionLifetime = absl::Minutes(2);

// RFC 6749 section 2.3.1: id and secret are form-encoded before they go into Basic.
base::Secret BasicHeader(const OAuthClient& client) {
  const base::Secret id = FormEncoded(client.id);
  const base::Secret secret = FormEncoded(client.secret.Reveal());
  std::string pair = absl::StrCat(id.Reveal(), ":", secret.Reveal());
  std::string encoded = absl::Base64Escape(pair);
  std::string header = absl::StrCat("Basic ", encoded);
  base::Wipe(pair);
  base::Wipe(encoded);
  return base::Secret::Take(header);
}

absl::Status AddAssertion(JwtSignature signature, const base::Secret& key,
                          const OAuthClient& client, absl::string_view audience, absl::Time now,
                          base::Random& random, RequestParams& params) {
  JwtContent content;
  if (!client.key_id.empty()) content.header["kid"] = client.key_id;
  content.claims = {{"iss", client.id},
                    {"sub", client.id},
                    {"aud", std::string(audience)},
                    {"jti", NewJti(random)}};
  content.issued_at = now;
  content.expires_at = now + kAssertionLifetime;
  const auto assertion = SignJwt(signature, key, content);
  if (!assertion.ok()) return assertion.status();
  params.Replace("client_assertion_type", kAssertionType);
  params.Replace("client_assertion", assertion->Reveal());
  return absl::OkStatus();
}

}  // namespace

std::string NewJti(base::Random& random) { return absl::WebSafeBase64Escape(random.Bytes(16)); }

absl::Status AddClientAuthentication(const OAuthClient& client, absl::string_view audience,
                                     absl::Time now, base::Random& random, RequestParams& params,
                                     net::HttpRequest& http) {
  const auto add_id = [&] {
    if (!client.id.empty()) params.Replace("client_id", client.id);
  };
  switch (client.auth) {
    case v1::POST:
      add_id();
      if (!client.secret.empty()) params.Replace("client_secret", client.secret.Reveal());
      return absl::OkStatus();
    case v1::NONE:
      add_id();
      return absl::OkStatus();
    case v1::TLS_CLIENT_AUTH:
      add_id();
      http.client_certificate = client.certificate;
      http.client_key = client.certificate_key;
      return absl::OkStatus();
    case v1::PRIVATE_KEY_JWT: {
      const auto signature = JwtSignatureOf(client.algorithm);
      if (!signature.has_value() || *signature == JwtSignature::kHs256) {
        return absl::InvalidArgumentError("the algorithm must be RS256, ES256 or EdDSA");
      }
      add_id();
      return AddAssertion(*signature, client.signing_key, client, audience, now, random, params);
    }
    case v1::CLIENT_SECRET_JWT:
      add_id();
      return AddAssertion(JwtSignature::kHs256, client.secret, client, audience, now, random,
                          params);
    default:
      break;
  }
  // An assertion or a subject token may be all that a server wants to see: no empty header then.
  if (!client.id.empty() || !client.secret.empty()) {
    http.headers.emplace_back("Authorization", BasicHeader(client));
  }
  return absl::OkStatus();
}

}  // namespace keyturn::providers
