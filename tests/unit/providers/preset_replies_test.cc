// SPDX-License-Identifier: Apache-2.0
// Replies in the shape of each service, read by the quirks of its preset: a granted one, and those
// that decide whether a person is asked to consent again.
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "agent/providers/oauth/token_reply.h"
#include "agent/providers/presets.h"

namespace keyturn::providers {
namespace {

using Outcome = TokenOutcome;

constexpr absl::Duration kUnstated = absl::InfiniteDuration();

const v1::OAuthQuirks& QuirksOf(const std::string& preset) {
  static const auto* presets = [] {
    auto loaded = Presets::Load({absl::StrCat(KEYTURN_SOURCE_DIR, "/agent/providers/presets")});
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return new Presets(loaded.ok() ? *std::move(loaded) : Presets());
  }();
  static const v1::OAuthQuirks kNone;
  const Preset* found = presets->Find(preset);
  EXPECT_NE(found, nullptr) << preset;
  return found == nullptr ? kNone : found->spec.oauth().quirks();
}

TokenReply Read(const std::string& preset, Grant grant, int status, const std::string& body) {
  net::HttpResult result;
  result.delivery = net::Delivery::kAnswered;
  result.reply.status = status;
  result.reply.body = base::Secret(body);
  TokenQuestion question;
  question.grant = grant;
  question.quirks = QuirksOf(preset);
  question.now = absl::FromUnixSeconds(1'700'000'000);
  return ReadTokenReply(result, question);
}

TEST(PresetReplies, Granted) {
  struct Case {
    std::string preset;
    std::string body;
    std::string refresh_token;
    absl::Duration expires_in;
    absl::Duration refresh_expires_in = kUnstated;
  };
  const Case cases[] = {
      {"dify",
       R"({"access_token":"at","token_type":"Bearer","expires_in":43200,"refresh_token":"rt"})",
       "rt", absl::Hours(12)},
      {"google",
       R"({"access_token":"at","expires_in":3599,"scope":"openid","token_type":"Bearer"})", "",
       absl::Seconds(3599)},
      {"microsoft-entra",
       R"({"token_type":"Bearer","scope":"User.Read","expires_in":4713,"ext_expires_in":4713,
           "access_token":"at","refresh_token":"rt"})",
       "rt", absl::Seconds(4713)},
      {"github-app-user",
       R"({"access_token":"at","expires_in":28800,"refresh_token":"rt",
           "refresh_token_expires_in":15897600,"scope":"","token_type":"bearer"})",
       "rt", absl::Hours(8), absl::Seconds(15897600)},
      {"gitlab",
       R"({"access_token":"at","token_type":"Bearer","expires_in":7200,"refresh_token":"rt",
           "scope":"read_user","created_at":1607635748})",
       "rt", absl::Hours(2)},
      {"slack",
       R"({"ok":true,"app_id":"A0","access_token":"at","expires_in":43200,"refresh_token":"rt",
           "token_type":"bot","scope":"commands,chat:write","authed_user":{"id":"U0"}})",
       "rt", absl::Hours(12)},
      {"salesforce",
       R"({"access_token":"at","signature":"s","scope":"api","instance_url":"https://x",
           "id":"https://x/id","token_type":"Bearer","issued_at":"1700000000000"})",
       "", kUnstated},
      {"hubspot",
       R"({"token_type":"bearer","refresh_token":"rt","access_token":"at","expires_in":1800})",
       "rt", absl::Minutes(30)},
      {"zoho",
       R"({"access_token":"at","expires_in":3600,"api_domain":"https://www.zohoapis.com",
           "token_type":"Bearer"})",
       "", absl::Hours(1)},
      {"atlassian",
       R"({"access_token":"at","expires_in":3600,"token_type":"Bearer","refresh_token":"rt",
           "scope":"offline_access read:me"})",
       "rt", absl::Hours(1)},
      {"notion",
       R"({"access_token":"at","token_type":"bearer","refresh_token":"rt","bot_id":"b",
           "workspace_id":"w","owner":{"type":"user"}})",
       "rt", kUnstated},
      {"okta",
       R"({"token_type":"Bearer","expires_in":3600,"access_token":"at","scope":"openid",
           "refresh_token":"rt","id_token":"e30.e30.e30"})",
       "rt", absl::Hours(1)},
      {"auth0", R"({"access_token":"at","id_token":"x","scope":"openid","expires_in":86400,
           "token_type":"Bearer"})",
       "", absl::Hours(24)},
      {"keycloak",
       R"({"access_token":"at","expires_in":300,"refresh_expires_in":1800,"refresh_token":"rt",
           "token_type":"Bearer","not-before-policy":0,"session_state":"s","scope":"profile"})",
       "rt", absl::Minutes(5), absl::Minutes(30)},
      {"anthropic-workload-identity",
       R"({"access_token":"at","token_type":"Bearer","expires_in":3600})", "", absl::Hours(1)},
  };
  for (const Case& c : cases) {
    const TokenReply reply = Read(c.preset, Grant::kRefreshToken, 200, c.body);
    EXPECT_EQ(reply.outcome, Outcome::kGranted) << c.preset << " " << reply.cause;
    EXPECT_EQ(reply.access_token.Reveal(), "at") << c.preset;
    EXPECT_EQ(reply.refresh_token.Reveal(), c.refresh_token) << c.preset;
    EXPECT_EQ(reply.expires_in, c.expires_in) << c.preset;
    EXPECT_EQ(reply.refresh_expires_in, c.refresh_expires_in) << c.preset;
  }
}

TEST(PresetReplies, Refused) {
  struct Case {
    std::string preset;
    int status;
    std::string body;
    Outcome outcome;
  };
  const Case cases[] = {
      {"dify", 400, R"({"code":"bad_request","message":"invalid refresh token","status":400})",
       Outcome::kInvalidGrant},
      {"dify", 400, R"({"code":"bad_request","message":"client_secret is invalid","status":400})",
       Outcome::kClientRefused},
      {"dify", 404, R"({"code":"not_found","message":"app not found","status":404})",
       Outcome::kClientRefused},
      {"dify", 400, R"({"code":"bad_request","message":"something else","status":400})",
       Outcome::kAmbiguous},
      {"google", 400,
       R"({"error":"invalid_grant","error_description":"Token has been expired or revoked."})",
       Outcome::kInvalidGrant},
      {"google", 401, R"({"error":"invalid_client","error_description":"Unauthorized"})",
       Outcome::kClientRefused},
      {"microsoft-entra", 400,
       R"({"error":"invalid_grant","error_description":"AADSTS700082","error_codes":[700082]})",
       Outcome::kInvalidGrant},
      {"microsoft-entra", 400,
       R"({"error":"interaction_required","error_description":"AADSTS50076","suberror":"x"})",
       Outcome::kInvalidGrant},
      {"microsoft-entra", 401, R"({"error":"invalid_client","error_description":"AADSTS7000215"})",
       Outcome::kClientRefused},
      {"github-app-user", 200,
       R"({"error":"bad_refresh_token","error_description":"The refresh token is incorrect."})",
       Outcome::kInvalidGrant},
      {"github-app-user", 200, R"({"error":"incorrect_client_credentials"})",
       Outcome::kClientRefused},
      {"gitlab", 400, R"({"error":"invalid_grant","error_description":"revoked"})",
       Outcome::kInvalidGrant},
      {"slack", 200, R"({"ok":false,"error":"invalid_refresh_token"})", Outcome::kInvalidGrant},
      {"slack", 200, R"({"ok":false,"error":"token_revoked"})", Outcome::kInvalidGrant},
      {"slack", 200, R"({"ok":false,"error":"bad_client_secret"})", Outcome::kClientRefused},
      {"slack", 200, R"({"ok":false,"error":"ratelimited"})", Outcome::kTransient},
      {"slack", 200, R"({"ok":false,"error":"internal_error"})", Outcome::kUnknown},
      // Nobody knows what it means; the server may have taken the refresh token.
      {"slack", 200, R"({"ok":false,"error":"some_new_word"})", Outcome::kUnknown},
      {"salesforce", 400,
       R"({"error":"invalid_grant","error_description":"expired access/refresh token"})",
       Outcome::kInvalidGrant},
      {"salesforce", 400, R"({"error":"inactive_user","error_description":"user is inactive"})",
       Outcome::kInvalidGrant},
      {"salesforce", 400, R"({"error":"invalid_client_id"})", Outcome::kClientRefused},
      {"salesforce", 400, R"({"error":"unknown_error","error_description":"retry"})",
       Outcome::kUnknown},
      {"hubspot", 400,
       R"({"status":"BAD_REFRESH_TOKEN","message":"missing or unknown refresh token"})",
       Outcome::kInvalidGrant},
      {"hubspot", 400, R"({"status":"BAD_CLIENT_ID","message":"missing or unknown client id"})",
       Outcome::kClientRefused},
      {"zoho", 200, R"({"error":"invalid_code"})", Outcome::kInvalidGrant},
      {"zoho", 200, R"({"error":"invalid_client_secret"})", Outcome::kClientRefused},
      {"zoho", 400,
       R"({"error":"Access Denied","error_description":"too many requests","status":"failure"})",
       Outcome::kTransient},
      {"atlassian", 403,
       R"({"error":"invalid_grant","error_description":"Unknown or invalid refresh token."})",
       Outcome::kInvalidGrant},
      {"notion", 400, R"({"error":"invalid_grant","error_description":"Invalid code."})",
       Outcome::kInvalidGrant},
      {"notion", 401, R"({"object":"error","status":401,"code":"unauthorized","message":"x"})",
       Outcome::kClientRefused},
      // It may have done its work before it said so.
      {"notion", 503, R"({"object":"error","status":503,"code":"service_unavailable"})",
       Outcome::kUnknown},
      {"okta", 400,
       R"({"error":"invalid_grant","error_description":"The refresh token is invalid"})",
       Outcome::kInvalidGrant},
      {"auth0", 403, R"({"error":"invalid_grant","error_description":"Unknown or invalid token"})",
       Outcome::kInvalidGrant},
      {"auth0", 401, R"({"error":"access_denied","error_description":"Unauthorized"})",
       Outcome::kClientRefused},
      {"keycloak", 400, R"({"error":"invalid_grant","error_description":"Session not active"})",
       Outcome::kInvalidGrant},
      {"keycloak", 401, R"({"error":"unauthorized_client"})", Outcome::kClientRefused},
      {"anthropic-workload-identity", 400,
       R"({"error":"invalid_grant","error_description":"assertion rejected"})",
       Outcome::kInvalidGrant},
      {"anthropic-workload-identity", 429,
       R"({"type":"error","error":{"type":"rate_limit_error","message":"x"}})",
       Outcome::kTransient},
  };
  for (const Case& c : cases) {
    const TokenReply reply = Read(c.preset, Grant::kRefreshToken, c.status, c.body);
    EXPECT_EQ(static_cast<int>(reply.outcome), static_cast<int>(c.outcome))
        << c.preset << " " << c.body << " " << reply.cause;
    EXPECT_TRUE(reply.access_token.empty()) << c.preset;
  }
}

// The preset's comment says how.
TEST(PresetReplies, SlacksUserTokenIsElsewhere) {
  v1::OAuthQuirks quirks = QuirksOf("slack");
  quirks.set_access_token("/authed_user/access_token");
  quirks.set_refresh_token("/authed_user/refresh_token");
  quirks.set_expires_in("/authed_user/expires_in");
  net::HttpResult result;
  result.delivery = net::Delivery::kAnswered;
  result.reply.status = 200;
  result.reply.body = base::Secret(
      R"({"ok":true,"access_token":"bot","authed_user":{"id":"U0","access_token":"at",
          "refresh_token":"rt","expires_in":43200}})");
  TokenQuestion question;
  question.grant = Grant::kAuthorizationCode;
  question.quirks = quirks;
  const TokenReply reply = ReadTokenReply(result, question);
  EXPECT_EQ(reply.access_token.Reveal(), "at");
  EXPECT_EQ(reply.refresh_token.Reveal(), "rt");
  EXPECT_EQ(reply.expires_in, absl::Hours(12));
}

}  // namespace
}  // namespace keyturn::providers
