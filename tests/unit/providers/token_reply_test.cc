// SPDX-License-Identifier: Apache-2.0
// What a token endpoint's answer is taken for: replies as services give them, errors as they say
// them, and hostile ones.
#include "agent/providers/oauth/token_reply.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace keyturn::providers {
namespace {

using Outcome = TokenOutcome;
using Quirks = v1::OAuthQuirks;
using Headers = std::vector<std::pair<std::string, std::string>>;
using testing::ElementsAre;

constexpr absl::Duration kUnstated = absl::InfiniteDuration();
const absl::Time kNow =
    absl::FromCivil(absl::CivilSecond(2026, 11, 22, 17, 0, 0), absl::UTCTimeZone());

Quirks None() { return {}; }

TokenReply Read(int status, const std::string& body, const Quirks& quirks = {},
                Grant grant = Grant::kRefreshToken, Headers headers = {}) {
  net::HttpResult result;
  result.delivery = net::Delivery::kAnswered;
  result.reply.status = status;
  result.reply.body = base::Secret(body);
  result.reply.headers = std::move(headers);
  result.sent_at = base::BootTime{absl::Seconds(77)};
  return ReadTokenReply(result, {grant, quirks, kNow});
}

Quirks At(const std::string& access, const std::string& refresh = "",
          const std::string& expires = "", const std::string& refresh_expires = "") {
  Quirks quirks;
  quirks.set_access_token(access);
  quirks.set_refresh_token(refresh);
  quirks.set_expires_in(expires);
  quirks.set_refresh_expires_in(refresh_expires);
  return quirks;
}

Quirks Unit(Quirks::LifetimeUnit unit, Quirks quirks = {}) {
  quirks.set_lifetime_unit(unit);
  return quirks;
}

Quirks Separator(const std::string& separator) {
  Quirks quirks;
  quirks.set_scope_separator(separator);
  return quirks;
}

std::string Jwt(const std::string& claims) {
  return absl::StrCat(absl::WebSafeBase64Escape(R"({"alg":"none"})"), ".",
                      absl::WebSafeBase64Escape(claims), ".sig");
}

struct Granted {
  std::string name;
  std::string body;
  Quirks quirks = {};
  std::string access = "a";
  std::string refresh = "";
  absl::Duration expires_in = kUnstated;
  absl::Duration refresh_expires_in = kUnstated;
  std::string token_type = "";
  std::vector<std::string> scopes = {};
  Grant grant = Grant::kRefreshToken;
  Headers headers = {};
  int status = 200;
};

const std::string kIn1h = absl::StrCat(absl::ToUnixSeconds(kNow) + 3600);

std::vector<Granted> GrantedReplies() {
  const std::string jwt = Jwt(absl::StrCat(R"({"exp":)", kIn1h, "}"));
  return {
      {.name = "RFC 6749 section 5.1",
       .body = R"({"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"example",
                   "expires_in":3600,"refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA"})",
       .access = "2YotnFZFEjr1zCsicMWpAA",
       .refresh = "tGzv3JOkF0XG5Qx2TlKWIA",
       .expires_in = absl::Hours(1),
       .token_type = "Bearer"},
      {.name = "nothing but the token", .body = R"({"access_token":"a"})"},
      {.name = "201",
       .body = R"({"access_token":"a","expires_in":60})",
       .expires_in = absl::Minutes(1),
       .status = 201},
      {.name = "an empty refresh token is none",
       .body = R"({"access_token":"a","refresh_token":""})"},
      {.name = "so is null", .body = R"({"access_token":"a","refresh_token":null})"},
      {.name = "null is no lifetime", .body = R"({"access_token":"a","expires_in":null})"},
      {.name = "null is no error", .body = R"({"error":null,"access_token":"a"})"},
      {.name = "nor is an empty text", .body = R"({"error":"","access_token":"a"})"},
      {.name = "a number as text",
       .body = R"({"access_token":"a","expires_in":"3600"})",
       .expires_in = absl::Hours(1)},
      {.name = "a fraction",
       .body = R"({"access_token":"a","expires_in":1.5})",
       .expires_in = absl::Milliseconds(1500)},
      {.name = "exponents",
       .body = R"({"access_token":"a","expires_in":36e2})",
       .expires_in = absl::Hours(1)},
      {.name = "Dify: the same refresh token comes back",
       .body = R"({"access_token":"a","token_type":"Bearer","expires_in":43200,
                   "refresh_token":"old"})",
       .refresh = "old",
       .expires_in = absl::Hours(12),
       .token_type = "Bearer"},
      {.name = "Keycloak",
       .body = R"({"access_token":"a","expires_in":300,"refresh_expires_in":1800,
                   "refresh_token":"r","token_type":"Bearer","not-before-policy":0,
                   "session_state":"s","scope":"email profile"})",
       .refresh = "r",
       .expires_in = absl::Minutes(5),
       .refresh_expires_in = absl::Minutes(30),
       .token_type = "Bearer",
       .scopes = {"email", "profile"}},
      {.name = "Keycloak, offline: the refresh token does not expire",
       .body = R"({"access_token":"a","refresh_expires_in":0,"refresh_token":"r"})",
       .refresh = "r"},
      {.name = "GitHub App",
       .body = R"({"access_token":"a","expires_in":28800,"refresh_token":"r",
                   "refresh_token_expires_in":15897600,"scope":"","token_type":"bearer"})",
       .refresh = "r",
       .expires_in = absl::Hours(8),
       .refresh_expires_in = absl::Hours(24 * 184),
       .token_type = "Bearer"},
      {.name = "GitHub without Accept: a form",
       .body = "access_token=a&scope=repo%2Cgist&token_type=bearer",
       .quirks = Separator(","),
       .token_type = "Bearer",
       .scopes = {"repo", "gist"},
       .headers = {{"content-type", "application/x-www-form-urlencoded; charset=utf-8"}}},
      {.name = "a form with a lifetime",
       .body = "access_token=a%2Bb&expires_in=60",
       .access = "a+b",
       .expires_in = absl::Minutes(1),
       .headers = {{"content-type", "application/x-www-form-urlencoded"}}},
      {.name = "JSON that calls itself a form",
       .body = R"({"access_token":"a"})",
       .headers = {{"content-type", "application/x-www-form-urlencoded"}}},
      {.name = "JSON that calls itself text",
       .body = R"({"access_token":"a"})",
       .headers = {{"content-type", "text/html"}}},
      {.name = "Google",
       .body = R"({"access_token":"ya29.a0-_x","expires_in":3599,"token_type":"Bearer",
                   "scope":"https://www.googleapis.com/auth/drive openid"})",
       .access = "ya29.a0-_x",
       .expires_in = absl::Seconds(3599),
       .token_type = "Bearer",
       .scopes = {"https://www.googleapis.com/auth/drive", "openid"}},
      {.name = "Microsoft Entra",
       .body = R"({"token_type":"Bearer","scope":"User.Read","expires_in":4299,
                   "ext_expires_in":4299,"access_token":"a","refresh_token":"0.AX"})",
       .refresh = "0.AX",
       .expires_in = absl::Seconds(4299),
       .token_type = "Bearer",
       .scopes = {"User.Read"}},
      {.name = "Entra v1: everything is text",
       .body = R"({"token_type":"Bearer","expires_in":"3600","expires_on":"1795000000",
                   "resource":"https://r","access_token":"a","refresh_token":"r"})",
       .refresh = "r",
       .expires_in = absl::Hours(1),
       .token_type = "Bearer"},
      {.name = "Slack, login of a person: the bot's token is not the one",
       .body = R"({"ok":true,"access_token":"bot","refresh_token":"botr","expires_in":1,
                   "token_type":"bot","authed_user":{"access_token":"a","refresh_token":"r",
                   "expires_in":43200,"token_type":"user"}})",
       .quirks =
           At("/authed_user/access_token", "/authed_user/refresh_token", "/authed_user/expires_in"),
       .refresh = "r",
       .expires_in = absl::Hours(12),
       .token_type = "Bearer",
       .grant = Grant::kAuthorizationCode},
      {.name = "Slack, refresh of that: the usual place",
       .body = R"({"ok":true,"access_token":"a","refresh_token":"r","expires_in":43200})",
       .quirks =
           At("/authed_user/access_token", "/authed_user/refresh_token", "/authed_user/expires_in"),
       .refresh = "r",
       .expires_in = absl::Hours(12)},
      {.name = "a refresh may answer half here and half there",
       .body = R"({"access_token":"a","expires_in":60,"data":{"refreshToken":"new"}})",
       .quirks = At("/data/accessToken", "/data/refreshToken"),
       .refresh = "new",
       .expires_in = absl::Minutes(1)},
      {.name = "the other way round",
       .body = R"({"data":{"accessToken":"a"},"refresh_token":"new"})",
       .quirks = At("/data/accessToken", "/data/refreshToken"),
       .refresh = "new"},
      {.name = "with nothing in the place where it was to be",
       .body = R"({"access_token":"a","refresh_token":"new","data":{"refreshToken":""}})",
       .quirks = At("", "/data/refreshToken"),
       .refresh = "new"},
      {.name = "of two, the one in the stated place",
       .body = R"({"access_token":"a","refresh_token":"old","data":{"refreshToken":"new"}})",
       .quirks = At("", "/data/refreshToken"),
       .refresh = "new"},
      {.name = "seconds in the usual place are no Unix time",
       .body = R"({"access_token":"a","expires_in":60})",
       .quirks = Unit(Quirks::UNIX_TIME, At("", "", "/expires_at")),
       .expires_in = absl::Minutes(1)},
      {.name = "nor a date",
       .body = R"({"access_token":"a","expires_in":"60"})",
       .quirks = Unit(Quirks::ISO8601, At("", "", "/expires_at")),
       .expires_in = absl::Minutes(1)},
      {.name = "camel case in data",
       .body = R"({"code":0,"data":{"accessToken":"a","refreshToken":"r","expireIn":7200}})",
       .quirks = At("/data/accessToken", "/data/refreshToken", "/data/expireIn"),
       .refresh = "r",
       .expires_in = absl::Hours(2)},
      {.name = "a list",
       .body = R"({"tokens":[{"t":"a"},{"t":"b"}]})",
       .quirks = At("/tokens/0/t")},
      {.name = "names with slashes", .body = R"({"a/b":{"~":"a"}})", .quirks = At("/a~1b/~0")},
      {.name = "Salesforce states no lifetime",
       .body = R"({"access_token":"00D!AQ","signature":"s","scope":"api refresh_token",
                   "instance_url":"https://x.my.salesforce.com","id":"i","token_type":"Bearer",
                   "issued_at":"1606938000000"})",
       .access = "00D!AQ",
       .token_type = "Bearer",
       .scopes = {"api", "refresh_token"}},
      {.name = "Zoho, of old: milliseconds beside seconds",
       .body = R"({"access_token":"a","expires_in_sec":3600,"expires_in":3600000,
                   "api_domain":"https://www.zohoapis.com","token_type":"Bearer"})",
       .quirks = At("", "", "/expires_in_sec"),
       .expires_in = absl::Hours(1),
       .token_type = "Bearer"},
      {.name = "milliseconds",
       .body = R"({"access_token":"a","expires_in":3600000})",
       .quirks = Unit(Quirks::MILLISECONDS),
       .expires_in = absl::Hours(1)},
      {.name = "a moment, ISO 8601",
       .body = R"({"access_token":"a","e":"2026-11-22T18:00:00Z"})",
       .quirks = Unit(Quirks::ISO8601, At("", "", "/e")),
       .expires_in = absl::Hours(1)},
      {.name = "with offset and fraction",
       .body = R"({"access_token":"a","e":"2026-11-22T19:30:00.500+01:30"})",
       .quirks = Unit(Quirks::ISO8601, At("", "", "/e")),
       .expires_in = absl::Hours(1) + absl::Milliseconds(500)},
      {.name = "without zone, with a space",
       .body = R"({"access_token":"a","e":"2026-11-22 18:00:00"})",
       .quirks = Unit(Quirks::ISO8601, At("", "", "/e")),
       .expires_in = absl::Hours(1)},
      {.name = "by the server's clock, which is an hour ahead",
       .body = R"({"access_token":"a","e":"2026-11-22T19:00:00Z"})",
       .quirks = Unit(Quirks::ISO8601, At("", "", "/e")),
       .expires_in = absl::Hours(1),
       .headers = {{"date", "Sun, 22 Nov 2026 18:00:00 GMT"}}},
      {.name = "in the past",
       .body = R"({"access_token":"a","e":"2026-11-22T16:00:00Z"})",
       .quirks = Unit(Quirks::ISO8601, At("", "", "/e")),
       .expires_in = absl::ZeroDuration()},
      {.name = "hh:mm:ss",
       .body = R"({"access_token":"a","expires_in":"01:30:00"})",
       .quirks = Unit(Quirks::HH_MM_SS),
       .expires_in = absl::Minutes(90)},
      {.name = "days before it",
       .body = R"({"access_token":"a","expires_in":"1.00:00:30.5"})",
       .quirks = Unit(Quirks::HH_MM_SS),
       .expires_in = absl::Hours(24) + absl::Milliseconds(30500)},
      {.name = "a Unix time",
       .body = absl::StrCat(R"({"access_token":"a","expires_at":)", kIn1h, "}"),
       .quirks = Unit(Quirks::UNIX_TIME, At("", "", "/expires_at")),
       .expires_in = absl::Hours(1)},
      {.name = "a Unix time in milliseconds, as text",
       .body = absl::StrCat(R"({"access_token":"a","expires_at":")", kIn1h, R"(000"})"),
       .quirks = Unit(Quirks::UNIX_TIME, At("", "", "/expires_at")),
       .expires_in = absl::Hours(1)},
      {.name = "the token's own exp",
       .body = absl::StrCat(R"({"access_token":")", jwt, "\"}"),
       .quirks = Unit(Quirks::JWT_EXP),
       .access = jwt,
       .expires_in = absl::Hours(1)},
      {.name = "which counts and not what else is said",
       .body = absl::StrCat(R"({"access_token":")", jwt, R"(","expires_in":5})"),
       .quirks = Unit(Quirks::JWT_EXP),
       .access = jwt,
       .expires_in = absl::Hours(1)},
      {.name = "an opaque token has none",
       .body = R"({"access_token":"a.b.c","expires_in":5})",
       .quirks = Unit(Quirks::JWT_EXP),
       .access = "a.b.c"},
      {.name = "fixed: what is said is wrong",
       .body = R"({"access_token":"a","expires_in":5})",
       .quirks = Unit(Quirks::FIXED)},
      {.name = "fixed, but the refresh token's lifetime holds",
       .body = R"({"access_token":"a","expires_in":5,"refresh_expires_in":60})",
       .quirks = Unit(Quirks::FIXED),
       .refresh_expires_in = absl::Minutes(1)},
      {.name = "lifetimes in pointers of both",
       .body = R"({"access_token":"a","refresh_token":"r","x":{"e":60,"re":120}})",
       .quirks = At("", "", "/x/e", "/x/re"),
       .refresh = "r",
       .expires_in = absl::Minutes(1),
       .refresh_expires_in = absl::Minutes(2)},
      {.name = "a refresh token's seconds beside a Unix time",
       .body = absl::StrCat(R"({"access_token":"a","refresh_expires_in":1800,"expires_at":)", kIn1h,
                            "}"),
       .quirks = Unit(Quirks::UNIX_TIME, At("", "", "/expires_at")),
       .expires_in = absl::Hours(1),
       .refresh_expires_in = absl::Minutes(30)},
      {.name = "both as Unix times",
       .body = absl::StrCat(R"({"access_token":"a","x":)", kIn1h, R"(,"expires_at":)", kIn1h, "}"),
       .quirks = Unit(Quirks::UNIX_TIME, At("", "", "/expires_at", "/x")),
       .expires_in = absl::Hours(1),
       .refresh_expires_in = absl::Hours(1)},
      {.name = "seconds beside milliseconds",
       .body = R"({"access_token":"a","expires_in":3600000,"refresh_expires_in":86400})",
       .quirks = Unit(Quirks::MILLISECONDS),
       .expires_in = absl::Hours(1),
       .refresh_expires_in = absl::Hours(24)},
      {.name = "both in milliseconds",
       .body = R"({"access_token":"a","expires_in":3600000,"refresh_expires_in":2592000000})",
       .quirks = Unit(Quirks::MILLISECONDS),
       .expires_in = absl::Hours(1),
       .refresh_expires_in = absl::Hours(24 * 30)},
      {.name = "seconds beside hh:mm:ss, as text",
       .body = R"({"access_token":"a","expires_in":"01:00:00","refresh_expires_in":"1800"})",
       .quirks = Unit(Quirks::HH_MM_SS),
       .expires_in = absl::Hours(1),
       .refresh_expires_in = absl::Minutes(30)},
      {.name = "both as hh:mm:ss",
       .body = R"({"access_token":"a","expires_in":"01:00:00","refresh_expires_in":"02:00:00"})",
       .quirks = Unit(Quirks::HH_MM_SS),
       .expires_in = absl::Hours(1),
       .refresh_expires_in = absl::Hours(2)},
      {.name = "scopes as an array",
       .body = R"({"access_token":"a","scope":["read","write",7]})",
       .scopes = {"read", "write"}},
      {.name = "scopes under another name",
       .body = R"({"access_token":"a","scopes":["read"]})",
       .scopes = {"read"}},
      {.name = "scopes with commas and spaces",
       .body = R"({"access_token":"a","scope":"a, b,c"})",
       .quirks = Separator(","),
       .scopes = {"a", "b", "c"}},
      {.name = "a comma may be part of a scope",
       .body = R"({"access_token":"a","scope":"x,y z"})",
       .scopes = {"x,y", "z"}},
      {.name = "DPoP", .body = R"({"access_token":"a","token_type":"dpop"})", .token_type = "DPoP"},
      {.name = "Slack's word for bearer",
       .body = R"({"access_token":"a","token_type":"bot"})",
       .token_type = "Bearer"},
      {.name = "the type is no text", .body = R"({"access_token":"a","token_type":7})"},
      {.name = "members twice: the last", .body = R"({"access_token":"b","access_token":"a"})"},
      {.name = "unknown members of any kind",
       .body = R"({"x":{"y":[1,null,{}]},"access_token":"a","z":1e300})"},
      {.name = "an error beside a token",
       .body = R"({"access_token":"a","error":"invalid_scope"})"},
      {.name = "an id token is none of our business",
       .body = R"({"access_token":"a","id_token":"x y z"})"},
  };
}

TEST(TokenReply, GrantedRepliesAreRead) {
  const std::vector<Granted> replies = GrantedReplies();
  EXPECT_GE(replies.size(), 40U);
  for (const Granted& c : replies) {
    const TokenReply reply = Read(c.status, c.body, c.quirks, c.grant, c.headers);
    EXPECT_EQ(reply.outcome, Outcome::kGranted) << c.name;
    EXPECT_EQ(reply.cause, "") << c.name;
    EXPECT_EQ(reply.http_status, c.status) << c.name;
    EXPECT_EQ(reply.access_token.Reveal(), c.access) << c.name;
    EXPECT_EQ(reply.refresh_token.Reveal(), c.refresh) << c.name;
    EXPECT_EQ(reply.expires_in, c.expires_in) << c.name;
    EXPECT_EQ(reply.refresh_expires_in, c.refresh_expires_in) << c.name;
    EXPECT_EQ(reply.token_type, c.token_type) << c.name;
    EXPECT_EQ(reply.scopes, c.scopes) << c.name;
    EXPECT_EQ(reply.sent_at.since_boot, absl::Seconds(77)) << c.name;
  }
}

Quirks Error(const std::string& pointer, const std::string& equals, const std::string& means) {
  Quirks quirks;
  auto* error = quirks.add_errors();
  error->set_pointer(pointer);
  error->set_equals(equals);
  error->set_means(means);
  return quirks;
}

struct Refused {
  int status;
  std::string body;
  Outcome outcome;
  std::string cause;
  Quirks quirks = {};
  Grant grant = Grant::kRefreshToken;
};

void Expect(const Refused& c) {
  const TokenReply reply = Read(c.status, c.body, c.quirks, c.grant);
  const std::string what = absl::StrCat(c.status, " ", c.body.substr(0, 80));
  EXPECT_EQ(reply.outcome, c.outcome) << what;
  EXPECT_EQ(reply.cause, c.cause) << what;
  EXPECT_EQ(reply.http_status, c.status) << what;
  EXPECT_EQ(reply.sent_at.since_boot, absl::Seconds(77)) << what;
  EXPECT_TRUE(reply.access_token.empty()) << what;
  EXPECT_TRUE(reply.refresh_token.empty()) << what;
}

TEST(TokenReply, ErrorsOfTheStandards) {
  const Refused cases[] = {
      {400, R"({"error":"invalid_grant"})", Outcome::kInvalidGrant, "invalid_grant"},
      {401, R"({"error":"invalid_grant"})", Outcome::kInvalidGrant, "invalid_grant"},
      {403, R"({"error":"invalid_grant","error_description":"<script>"})", Outcome::kInvalidGrant,
       "invalid_grant"},
      {400, R"({"error":"interaction_required"})", Outcome::kInvalidGrant, "interaction_required"},
      {400, R"({"error":"consent_required"})", Outcome::kInvalidGrant, "consent_required"},
      {400, R"({"error":"login_required"})", Outcome::kInvalidGrant, "login_required"},
      {401, R"({"error":"invalid_client"})", Outcome::kClientRefused, "invalid_client"},
      {400, R"({"error":"unauthorized_client"})", Outcome::kClientRefused, "unauthorized_client"},
      {400, R"({"error":"invalid_scope"})", Outcome::kClientRefused, "invalid_scope"},
      {400, R"({"error":"unsupported_grant_type"})", Outcome::kClientRefused,
       "unsupported_grant_type"},
      {400, R"({"error":"invalid_request"})", Outcome::kClientRefused, "invalid_request"},
      {400, R"({"error":"invalid_target"})", Outcome::kClientRefused, "invalid_target"},
      {400, R"({"error":"invalid_dpop_proof"})", Outcome::kClientRefused, "invalid_dpop_proof"},
      {400, R"({"error":"use_dpop_nonce"})", Outcome::kTransient, "use_dpop_nonce"},
      {400, R"({"error":"temporarily_unavailable"})", Outcome::kTransient,
       "temporarily_unavailable"},
      {503, R"({"error":"temporarily_unavailable"})", Outcome::kTransient,
       "temporarily_unavailable"},
      {400, R"({"error":"slow_down"})", Outcome::kTransient, "slow_down"},
      // It failed; nobody says when.
      {400, R"({"error":"server_error"})", Outcome::kUnknown, "server_error"},
      // A person must come back.
      {400, R"({"error":"access_denied"})", Outcome::kInvalidGrant, "access_denied"},
      {400, R"({"error":"expired_token"})", Outcome::kInvalidGrant, "expired_token"},
      // Who is not let in with 401 is the client: as Auth0 says of a wrong secret.
      {401, R"({"error":"access_denied"})", Outcome::kClientRefused, "access_denied"},
      {400, R"({"reason":7})", Outcome::kInvalidGrant, "access_denied",
       Error("/reason", "7", "access_denied")},
      {400, R"({"error":"access_denied"})", Outcome::kDenied, "access_denied", None(),
       Grant::kClientCredentials},
      {400, R"({"error":"authorization_pending"})", Outcome::kPending, "authorization_pending",
       None(), Grant::kDeviceCode},
      {400, R"({"error":"slow_down"})", Outcome::kPending, "slow_down", None(), Grant::kDeviceCode},
      {429, R"({"error":"slow_down"})", Outcome::kPending, "slow_down", None(), Grant::kDeviceCode},
      {429, R"({"error":"slow_down"})", Outcome::kTransient, "http_429"},
      {400, R"({"error":"expired_token"})", Outcome::kDenied, "expired_token", None(),
       Grant::kDeviceCode},
      {403, R"({"error":"access_denied"})", Outcome::kDenied, "access_denied", None(),
       Grant::kDeviceCode},
  };
  for (const Refused& c : cases) Expect(c);
}

TEST(TokenReply, ErrorsAsServicesSayThem) {
  const Refused cases[] = {
      // Google
      {400, R"({"error":"invalid_grant","error_description":"Token has been expired or revoked."})",
       Outcome::kInvalidGrant, "invalid_grant"},
      {401, R"({"error":"deleted_client","error_description":"The OAuth client was deleted."})",
       Outcome::kClientRefused, "invalid_client"},
      {428, R"({"error":"authorization_pending","error_description":"Precondition Required"})",
       Outcome::kPending, "authorization_pending", None(), Grant::kDeviceCode},
      {403, R"({"error":"rate_limit_exceeded"})", Outcome::kTransient, "rate_limit_exceeded"},
      {403, R"({"error":{"code":403,"message":"disabled","status":"PERMISSION_DENIED"}})",
       Outcome::kAmbiguous, "http_403"},
      // Microsoft Entra
      {400, R"({"error":"invalid_grant","error_description":"AADSTS70008","error_codes":[70008],
               "timestamp":"t","trace_id":"i","correlation_id":"c","suberror":"bad_token"})",
       Outcome::kInvalidGrant, "invalid_grant"},
      {401, R"({"error":"invalid_client","error_codes":[7000222]})", Outcome::kClientRefused,
       "invalid_client"},
      {400, R"({"error":"invalid_grant","error_codes":[50196]})", Outcome::kTransient,
       "temporarily_unavailable", Error("/error_codes/0", "50196", "temporarily_unavailable")},
      {400, R"({"error":"authorization_declined"})", Outcome::kDenied, "access_denied", None(),
       Grant::kDeviceCode},
      // GitHub: 200 for everything
      {200, R"({"error":"bad_refresh_token","error_description":"d","error_uri":"u"})",
       Outcome::kInvalidGrant, "invalid_grant"},
      {200, R"({"error":"incorrect_client_credentials"})", Outcome::kClientRefused,
       "invalid_client"},
      {200, R"({"error":"bad_verification_code"})", Outcome::kInvalidGrant, "invalid_grant", None(),
       Grant::kAuthorizationCode},
      {200, R"({"error":"authorization_pending"})", Outcome::kPending, "authorization_pending",
       None(), Grant::kDeviceCode},
      {200, R"({"error":"slow_down","interval":10})", Outcome::kPending, "slow_down", None(),
       Grant::kDeviceCode},
      {200, R"({"error":"device_flow_disabled"})", Outcome::kClientRefused, "unauthorized_client",
       None(), Grant::kDeviceCode},
      // Slack
      {200, R"({"ok":false,"error":"invalid_refresh_token"})", Outcome::kInvalidGrant,
       "invalid_grant"},
      {200, R"({"ok":false,"error":"bad_client_secret"})", Outcome::kClientRefused,
       "invalid_client"},
      {200, R"({"ok":false,"error":"token_revoked"})", Outcome::kInvalidGrant, "invalid_grant",
       Error("/error", "token_revoked", "invalid_grant")},
      {200, R"({"ok":false,"error":"something_new"})", Outcome::kTransient,
       "temporarily_unavailable", Error("/ok", "false", "temporarily_unavailable")},
      {200, R"({"ok":false,"error":"ratelimited"})", Outcome::kTransient, "rate_limit_exceeded"},
      // Salesforce
      {400, R"({"error":"invalid_grant","error_description":"expired access/refresh token"})",
       Outcome::kInvalidGrant, "invalid_grant"},
      {400, R"({"error":"invalid_client_id","error_description":"client identifier invalid"})",
       Outcome::kClientRefused, "invalid_client"},
      {400, R"([{"message":"m","errorCode":"INVALID_SESSION_ID"}])", Outcome::kAmbiguous,
       "http_400"},
      // Zoho
      {200, R"({"error":"invalid_code"})", Outcome::kInvalidGrant, "invalid_grant"},
      {400, R"({"error":"Access Denied","status":"failure"})", Outcome::kAmbiguous, "http_400"},
      // Dify
      {400, R"({"code":"bad_request","message":"invalid refresh token","status":400})",
       Outcome::kAmbiguous, "http_400"},
      {400, R"({"code":"bad_request","message":"invalid refresh token","status":400})",
       Outcome::kInvalidGrant, "invalid_grant",
       Error("/message", "invalid refresh token", "invalid_grant")},
      {404, R"({"code":"not_found","message":"client_id is invalid","status":404})",
       Outcome::kClientRefused, "invalid_client", Error("/status", "404", "invalid_client")},
      // HubSpot, Atlassian, Anthropic, One API
      {400, R"({"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"})",
       Outcome::kInvalidGrant, "invalid_grant",
       Error("/status", "BAD_REFRESH_TOKEN", "invalid_grant")},
      {403, R"({"error":"unauthorized_client","error_description":"refresh_token is invalid"})",
       Outcome::kInvalidGrant, "invalid_grant",
       Error("/error_description", "refresh_token is invalid", "invalid_grant")},
      {401, R"({"type":"error","error":{"type":"authentication_error"}})", Outcome::kClientRefused,
       "invalid_client", Error("/error/type", "authentication_error", "invalid_client")},
      {200, R"({"success":false,"message":"no"})", Outcome::kInvalidGrant, "invalid_grant",
       Error("/success", "false", "invalid_grant")},
      // A quirk counts at whatever status, and over what looks like a token.
      {500, R"({"error":"invalid_grant"})", Outcome::kInvalidGrant, "invalid_grant",
       Error("/error", "invalid_grant", "invalid_grant")},
      {200, R"({"ok":false,"access_token":"a"})", Outcome::kTransient, "temporarily_unavailable",
       Error("/ok", "false", "temporarily_unavailable")},
      {400, R"({"reason":7})", Outcome::kPending, "authorization_pending",
       Error("/reason", "7", "authorization_pending")},
  };
  for (const Refused& c : cases) Expect(c);
}

TEST(TokenReply, WhatIsNoAnswerOfAnAuthorizationServer) {
  const std::string deep = std::string(200, '[') + std::string(200, ']');
  const std::string page =
      "<!DOCTYPE html><html><body>Request blocked. invalid_grant</body></html>";
  const Refused cases[] = {
      {429, R"({"error":"invalid_grant"})", Outcome::kTransient, "http_429"},
      {429, page, Outcome::kTransient, "http_429"},
      {429, "", Outcome::kTransient, "http_429"},
      // Not what an OAuth server says: never a reason to give a grant up.
      {400, "", Outcome::kAmbiguous, "http_400"},
      {400, "invalid_grant", Outcome::kAmbiguous, "http_400"},
      {403, page, Outcome::kAmbiguous, "http_403"},
      {401, R"({"message":"invalid_grant"})", Outcome::kAmbiguous, "http_401"},
      {400, R"({"error":{"code":"invalid_grant"}})", Outcome::kAmbiguous, "http_400"},
      {400, R"({"error":"INVALID_GRANT"})", Outcome::kAmbiguous, "http_400"},
      {400, R"({"error":"invalid_grant "})", Outcome::kAmbiguous, "http_400"},
      {400, R"({"error":"invalid_token"})", Outcome::kAmbiguous, "http_400"},
      {400, R"(["invalid_grant"])", Outcome::kAmbiguous, "http_400"},
      {404, deep, Outcome::kAmbiguous, "http_404"},
      {407, page, Outcome::kAmbiguous, "http_407"},
      // Sent elsewhere before anything was done, by a proxy or a login page.
      {301, "", Outcome::kAmbiguous, "http_301"},
      {302, page, Outcome::kAmbiguous, "http_302"},
      {307, "", Outcome::kAmbiguous, "http_307"},
      {308, "", Outcome::kAmbiguous, "http_308"},
      // Done, and the result is elsewhere.
      {303, "", Outcome::kUnknown, "http_303"},
      {101, "", Outcome::kUnknown, "http_101"},
      // The server may have done its work before it failed to say so.
      {408, "", Outcome::kUnknown, "http_408"},
      {500, R"({"error":"server_error"})", Outcome::kUnknown, "http_500"},
      {500, R"({"error":"invalid_grant"})", Outcome::kUnknown, "http_500"},
      {500, R"({"access_token":"a","refresh_token":"r"})", Outcome::kUnknown, "http_500"},
      {502, page, Outcome::kUnknown, "http_502"},
      {503, "", Outcome::kUnknown, "http_503"},
      {503, R"({"error":"invalid_grant"})", Outcome::kUnknown, "http_503"},
      {504, page, Outcome::kUnknown, "http_504"},
      {520, page, Outcome::kUnknown, "http_520"},
      {400, R"({"access_token":"a","refresh_token":"r"})", Outcome::kUnknown, "http_400"},
      {302, R"({"access_token":"a"})", Outcome::kUnknown, "http_302"},
  };
  for (const Refused& c : cases) Expect(c);
}

// A 2xx that cannot be read may have rotated the refresh token.
TEST(TokenReply, UnreadableSuccessIsNoFailure) {
  const std::string bodies[] = {
      "",
      "<html>hello</html>",
      "{}",
      "[]",
      "null",
      "\"a\"",
      R"({"access_token":"a")",
      R"({"access_token":""})",
      R"({"access_token":null})",
      R"({"access_token":5})",
      R"({"access_token":["a"]})",
      R"({"access_token":{"value":"a"}})",
      R"({"access_token":"a b"})",
      R"({"access_token":" a"})",
      R"({"access_token":"a\r\nX-Evil: 1"})",
      R"({"access_token":"a\u0000b"})",
      R"({"access_token":"a\u007f"})",
      R"({"access_token":"ä"})",
      "{\"access_token\":\"\xff\"}",
      R"({"access_token":"a","refresh_token":"r r"})",
      R"({"access_token":"a","refresh_token":7})",
      R"({"access_token":"a","expires_in":NaN})",
      R"({"access_token":"a","expires_in":1e999})",
      R"({"refresh_token":"r"})",
      R"({"error":"something_new"})",
      R"({"data":{"access_token":"a"}})",
      absl::StrCat(R"({"access_token":")", std::string(70'000, 'x'), R"("})"),
      std::string(200, '[') + std::string(200, ']'),
      absl::StrCat(R"({"access_token":"a","x":)", std::string(40, '['), std::string(40, ']'), "}"),
      "access_token=a",
  };
  for (const std::string& body : bodies) {
    Expect({200, body, Outcome::kUnknown, "unreadable_reply"});
  }
  Expect({204, "", Outcome::kUnknown, "unreadable_reply"});
  // Where nothing was said about a refresh, the usual place is not where the token is.
  Expect({200, R"({"access_token":"bot"})", Outcome::kUnknown, "unreadable_reply",
          At("/authed_user/access_token"), Grant::kAuthorizationCode});
}

TEST(TokenReply, BrokenFormsAreUnreadable) {
  for (const char* body : {"access_token=%4", "access_token=%zz", "access_token=%+1",
                           "access_token", "a=1&access_token"}) {
    EXPECT_EQ(Read(200, body, {}, Grant::kRefreshToken,
                   {{"content-type", "application/x-www-form-urlencoded"}})
                  .outcome,
              Outcome::kUnknown)
        << body;
  }
  std::string many = "access_token=a";
  for (int i = 0; i < 100; ++i) many += "&x=y";
  EXPECT_EQ(Read(200, many, {}, Grant::kRefreshToken,
                 {{"content-type", "application/x-www-form-urlencoded"}})
                .outcome,
            Outcome::kUnknown);
}

TEST(TokenReply, LifetimesThatMakeNoSenseCountAsUnstated) {
  const auto lifetime = [](const std::string& value) {
    return Read(200, absl::StrCat(R"({"access_token":"a","expires_in":)", value, "}")).expires_in;
  };
  EXPECT_EQ(lifetime("1e300"), absl::Hours(24 * 366));
  EXPECT_EQ(lifetime("18446744073709551615"), absl::Hours(24 * 366));
  EXPECT_EQ(lifetime("123456789012345678901234567890"), absl::Hours(24 * 366));
  for (const char* senseless :
       {"null", "\"soon\"", "\"nan\"", "\"inf\"", "\"\"", "true", "[60]", "{}"}) {
    EXPECT_EQ(lifetime(senseless), kUnstated) << senseless;
  }
}

// As servers say that repeat an answer within their leeway.
TEST(TokenReply, ATokenThatHasEndedHasNoLifetime) {
  const auto lifetime = [](const std::string& value, v1::OAuthQuirks::LifetimeUnit unit) {
    v1::OAuthQuirks quirks;
    quirks.set_lifetime_unit(unit);
    return Read(200, absl::StrCat(R"({"access_token":"a","expires_in":)", value, "}"), quirks)
        .expires_in;
  };
  EXPECT_EQ(lifetime("0", v1::OAuthQuirks::SECONDS), absl::ZeroDuration());
  EXPECT_EQ(lifetime("\"0\"", v1::OAuthQuirks::SECONDS), absl::ZeroDuration());
  EXPECT_EQ(lifetime("1000000000", v1::OAuthQuirks::UNIX_TIME), absl::ZeroDuration());
  EXPECT_EQ(lifetime("\"2001-09-09T01:46:40Z\"", v1::OAuthQuirks::ISO8601), absl::ZeroDuration());
  EXPECT_EQ(lifetime("\"00:00:00\"", v1::OAuthQuirks::HH_MM_SS), absl::ZeroDuration());
  for (const char* before : {"-5", "\"-5\"", "-0.5", "-1e300"}) {
    EXPECT_EQ(lifetime(before, v1::OAuthQuirks::SECONDS), absl::ZeroDuration()) << before;
    EXPECT_EQ(lifetime(before, v1::OAuthQuirks::MILLISECONDS), absl::ZeroDuration()) << before;
    EXPECT_EQ(lifetime(before, v1::OAuthQuirks::UNIX_TIME), absl::ZeroDuration()) << before;
  }
}

// RFC 6749 section 7.1: what nobody here knows how to use is not handed out.
TEST(TokenReply, TokensOfATypeThatCannotBePresentedAreRefused) {
  for (const char* type : {"mac", "MAC", "N_A", "n_a", "pop"}) {
    const std::string body = absl::StrCat(R"({"access_token":"a","token_type":")", type, "\"}");
    for (const Grant grant : {Grant::kClientCredentials, Grant::kAuthorizationCode,
                              Grant::kJwtBearer, Grant::kTokenExchange}) {
      Expect({200, body, Outcome::kClientRefused, "unsupported_token_type", None(), grant});
    }
    // The refresh token that was sent may be spent: not a reply after which nothing happened.
    Expect({200, body, Outcome::kUnknown, "unsupported_token_type"});
  }
}

TEST(TokenReply, ScopesAreBounded) {
  std::string many = "s";
  for (int i = 0; i < 1000; ++i) many += " s";
  EXPECT_EQ(Read(200, absl::StrCat(R"({"access_token":"a","scope":")", many, "\"}")).scopes.size(),
            256U);
  EXPECT_THAT(Read(200, absl::StrCat(R"({"access_token":"a","scope":"ok )", std::string(600, 'x'),
                                     R"( \u0007 fine"})"))
                  .scopes,
              ElementsAre("ok", "fine"));
}

TEST(TokenReply, RetryAfterIsBounded) {
  const auto wait = [](const std::string& header, const std::string& body = "") {
    return Read(429, body, {}, Grant::kRefreshToken, {{"retry-after", header}}).retry_after;
  };
  EXPECT_EQ(wait("7"), absl::Seconds(7));
  EXPECT_EQ(wait("1.5"), absl::Milliseconds(1500));
  EXPECT_EQ(wait("999999999"), absl::Hours(1));
  EXPECT_EQ(wait("1e308"), absl::Hours(1));
  EXPECT_EQ(wait("-7"), absl::ZeroDuration());
  EXPECT_EQ(wait("tomorrow"), absl::ZeroDuration());
  EXPECT_EQ(wait("Sun, 22 Nov 2026 17:00:30 GMT"), absl::Seconds(30));
  EXPECT_EQ(wait("Sunday, 22-Nov-26 17:00:30 GMT"), absl::Seconds(30));
  EXPECT_EQ(wait("Sun Nov 22 17:00:30 2026"), absl::Seconds(30));
  EXPECT_EQ(wait("Sun, 22 Nov 2026 16:00:00 GMT"), absl::ZeroDuration());
  EXPECT_EQ(wait("Sun, 22 Nov 2099 16:00:00 GMT"), absl::Hours(1));
  EXPECT_EQ(wait("", R"({"retry_after":9})"), absl::Seconds(9));
  EXPECT_EQ(wait("", R"({"error":"rate_limit_exceeded","retry_after":"60"})"), absl::Minutes(1));
  EXPECT_EQ(wait("", R"({"retry_after":-9})"), absl::ZeroDuration());
  EXPECT_EQ(wait("", R"({"retry_after":1e300})"), absl::Hours(1));
  EXPECT_EQ(wait("3", R"({"retry_after":9})"), absl::Seconds(3)) << "the header comes first";
}

TEST(TokenReply, ADateIsReadByTheServersClock) {
  EXPECT_EQ(Read(503, "", {}, Grant::kRefreshToken,
                 {{"date", "Sun, 22 Nov 2026 18:00:00 GMT"},
                  {"retry-after", "Sun, 22 Nov 2026 18:00:20 GMT"}})
                .retry_after,
            absl::Seconds(20));
}

TEST(TokenReply, SlowDownIsFiveSecondsAtLeast) {
  const std::string body = R"({"error":"slow_down"})";
  EXPECT_EQ(Read(400, body, {}, Grant::kDeviceCode).retry_after, absl::Seconds(5));
  EXPECT_EQ(Read(400, body, {}, Grant::kDeviceCode, {{"retry-after", "9"}}).retry_after,
            absl::Seconds(9));
}

TEST(TokenReply, ARequestThatNeverLeftHadNoEffectAndOneThatDidMayHave) {
  net::HttpResult result;
  result.delivery = net::Delivery::kNotSent;
  result.cause = "dns";
  EXPECT_EQ(ReadTokenReply(result, {}).outcome, Outcome::kTransient);
  EXPECT_EQ(ReadTokenReply(result, {}).cause, "dns");
  result.delivery = net::Delivery::kUnknown;
  result.cause = "timeout";
  EXPECT_EQ(ReadTokenReply(result, {}).outcome, Outcome::kUnknown);
  EXPECT_EQ(ReadTokenReply(result, {}).cause, "timeout");
}

}  // namespace
}  // namespace keyturn::providers
