// SPDX-License-Identifier: Apache-2.0
// Every rule for the `oauth` part of a credential: one specification that breaks it, said with its
// place, and one that keeps it.
#include "agent/lifecycle/oauth/oauth_checks.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/base/strict_yaml.h"

namespace keyturn::lifecycle::oauth {
namespace {

const OAuthSurroundings kSurroundings = {
    [](absl::string_view url) {
      return absl::StartsWith(url, "https://") || absl::StartsWith(url, "http://here")
                 ? absl::OkStatus()
                 : absl::InvalidArgumentError("must be https");
    },
    [](const std::string& name) {
      return std::set<std::string>{"s", "k", "c", "t"}.count(name) != 0;
    }};

std::optional<OAuthMistake> Check(const std::string& yaml) {
  v1::OAuthSpec spec;
  const absl::Status read = base::ParseYaml(yaml, "spec", &spec);
  EXPECT_TRUE(read.ok()) << read << "\n" << yaml;
  return CheckOAuth("me", spec, kSurroundings);
}

// Beginnings that lack nothing.
constexpr char kClient[] = "client_id: c\nclient_secret: { credential: s }\n";
const std::string kMachine =
    absl::StrCat("grant: client_credentials\ntoken_url: https://h/t\n", kClient);
const std::string kRefresh =
    absl::StrCat("grant: refresh_token\ntoken_url: https://h/t\n", kClient);
const std::string kLogin = absl::StrCat(
    "grant: authorization_code\ntoken_url: https://h/t\nauthorization_url: https://h/a\n", kClient);
const std::string kDevice =
    absl::StrCat("grant: device_code\ntoken_url: https://h/t\ndevice_url: https://h/d\n", kClient);
const std::string kSigned =
    "grant: jwt_bearer\ntoken_url: https://h/t\nclient_id: c\nclient_auth: none\n"
    "signing_key: { key: { credential: k } }\n";
const std::string kExchange =
    absl::StrCat("grant: token_exchange\ntoken_url: https://h/t\n", kClient,
                 "exchange: { subject_token: { credential: t } }\n");

struct Rule {
  std::string bad;
  std::string path;
  std::string message;
  std::string good;
};

void Try(const Rule& rule) {
  const auto wrong = Check(rule.bad);
  ASSERT_TRUE(wrong.has_value()) << rule.bad;
  EXPECT_EQ(absl::StrJoin(wrong->path, "."), rule.path) << rule.bad << wrong->message;
  EXPECT_TRUE(absl::StrContains(wrong->message, rule.message))
      << rule.bad << wrong->message << "\nwanted: " << rule.message;
  const auto right = Check(rule.good);
  EXPECT_FALSE(right.has_value()) << rule.good << absl::StrJoin(right->path, ".") << ": "
                                  << right->message;
}

TEST(OAuthChecks, WhatEachGrantNeeds) {
  const Rule rules[] = {
      {absl::StrCat("token_url: https://h/t\n", kClient), "", "`grant` is needed", kMachine},
      {absl::StrCat("grant: client_credentials\n", kClient), "", "`token_url` is needed",
       absl::StrCat("grant: client_credentials\nissuer: https://h\n", kClient)},
      {absl::StrCat("grant: authorization_code\ntoken_url: https://h/t\n", kClient), "",
       "`authorization_url` or `issuer`",
       absl::StrCat("grant: authorization_code\nissuer: https://h\n", kClient)},
      {absl::StrCat("grant: device_code\ntoken_url: https://h/t\n", kClient), "",
       "`device_url` or `issuer`", kDevice},
      {"grant: jwt_bearer\ntoken_url: https://h/t\nclient_id: c\nclient_auth: none\n", "",
       "needs `signing_key`", kSigned},
      {"grant: jwt_bearer\ntoken_url: https://h/t\nclient_auth: none\n"
       "assertion: { token: { credential: t }, subject: me }\n",
       "assertion", "whose claims cannot be stated",
       "grant: jwt_bearer\ntoken_url: https://h/t\nclient_auth: none\n"
       "assertion: { token: { credential: t } }\n"},
      {"grant: jwt_bearer\ntoken_url: https://h/t\nclient_auth: none\n"
       "signing_key: { key: { credential: k } }\n",
       "assertion", "`issuer` is needed",
       "grant: jwt_bearer\ntoken_url: https://h/t\nclient_auth: none\n"
       "signing_key: { key: { credential: k } }\nassertion: { issuer: me }\n"},
      // The issuer alone is whom the assertion is for.
      {"grant: jwt_bearer\nclient_id: c\nclient_auth: none\n"
       "signing_key: { key: { credential: k } }\n",
       "", "`issuer` to look it up",
       "grant: jwt_bearer\nissuer: https://h\nclient_id: c\nclient_auth: none\n"
       "signing_key: { key: { credential: k } }\n"},
      {absl::StrCat(kSigned, "assertion: { lifetime: 2h }\n"), "assertion.lifetime",
       "from 1s to 1h", absl::StrCat(kSigned, "assertion: { lifetime: 1h }\n")},
      {absl::StrCat(kSigned, "assertion: { claims: { exp: \"1\" } }\n"), "assertion.claims.exp",
       "is filled in", absl::StrCat(kSigned, "assertion: { claims: { scope: a } }\n")},
      {absl::StrCat("grant: token_exchange\ntoken_url: https://h/t\n", kClient), "",
       "`exchange: { subject_token:", kExchange},
      {absl::StrCat("grant: token_exchange\ntoken_url: https://h/t\n", kClient,
                    "exchange: { subject_token: { credential: t }, actor_token_type: x }\n"),
       "exchange.actor_token_type", "only goes with `actor_token`",
       absl::StrCat("grant: token_exchange\ntoken_url: https://h/t\n", kClient,
                    "exchange: { subject_token: { credential: t }, actor_token: { credential: k },"
                    " actor_token_type: x }\n")},
  };
  for (const Rule& rule : rules) Try(rule);
}

TEST(OAuthChecks, WhatDoesNotGoWithAGrant) {
  const Rule rules[] = {
      {absl::StrCat(kMachine, "refresh_token: rotates\n"), "refresh_token", "only goes with",
       absl::StrCat(kRefresh, "refresh_token: rotates\n")},
      {absl::StrCat(kMachine, "leeway: 5s\n"), "leeway", "only goes with",
       absl::StrCat(kLogin, "leeway: 5s\n")},
      {absl::StrCat(kMachine, "refresh_url: https://h/r\n"), "refresh_url", "only goes with",
       absl::StrCat(kDevice, "refresh_url: https://h/r\n")},
      {absl::StrCat(kMachine, "consent: { idle: 90d }\n"), "consent", "only goes with",
       absl::StrCat(kRefresh, "consent: { idle: 90d }\n")},
      {absl::StrCat(kRefresh, "authorization_url: https://h/a\n"), "authorization_url",
       "only goes with", kLogin},
      {absl::StrCat(kMachine, "device_url: https://h/d\n"), "device_url", "only goes with",
       absl::StrCat(kLogin, "device_url: https://h/d\n")},
      {absl::StrCat(kMachine, "authorization_params: { a: b }\n"), "authorization_params",
       "only goes with", absl::StrCat(kLogin, "authorization_params: { a: b }\n")},
      {absl::StrCat(kMachine, "quirks: { no_pkce: true }\n"), "quirks.no_pkce", "only goes with",
       absl::StrCat(kLogin, "quirks: { no_pkce: true }\n")},
      {absl::StrCat(kMachine, "assertion: { subject: me }\n"), "assertion", "jwt_bearer",
       absl::StrCat(kSigned, "assertion: { subject: me }\n")},
      {absl::StrCat(kMachine, "exchange: { subject_token: { credential: t } }\n"), "exchange",
       "token_exchange", kExchange},
      {absl::StrCat(kRefresh, "refresh_token: keeps\nleeway: 5s\n"), "leeway",
       "`refresh_token: rot", absl::StrCat(kRefresh, "refresh_token: rotates\nleeway: 5s\n")},
  };
  for (const Rule& rule : rules) Try(rule);
}

TEST(OAuthChecks, WhatEachClientAuthenticationNeeds) {
  const std::string start = "grant: client_credentials\ntoken_url: https://h/t\nclient_id: c\n";
  const std::string secret = "client_secret: { credential: s }\n";
  const std::string key = "signing_key: { key: { credential: k } }\n";
  const std::string certificate =
      "client_certificate: { certificate: { credential: c }, key: { credential: k } }\n";
  const Rule rules[] = {
      {"grant: client_credentials\ntoken_url: https://h/t\n" + secret, "", "`client_id` is needed",
       kMachine},
      {start, "", "`client_secret: { credential: NAME }` is needed", start + secret},
      {start + "client_auth: post\n", "", "`client_secret", start + "client_auth: post\n" + secret},
      {start + "client_auth: client_secret_jwt\n", "", "`client_secret",
       start + "client_auth: client_secret_jwt\n" + secret},
      {start + "client_auth: none\n" + secret, "client_secret", "does not go with",
       start + "client_auth: none\n"},
      {start + "client_auth: private_key_jwt\n" + key + secret, "client_secret",
       "does not go with `client_auth: private_key_jwt`",
       start + "client_auth: private_key_jwt\n" + key},
      {start + "client_auth: private_key_jwt\n", "", "needs `signing_key",
       start + "client_auth: private_key_jwt\n" + key},
      {start + secret + key, "signing_key", "only goes with `client_auth: private_key_jwt`",
       kSigned},
      {start + "client_auth: tls_client_auth\n", "", "needs `client_certificate`",
       start + "client_auth: tls_client_auth\n" + certificate},
      {start + secret + certificate, "client_certificate", "only goes with",
       start + "client_auth: tls_client_auth\n" + certificate},
      {start + "client_auth: tls_client_auth\nclient_certificate: { key: { credential: k } }\n",
       "client_certificate", "needs both", start + "client_auth: tls_client_auth\n" + certificate},
      {"grant: client_credentials\ntoken_url: http://here/t\nclient_id: c\n"
       "client_auth: tls_client_auth\n" +
           certificate,
       "token_url", "must be https: a certificate",
       "grant: client_credentials\ntoken_url: http://here/t\nclient_id: c\n" + secret},
      {start + "client_auth: private_key_jwt\nsigning_key: { key_id: a }\n", "signing_key",
       "`key: { credential: NAME }` is needed", start + "client_auth: private_key_jwt\n" + key},
      {start + "client_auth: private_key_jwt\nsigning_key: { key: { credential: k }, algorithm: "
               "HS256 }\n",
       "signing_key.algorithm", "RS256, ES256 or EdDSA",
       start + "client_auth: private_key_jwt\nsigning_key: { key: { credential: k }, algorithm: "
               "EdDSA }\n"},
      {start + "client_auth: private_key_jwt\nsigning_key: { key: { credential: k }, key_id: "
               "\"é\" }\n",
       "signing_key.key_id", "printable ASCII",
       start + "client_auth: private_key_jwt\nsigning_key: { key: { credential: k }, key_id: a-1 "
               "}\n"},
  };
  for (const Rule& rule : rules) Try(rule);
}

TEST(OAuthChecks, SecretsAreCredentialsThatExist) {
  const std::string start =
      "grant: client_credentials\ntoken_url: https://h/t\nclient_id: c\nclient_secret: ";
  Try({start + "{ credential: none }\n", "client_secret", "there is no credential \"none\"",
       start + "{ credential: s }\n"});
  Try({start + "{ field: x }\n", "client_secret", "`credential` is needed",
       start + "{ credential: s, field: x }\n"});
  Try({start + "{ credential: me }\n", "client_secret", "the credential itself",
       start + "{ credential: s }\n"});
  for (const char* ref :
       {"signing_key.key", "client_certificate.certificate", "client_certificate.key"}) {
    const bool certificate = absl::StartsWith(ref, "client_c");
    std::string yaml =
        "grant: client_credentials\ntoken_url: https://h/t\nclient_id: c\nclient_auth: ";
    absl::StrAppend(&yaml, certificate
                               ? "tls_client_auth\nclient_certificate: { certificate: { "
                                 "credential: A }, key: { credential: B } }\n"
                               : "private_key_jwt\nsigning_key: { key: { credential: B } }\n");
    const bool first = absl::EndsWith(ref, "certificate");
    yaml[yaml.find("B }")] = first ? 'k' : 'n';
    if (certificate) yaml[yaml.find("A }")] = first ? 'n' : 'c';
    std::string good = yaml;
    good[good.find(" n ") + 1] = 'k';
    Try({yaml, ref, "there is no credential \"n\"", good});
  }
  Try(
      {"grant: jwt_bearer\ntoken_url: https://h/t\nclient_auth: none\n"
       "assertion: { token: { credential: n } }\n",
       "assertion.token", "there is no credential",
       "grant: jwt_bearer\ntoken_url: https://h/t\nclient_auth: none\n"
       "assertion: { token: { credential: t } }\n"});
  Try({absl::StrCat("grant: token_exchange\ntoken_url: https://h/t\n", kClient,
                    "exchange: { subject_token: { credential: n } }\n"),
       "exchange.subject_token", "there is no credential", kExchange});
  Try({absl::StrCat(
           "grant: token_exchange\ntoken_url: https://h/t\n", kClient,
           "exchange: { subject_token: { credential: t }, actor_token: { credential: n } }\n"),
       "exchange.actor_token", "there is no credential", kExchange});
}

TEST(OAuthChecks, EveryUrlIsChecked) {
  for (const char* field : {"issuer", "token_url", "authorization_url", "device_url",
                            "revocation_url", "introspection_url", "refresh_url"}) {
    const std::string all = absl::StrCat(
        "grant: authorization_code\nissuer: https://h\n", kClient,
        "token_url: https://h/1\nauthorization_url: https://h/2\ndevice_url: https://h/3\n"
        "revocation_url: https://h/4\nintrospection_url: https://h/5\nrefresh_url: https://h/6\n");
    std::string bad = all;
    bad.replace(bad.find(absl::StrCat("\n", field, ": https")) + 1, strlen(field) + 7,
                absl::StrCat(field, ": ftp"));
    Try({bad, field, "must be https", all});
  }
  Try({kMachine + "test: { url: ftp://h }\n", "test.url", "must be https",
       kMachine + "test: { url: https://h }\n"});
  Try({kMachine + "test: {}\n", "test", "`url` is needed",
       kMachine + "test: { url: https://h }\n"});
  Try({kMachine + "issuer: https://h/?a\n", "issuer", "neither ? nor #",
       kMachine + "issuer: https://h/a\n"});
}

TEST(OAuthChecks, FormsOfFields) {
  const Rule rules[] = {
      {kMachine + "scopes: [a, \"b c\"]\n", "scopes.1", "without spaces",
       kMachine + "scopes: [a, \"https://h/.default\"]\n"},
      {kMachine + "resources: [abc]\n", "resources.0", "absolute URI",
       kMachine + "resources: [\"https://h/\"]\n"},
      {kMachine + "extra_params: { client_id: x }\n", "extra_params.client_id",
       "a standard parameter", kMachine + "extra_params: { vendor: x }\n"},
      // Zoom's word for client_credentials.
      {kRefresh + "extra_params: { grant_type: x }\n", "extra_params.grant_type",
       "a standard parameter", kMachine + "extra_params: { grant_type: account_credentials }\n"},
      {kLogin + "authorization_params: { state: x }\n", "authorization_params.state",
       "a standard parameter", kLogin + "authorization_params: { audience: x }\n"},
      {kLogin + "authorization_params: { dpop_jkt: x }\n", "authorization_params.dpop_jkt",
       "a standard parameter", kLogin + "authorization_params: { prompt: x }\n"},
      {kMachine + "introspect: true\n", "introspect", "needs `introspection_url`",
       kMachine + "introspect: true\nintrospection_url: https://h/i\n"},
      {kMachine + "default_lifetime: 0s\n", "default_lifetime", "more than 0s",
       kMachine + "default_lifetime: 1s\n"},
      {kLogin + "consent: { lifetime: 0s }\n", "consent.lifetime", "more than 0s",
       kLogin + "consent: { lifetime: 30d }\n"},
      {kLogin + "consent: { idle: 0s }\n", "consent.idle", "more than 0s",
       kLogin + "consent: { idle: 30d }\n"},
      {kMachine + "dpop: true\nattach: { header: Authorization, format: \"Bearer {value}\" }\n",
       "attach.format", "`DPoP {value}`",
       kMachine + "dpop: true\nattach: { header: Authorization, format: \"DPoP {value}\" }\n"},
      {kMachine + "attach: { header: \"X-\\u00e9\" }\n", "attach", "printable ASCII",
       kMachine + "attach: { header: X-Token }\n"},
      {"grant: client_credentials\ntoken_url: https://h/t\nclient_id: c\nclient_auth: "
       "tls_client_auth\nclient_certificate: { certificate: { credential: c }, key: { credential: "
       "k } }\ndpop: true\n",
       "dpop", "one thing", kMachine + "dpop: true\n"},
  };
  for (const Rule& rule : rules) Try(rule);
}

TEST(OAuthChecks, QuirksOfReplies) {
  const auto quirks = [](const std::string& text) {
    return absl::StrCat(kMachine, "quirks: { ", text, " }\n");
  };
  const Rule rules[] = {
      {quirks("access_token: data/token"), "quirks.access_token", "JSON Pointer",
       quirks("access_token: /data/token")},
      {quirks("refresh_token: \"/a~2\""), "quirks.refresh_token", "JSON Pointer",
       quirks("refresh_token: \"/a~1b~0\"")},
      {quirks("expires_in: \"/a~\""), "quirks.expires_in", "JSON Pointer",
       quirks("expires_in: /a")},
      {quirks("refresh_expires_in: x"), "quirks.refresh_expires_in", "JSON Pointer",
       quirks("refresh_expires_in: /x")},
      {quirks("lifetime_unit: jwt_exp, expires_in: /x"), "quirks.expires_in", "is not read",
       quirks("lifetime_unit: milliseconds, expires_in: /x")},
      {quirks("assertion_audience: issuer"), "quirks.assertion_audience", "the field `issuer`",
       quirks("assertion_audience: issuer") + "issuer: https://h\n"},
      {quirks("assertion_audience: issuer"), "quirks.assertion_audience", "the field `issuer`",
       quirks("assertion_audience: endpoint")},
      {quirks("lifetime_unit: fixed"), "quirks.lifetime_unit", "needs `default_lifetime`",
       quirks("lifetime_unit: fixed") + "default_lifetime: 1h\n"},
      {quirks("scope_separator: \"12345\""), "quirks.scope_separator", "1 to 4",
       quirks("scope_separator: \",\"")},
      {quirks("errors: [ { pointer: /a, means: invalid_grant } ]"), "quirks.errors.0",
       "needs `pointer`, `equals` and `means`",
       quirks("errors: [ { pointer: /a, equals: b, means: invalid_grant } ]")},
      {quirks("errors: [ { pointer: a, equals: b, means: invalid_grant } ]"),
       "quirks.errors.0.pointer", "JSON Pointer",
       quirks("errors: [ { pointer: /ok, equals: \"false\", means: server_error } ]")},
      {quirks("errors: [ { pointer: /a, equals: b, means: gone } ]"), "quirks.errors.0.means",
       "must be one of invalid_request,",
       quirks("errors: [ { pointer: /a, equals: b, means: slow_down } ]")},
      {quirks("headers: { \"a b\": c }"), "quirks.headers.a b", "no name of a header",
       quirks("headers: { Notion-Version: \"1\" }")},
      {quirks("headers: { AUTHORIZATION: c }"), "quirks.headers.AUTHORIZATION", "cannot be stated",
       quirks("headers: { X-Authorization: c }")},
      {quirks("headers: { X-A: \"é\" }"), "quirks.headers.X-A", "printable ASCII",
       quirks("headers: { X-A: e }")},
  };
  for (const Rule& rule : rules) Try(rule);
}

// The same rule, broken in each of the ways that it names.
TEST(OAuthChecks, EveryHalfOfARule) {
  const std::string passed_on =
      "grant: jwt_bearer\ntoken_url: https://h/t\nclient_auth: none\n"
      "assertion: { token: { credential: t }";
  const std::string certificate =
      "grant: client_credentials\ntoken_url: https://h/t\nclient_id: c\n"
      "client_auth: tls_client_auth\nclient_certificate: { certificate: { credential: c }";
  const auto quirks = [](const std::string& text) {
    return absl::StrCat(kMachine, "quirks: { ", text, " }\n");
  };
  const Rule rules[] = {
      {kMachine + "scopes: [\"\"]\n", "scopes.0", "printable ASCII", kMachine + "scopes: [a]\n"},
      {kMachine + "scopes: [\"a\\\"b\"]\n", "scopes.0", "quotes", kMachine + "scopes: [a]\n"},
      {kMachine + "scopes: [\"\u00e9\"]\n", "scopes.0", "ASCII", kMachine + "scopes: [e]\n"},
      {kMachine + "resources: [\"https://h/#a\"]\n", "resources.0", "without #",
       kMachine + "resources: [\"urn:a\"]\n"},
      {kMachine + "extra_params: { \"\": x }\n", "extra_params.", "", kMachine},
      {kLogin + "authorization_params: { \"\": x }\n", "authorization_params.", "", kLogin},
      {kMachine + "introspect: true\n", "introspect", "`introspection_url` or `issuer`",
       kMachine + "introspect: true\nissuer: https://h\n"},
      {kMachine + "attach: { header: X, format: \"\u00e9 {value}\" }\n", "attach", "printable",
       kMachine + "attach: { header: X, format: \"{value}\" }\n"},
      {kMachine + "issuer: \"https://h/#a\"\n", "issuer", "neither ? nor #", kMachine},
      {passed_on + ", issuer: i }\n", "assertion", "cannot be stated", passed_on + " }\n"},
      {passed_on + ", audience: a }\n", "assertion", "cannot be stated", passed_on + " }\n"},
      {passed_on + ", lifetime: 1m }\n", "assertion", "cannot be stated", passed_on + " }\n"},
      {passed_on + ", claims: { a: b } }\n", "assertion", "cannot be", passed_on + " }\n"},
      {absl::StrCat(kSigned, "assertion: { lifetime: 0s }\n"), "assertion.lifetime", "from 1s",
       absl::StrCat(kSigned, "assertion: { lifetime: 1s }\n")},
      {"grant: token_exchange\ntoken_url: https://h/t\n"
       "exchange: { subject_token: { credential: t } }\n",
       "", "`client_id` is needed",
       "grant: token_exchange\ntoken_url: https://h/t\nclient_auth: none\n"
       "exchange: { subject_token: { credential: t } }\n"},
      {certificate + " }\n", "client_certificate", "needs both",
       certificate + ", key: { credential: k } }\n"},
      {passed_on + " }\nsigning_key: { key: { credential: k } }\n", "signing_key",
       "when Keyturn signs the assertion", kSigned},
      {quirks("lifetime_unit: fixed, expires_in: /x") + "default_lifetime: 1h\n",
       "quirks.expires_in", "is not read", quirks("lifetime_unit: iso8601, expires_in: /x")},
      {quirks("access_token: \"/~\""), "quirks.access_token", "JSON Pointer",
       quirks("access_token: \"/~0\"")},
      {quirks("scope_separator: \"\u00e9\""), "quirks.scope_separator", "ASCII",
       quirks("scope_separator: \"%20\"")},
      {quirks("headers: { \"\": c }"), "quirks.headers.", "no name", quirks("headers: { X: c }")},
      {quirks("headers: { X: \"\" }"), "quirks.headers.X", "and something",
       quirks("headers: { \"X!~\": c }")},
      {quirks("errors: [ { equals: b, means: invalid_grant } ]"), "quirks.errors.0", "`pointer`",
       quirks("")},
      {quirks("errors: [ { pointer: /a, equals: b } ]"), "quirks.errors.0", "`means`", quirks("")},
      {quirks("errors: [ { pointer: /a, equals: b, means: slow_down }, { pointer: /a } ]"),
       "quirks.errors.1", "needs", quirks("")},
  };
  for (const Rule& rule : rules) Try(rule);
}

TEST(OAuthChecks, FindsReferences) {
  v1::OAuthSpec spec;
  ASSERT_TRUE(base::ParseYaml(kExchange, "spec", &spec).ok());
  EXPECT_TRUE(RefersTo(spec, "t"));
  EXPECT_TRUE(RefersTo(spec, "s"));
  EXPECT_FALSE(RefersTo(spec, "k"));
}

}  // namespace
}  // namespace keyturn::lifecycle::oauth
