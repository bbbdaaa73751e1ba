// SPDX-License-Identifier: Apache-2.0
// One function for each group of rules; each says what is wrong and, where that is not plain, what
// would be right.
#include "agent/lifecycle/oauth/oauth_checks.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/base/duration_text.h"
#include "agent/lifecycle/oauth/token_circle.h"

namespace keyturn::lifecycle::oauth {
namespace {

using Mistake = std::optional<OAuthMistake>;
using TextMap = google::protobuf::Map<std::string, std::string>;

constexpr absl::Duration kAssertionMax = absl::Hours(1);

Mistake Wrong(std::vector<std::string> path, std::string message) {
  return OAuthMistake{std::move(path), std::move(message)};
}

// The codes of RFC 6749 sections 4.1.2.1 and 5.2 and RFC 8628 section 3.5 that a reply can mean.
constexpr absl::string_view kErrorCodes[] = {
    "invalid_request",         "invalid_client",        "invalid_grant", "unauthorized_client",
    "unsupported_grant_type",  "invalid_scope",         "access_denied", "server_error",
    "temporarily_unavailable", "authorization_pending", "slow_down",     "expired_token"};

// What requests hold anyway.
constexpr absl::string_view kTokenParams[] = {"grant_type",
                                              "client_id",
                                              "client_secret",
                                              "client_assertion",
                                              "scope",
                                              "refresh_token",
                                              "code",
                                              "client_assertion_type",
                                              "redirect_uri",
                                              "code_verifier",
                                              "device_code",
                                              "assertion",
                                              "subject_token",
                                              "subject_token_type",
                                              "actor_token",
                                              "requested_token_type",
                                              "resource",
                                              "audience",
                                              "actor_token_type"};
constexpr absl::string_view kAuthorizationParams[] = {
    "response_type",         "client_id",     "redirect_uri", "scope", "state", "code_challenge",
    "code_challenge_method", "client_secret", "dpop_jkt"};
constexpr absl::string_view kClaims[] = {"iss", "sub", "aud", "iat", "exp", "nbf", "jti"};
// Headers that requests set, or that would hold a secret.
constexpr absl::string_view kHeaders[] = {
    "authorization", "content-type", "content-length",    "cookie",
    "host",          "dpop",         "transfer-encoding", "connection"};

template <size_t n>
bool Among(absl::string_view text, const absl::string_view (&list)[n]) {
  return std::find(std::begin(list), std::end(list), text) != std::end(list);
}

bool IsVisible(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
}

// RFC 9110 section 5.6.2.
bool IsHeaderName(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           absl::StrContains("!#$%&'*+-.^_`|~", absl::string_view(&c, 1));
  });
}

// RFC 6901 section 3.
bool IsPointer(absl::string_view text) {
  if (!absl::StartsWith(text, "/")) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '~') continue;
    if (i + 1 == text.size() || (text[i + 1] != '0' && text[i + 1] != '1')) return false;
  }
  return true;
}

Mistake Secrets(const std::string& name, const v1::OAuthSpec& spec,
                const OAuthSurroundings& surroundings) {
  for (const SecretField& field : SecretsOf(spec)) {
    const std::string& holder = field.ref->credential();
    if (holder.empty()) return Wrong(field.path, "`credential` is needed: the one that holds it");
    if (holder == name) return Wrong(field.path, "refers to the credential itself");
    if (!surroundings.has_credential(holder)) {
      return Wrong(field.path,
                   absl::StrCat("there is no credential \"", holder,
                                "\"; declare it as `static: {}` and store the secret with keyturn "
                                "put"));
    }
  }
  return std::nullopt;
}

Mistake Urls(const v1::OAuthSpec& spec, const OAuthSurroundings& surroundings) {
  v1::OAuthSpec copy = spec;
  for (const UrlField& field : UrlsOf(copy)) {
    if (absl::Status s = surroundings.check_url(*field.url); !s.ok()) {
      return Wrong(field.path, std::string(s.message()));
    }
    if (spec.client_auth() == v1::TLS_CLIENT_AUTH && !absl::StartsWith(*field.url, "https://")) {
      return Wrong(field.path, "must be https: a certificate authenticates TLS connections only");
    }
  }
  if (spec.issuer().find_first_of("?#") != std::string::npos) {
    return Wrong({"issuer"}, "must have neither ? nor # (RFC 8414 section 2)");
  }
  if (spec.token_url().empty() && spec.issuer().empty()) {
    return Wrong({}, "`token_url` is needed, or `issuer` to look it up, or `preset`");
  }
  return std::nullopt;
}

// What only some grants use. First the one that means nothing where it stands.
Mistake Fit(const v1::OAuthSpec& spec) {
  const char* const refreshes =
      "only goes with the grants refresh_token, authorization_code and device_code";
  const char* const login = "only goes with the grants authorization_code and device_code";
  if (!UsesRefreshToken(spec.grant())) {
    if (spec.refresh_token() != 0) return Wrong({"refresh_token"}, refreshes);
    if (spec.has_leeway()) return Wrong({"leeway"}, refreshes);
    if (!spec.refresh_url().empty()) return Wrong({"refresh_url"}, refreshes);
    if (spec.has_consent()) return Wrong({"consent"}, refreshes);
  }
  if (!HasLogin(spec.grant())) {
    if (!spec.authorization_url().empty()) return Wrong({"authorization_url"}, login);
    if (!spec.device_url().empty()) return Wrong({"device_url"}, login);
    if (!spec.authorization_params().empty()) return Wrong({"authorization_params"}, login);
    if (spec.quirks().no_pkce()) return Wrong({"quirks", "no_pkce"}, login);
  }
  if (spec.has_assertion() && spec.grant() != v1::JWT_BEARER) {
    return Wrong({"assertion"}, "only goes with the grant jwt_bearer");
  }
  if (spec.has_exchange() && spec.grant() != v1::TOKEN_EXCHANGE) {
    return Wrong({"exchange"}, "only goes with the grant token_exchange");
  }
  return std::nullopt;
}

Mistake OwnAssertion(const v1::OAuthSpec& spec) {
  const v1::Assertion& assertion = spec.assertion();
  if (!spec.has_signing_key()) {
    return Wrong(
        {},
        "the grant jwt_bearer needs `signing_key`, with which Keyturn signs the assertion, "
        "or `assertion: { token: { credential: NAME } }` of somebody else's");
  }
  if (assertion.issuer().empty() && spec.client_id().empty()) {
    return Wrong({"assertion"}, "`issuer` is needed where there is no `client_id`");
  }
  if (assertion.has_lifetime()) {
    const absl::Duration lifetime = base::ToDuration(assertion.lifetime());
    if (lifetime < absl::Seconds(1) || lifetime > kAssertionMax) {
      return Wrong({"assertion", "lifetime"}, "must be from 1s to 1h");
    }
  }
  for (const auto& [claim, unused] : assertion.claims()) {
    if (Among(claim, kClaims)) {
      return Wrong({"assertion", "claims", claim},
                   "is filled in; `issuer`, `subject` and `audience` say with what");
    }
  }
  return std::nullopt;
}

Mistake GrantNeeds(const v1::OAuthSpec& spec) {
  switch (spec.grant()) {
    case v1::AUTHORIZATION_CODE:
      if (!spec.authorization_url().empty() || !spec.issuer().empty()) return std::nullopt;
      return Wrong({}, "the grant authorization_code needs `authorization_url` or `issuer`");
    case v1::DEVICE_CODE:
      if (!spec.device_url().empty() || !spec.issuer().empty()) return std::nullopt;
      return Wrong({}, "the grant device_code needs `device_url` or `issuer`");
    case v1::JWT_BEARER: {
      const v1::Assertion& assertion = spec.assertion();
      if (!assertion.has_token()) return OwnAssertion(spec);
      if (!assertion.issuer().empty() || !assertion.subject().empty() ||
          !assertion.audience().empty() || !assertion.claims().empty() ||
          assertion.has_lifetime()) {
        return Wrong({"assertion"},
                     "`token` is somebody else's assertion, whose claims cannot be stated");
      }
      return std::nullopt;
    }
    case v1::TOKEN_EXCHANGE: {
      const v1::TokenExchange& exchange = spec.exchange();
      if (!exchange.has_subject_token()) {
        return Wrong({},
                     "the grant token_exchange needs `exchange: { subject_token: { credential: "
                     "NAME } }`");
      }
      if (!exchange.has_actor_token() && !exchange.actor_token_type().empty()) {
        return Wrong({"exchange", "actor_token_type"}, "only goes with `actor_token`");
      }
      return std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

Mistake ClientNeeds(const v1::OAuthSpec& spec) {
  const v1::ClientAuth auth =
      spec.client_auth() == v1::CLIENT_AUTH_UNSPECIFIED ? v1::BASIC : spec.client_auth();
  const std::string name = absl::AsciiStrToLower(v1::ClientAuth_Name(auth));
  // With these grants the assertion or token alone may say who asks (RFC 7521 section 4.1).
  const bool may_be_nameless =
      auth == v1::NONE && (spec.grant() == v1::JWT_BEARER || spec.grant() == v1::TOKEN_EXCHANGE);
  if (spec.client_id().empty() && !may_be_nameless) return Wrong({}, "`client_id` is needed");
  const bool by_secret = auth == v1::BASIC || auth == v1::POST || auth == v1::CLIENT_SECRET_JWT;
  if (by_secret && !spec.has_client_secret()) {
    return Wrong({}, "`client_secret: { credential: NAME }` is needed, or `client_auth: none`");
  }
  if (!by_secret && spec.has_client_secret()) {
    return Wrong({"client_secret"}, absl::StrCat("does not go with `client_auth: ", name, "`"));
  }
  if (auth == v1::PRIVATE_KEY_JWT && !spec.has_signing_key()) {
    return Wrong({},
                 "`client_auth: private_key_jwt` needs `signing_key: { key: { credential: NAME "
                 "} }`");
  }
  const bool own_assertion = spec.grant() == v1::JWT_BEARER && !spec.assertion().has_token();
  if (spec.has_signing_key() && auth != v1::PRIVATE_KEY_JWT && !own_assertion) {
    return Wrong({"signing_key"},
                 "only goes with `client_auth: private_key_jwt`, or with the grant jwt_bearer when "
                 "Keyturn signs the assertion");
  }
  if (auth == v1::TLS_CLIENT_AUTH && !spec.has_client_certificate()) {
    return Wrong({}, "`client_auth: tls_client_auth` needs `client_certificate`");
  }
  if (auth != v1::TLS_CLIENT_AUTH && spec.has_client_certificate()) {
    return Wrong({"client_certificate"}, "only goes with `client_auth: tls_client_auth`");
  }
  return std::nullopt;
}

Mistake Keys(const v1::OAuthSpec& spec) {
  const v1::SigningKey& key = spec.signing_key();
  if (spec.has_signing_key()) {
    if (!key.has_key()) return Wrong({"signing_key"}, "`key: { credential: NAME }` is needed");
    static constexpr absl::string_view kAlgorithms[] = {"", "RS256", "ES256", "EdDSA"};
    if (!Among(key.algorithm(), kAlgorithms)) {
      return Wrong({"signing_key", "algorithm"}, "must be RS256, ES256 or EdDSA");
    }
    if (!IsVisible(key.key_id())) {
      return Wrong({"signing_key", "key_id"}, "may hold printable ASCII only");
    }
  }
  const v1::ClientCertificate& certificate = spec.client_certificate();
  if (spec.has_client_certificate() && (!certificate.has_certificate() || !certificate.has_key())) {
    return Wrong({"client_certificate"}, "needs both `certificate` and `key`");
  }
  return std::nullopt;
}

Mistake Binding(const v1::OAuthSpec& spec) {
  if (spec.dpop() && spec.client_auth() == v1::TLS_CLIENT_AUTH) {
    return Wrong({"dpop"},
                 "does not go with `client_auth: tls_client_auth`; bind tokens to one "
                 "thing");
  }
  if (spec.dpop() && absl::StartsWithIgnoreCase(spec.attach().format(), "Bearer ")) {
    return Wrong({"attach", "format"},
                 "with `dpop`, tokens are sent as `DPoP {value}` (RFC 9449 "
                 "section 7.1)");
  }
  if (!IsVisible(spec.attach().header()) || !IsVisible(spec.attach().format())) {
    return Wrong({"attach"}, "may hold printable ASCII only");
  }
  return std::nullopt;
}

Mistake Durations(const v1::OAuthSpec& spec) {
  const auto none = [](const google::protobuf::Duration& d) {
    return base::ToDuration(d) <= absl::ZeroDuration();
  };
  if (spec.has_default_lifetime() && none(spec.default_lifetime())) {
    return Wrong({"default_lifetime"}, "must be more than 0s");
  }
  if (spec.consent().has_lifetime() && none(spec.consent().lifetime())) {
    return Wrong({"consent", "lifetime"}, "must be more than 0s");
  }
  if (spec.consent().has_idle() && none(spec.consent().idle())) {
    return Wrong({"consent", "idle"}, "must be more than 0s");
  }
  if (spec.has_leeway() && spec.refresh_token() == v1::KEEPS) {
    return Wrong({"leeway"},
                 "only goes with `refresh_token: rotates`: what is kept is not replaced");
  }
  return std::nullopt;
}

Mistake Texts(const v1::OAuthSpec& spec) {
  for (int i = 0; i < spec.scopes_size(); ++i) {
    // RFC 6749 appendix A.4: no space, quote or backslash.
    const std::string& scope = spec.scopes(i);
    if (scope.empty() || !IsVisible(scope) || scope.find_first_of(" \"\\") != std::string::npos) {
      return Wrong({"scopes", absl::StrCat(i)},
                   "a scope is printable ASCII without spaces, quotes and backslashes");
    }
  }
  for (int i = 0; i < spec.resources_size(); ++i) {
    const std::string& resource = spec.resources(i);
    if (!absl::StrContains(resource, ":") || absl::StrContains(resource, "#")) {
      return Wrong({"resources", absl::StrCat(i)},
                   "must be an absolute URI without # (RFC 8707 section 2)");
    }
  }
  for (const auto& [param, unused] : spec.extra_params()) {
    // Some servers have their own word for this grant, as Zoom: account_credentials.
    if (param == "grant_type" && spec.grant() == v1::CLIENT_CREDENTIALS) continue;
    if (param.empty() || Among(param, kTokenParams)) {
      return Wrong({"extra_params", param},
                   "is a standard parameter, which has a field of its own or is filled in");
    }
  }
  for (const auto& [param, unused] : spec.authorization_params()) {
    if (param.empty() || IsAuthorizationParam(param)) {
      return Wrong({"authorization_params", param},
                   "is a standard parameter, which has a field of its own or is filled in");
    }
  }
  if (spec.introspect() && spec.introspection_url().empty() && spec.issuer().empty()) {
    return Wrong({"introspect"}, "needs `introspection_url` or `issuer`");
  }
  if (spec.has_test() && spec.test().url().empty()) return Wrong({"test"}, "`url` is needed");
  return std::nullopt;
}

Mistake ErrorQuirks(const v1::OAuthQuirks& quirks) {
  for (int i = 0; i < quirks.errors_size(); ++i) {
    const v1::OAuthQuirks::Error& error = quirks.errors(i);
    const std::string index = absl::StrCat(i);
    if (error.pointer().empty() || error.equals().empty() || error.means().empty()) {
      return Wrong({"quirks", "errors", index}, "needs `pointer`, `equals` and `means`");
    }
    if (!IsPointer(error.pointer())) {
      return Wrong({"quirks", "errors", index, "pointer"},
                   "is no JSON Pointer, such as /error/code");
    }
    if (!Among(error.means(), kErrorCodes)) {
      return Wrong({"quirks", "errors", index, "means"},
                   absl::StrCat("must be one of ", absl::StrJoin(kErrorCodes, ", ")));
    }
  }
  return std::nullopt;
}

Mistake Quirks(const v1::OAuthSpec& spec) {
  const v1::OAuthQuirks& quirks = spec.quirks();
  for (const auto& [name, pointer] :
       {std::pair("access_token", &quirks.access_token()),
        std::pair("refresh_token", &quirks.refresh_token()),
        std::pair("expires_in", &quirks.expires_in()),
        std::pair("refresh_expires_in", &quirks.refresh_expires_in())}) {
    if (!pointer->empty() && !IsPointer(*pointer)) {
      return Wrong({"quirks", name}, "is no JSON Pointer, such as /data/accessToken");
    }
  }
  const bool elsewhere = quirks.lifetime_unit() == v1::OAuthQuirks::JWT_EXP ||
                         quirks.lifetime_unit() == v1::OAuthQuirks::FIXED;
  if (elsewhere && !quirks.expires_in().empty()) {
    return Wrong({"quirks", "expires_in"}, "is not read with this `lifetime_unit`");
  }
  if (quirks.lifetime_unit() == v1::OAuthQuirks::FIXED && !spec.has_default_lifetime()) {
    return Wrong({"quirks", "lifetime_unit"}, "`fixed` needs `default_lifetime`");
  }
  if (quirks.assertion_audience() == v1::OAuthQuirks::ISSUER && spec.issuer().empty()) {
    return Wrong({"quirks", "assertion_audience"}, "`issuer` needs the field `issuer`");
  }
  if (quirks.scope_separator().size() > 4 || !IsVisible(quirks.scope_separator())) {
    return Wrong({"quirks", "scope_separator"}, "must be 1 to 4 characters of printable ASCII");
  }
  for (const auto& [name, value] : quirks.headers()) {
    const std::vector<std::string> here = {"quirks", "headers", name};
    if (!IsHeaderName(name)) return Wrong(here, "is no name of a header");
    if (Among(absl::AsciiStrToLower(name), kHeaders)) {
      return Wrong(here, "cannot be stated: requests set it, or it would hold a secret");
    }
    if (value.empty() || !IsVisible(value)) {
      return Wrong(here, "must be printable ASCII, and something");
    }
  }
  return ErrorQuirks(quirks);
}

}  // namespace

bool HasLogin(v1::OAuthGrant grant) {
  return grant == v1::AUTHORIZATION_CODE || grant == v1::DEVICE_CODE;
}

bool UsesRefreshToken(v1::OAuthGrant grant) {
  return grant == v1::REFRESH_TOKEN || HasLogin(grant);
}

bool IsAuthorizationParam(absl::string_view param) { return Among(param, kAuthorizationParams); }

std::vector<UrlField> UrlsOf(v1::OAuthSpec& spec) {
  std::vector<UrlField> urls;
  const auto add = [&](std::vector<std::string> path, std::string* url) {
    if (!url->empty()) urls.push_back({std::move(path), url});
  };
  add({"issuer"}, spec.mutable_issuer());
  add({"token_url"}, spec.mutable_token_url());
  add({"authorization_url"}, spec.mutable_authorization_url());
  add({"device_url"}, spec.mutable_device_url());
  add({"revocation_url"}, spec.mutable_revocation_url());
  add({"introspection_url"}, spec.mutable_introspection_url());
  add({"refresh_url"}, spec.mutable_refresh_url());
  if (spec.has_test()) add({"test", "url"}, spec.mutable_test()->mutable_url());
  return urls;
}

std::vector<SecretField> SecretsOf(const v1::OAuthSpec& spec) {
  std::vector<SecretField> secrets;
  const auto add = [&](bool stated, std::vector<std::string> path, const v1::SecretRef& ref) {
    if (stated) secrets.push_back({std::move(path), &ref});
  };
  const v1::ClientCertificate& certificate = spec.client_certificate();
  add(spec.has_client_secret(), {"client_secret"}, spec.client_secret());
  add(spec.signing_key().has_key(), {"signing_key", "key"}, spec.signing_key().key());
  add(certificate.has_certificate(), {"client_certificate", "certificate"},
      certificate.certificate());
  add(certificate.has_key(), {"client_certificate", "key"}, certificate.key());
  add(spec.assertion().has_token(), {"assertion", "token"}, spec.assertion().token());
  add(spec.exchange().has_subject_token(), {"exchange", "subject_token"},
      spec.exchange().subject_token());
  add(spec.exchange().has_actor_token(), {"exchange", "actor_token"},
      spec.exchange().actor_token());
  return secrets;
}

bool RefersTo(const v1::OAuthSpec& spec, absl::string_view credential) {
  const std::vector<SecretField> secrets = SecretsOf(spec);
  return std::any_of(secrets.begin(), secrets.end(), [&](const SecretField& field) {
    return field.ref->credential() == credential;
  });
}

Mistake CheckOAuth(const std::string& name, const v1::OAuthSpec& spec,
                   const OAuthSurroundings& surroundings) {
  if (spec.grant() == v1::OAUTH_GRANT_UNSPECIFIED) {
    return Wrong({},
                 "`grant` is needed: client_credentials, authorization_code, device_code, "
                 "refresh_token, jwt_bearer or token_exchange");
  }
  if (Mistake wrong = Urls(spec, surroundings)) return wrong;
  if (Mistake wrong = Fit(spec)) return wrong;
  if (Mistake wrong = ClientNeeds(spec)) return wrong;
  if (Mistake wrong = GrantNeeds(spec)) return wrong;
  if (Mistake wrong = Keys(spec)) return wrong;
  if (Mistake wrong = Secrets(name, spec, surroundings)) return wrong;
  if (surroundings.find_token) {
    if (Mistake wrong = CheckCircle(name, spec, surroundings.find_token)) return wrong;
  }
  if (Mistake wrong = Binding(spec)) return wrong;
  if (Mistake wrong = Durations(spec)) return wrong;
  if (Mistake wrong = Texts(spec)) return wrong;
  return Quirks(spec);
}

}  // namespace keyturn::lifecycle::oauth
