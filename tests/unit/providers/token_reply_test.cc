// SPDX-License-Identifier: Apache-2.0
// What a token endpoint's answer is taken for, hostile ones included.
#include "agent/providers/oauth/token_reply.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace keyturn::providers {
namespace {

using Outcome = TokenOutcome;

TokenReply Read(int status, const std::string& body,
                std::vector<std::pair<std::string, std::string>> headers = {}) {
  net::HttpResult result;
  result.delivery = net::Delivery::kAnswered;
  result.reply.status = status;
  result.reply.body = base::Secret(body);
  result.reply.headers = std::move(headers);
  result.sent_at = base::BootTime{absl::Seconds(77)};
  return ReadTokenReply(result);
}

struct Case {
  int status;
  std::string body;
  Outcome outcome;
  std::string cause;
};

TEST(TokenReply, EveryAnswerHasItsOutcome) {
  const std::string deep = std::string(200, '[') + std::string(200, ']');
  const Case cases[] = {
      {200, R"({"access_token":"a"})", Outcome::kGranted, ""},
      {201, R"({"access_token":"a","expires_in":60})", Outcome::kGranted, ""},
      {200, R"({"access_token":"a","refresh_token":"r"})", Outcome::kGranted, ""},
      {200, R"({"access_token":"a","refresh_token":""})", Outcome::kGranted, ""},
      {200, R"({"access_token":"a","refresh_token":null})", Outcome::kGranted, ""},
      // A 2xx that cannot be read may have rotated the refresh token.
      {200, "", Outcome::kUnknown, "unreadable_reply"},
      {204, "", Outcome::kUnknown, "unreadable_reply"},
      {200, "<html>hello</html>", Outcome::kUnknown, "unreadable_reply"},
      {200, "{}", Outcome::kUnknown, "unreadable_reply"},
      {200, "[]", Outcome::kUnknown, "unreadable_reply"},
      {200, "null", Outcome::kUnknown, "unreadable_reply"},
      {200, R"({"access_token":"a")", Outcome::kUnknown, "unreadable_reply"},
      {200, R"({"access_token":""})", Outcome::kUnknown, "unreadable_reply"},
      {200, R"({"access_token":5})", Outcome::kUnknown, "unreadable_reply"},
      {200, R"({"access_token":["a"]})", Outcome::kUnknown, "unreadable_reply"},
      {200, R"({"access_token":"a b"})", Outcome::kUnknown, "unreadable_reply"},
      {200, R"({"access_token":"a\r\nX-Evil: 1"})", Outcome::kUnknown, "unreadable_reply"},
      {200, R"({"access_token":"a\u0000b"})", Outcome::kUnknown, "unreadable_reply"},
      {200, R"({"access_token":"ä"})", Outcome::kUnknown, "unreadable_reply"},
      {200, R"({"access_token":"a","refresh_token":"r r"})", Outcome::kUnknown, "unreadable_reply"},
      {200, absl::StrCat(R"({"access_token":")", std::string(70'000, 'x'), R"("})"),
       Outcome::kUnknown, "unreadable_reply"},
      {200, deep, Outcome::kUnknown, "unreadable_reply"},
      {200, R"({"error":"invalid_grant"})", Outcome::kUnknown, "unreadable_reply"},
      {400, R"({"error":"invalid_grant"})", Outcome::kInvalidGrant, "invalid_grant"},
      {401, R"({"error":"invalid_grant"})", Outcome::kInvalidGrant, "invalid_grant"},
      {400, R"({"error":"invalid_grant","error_description":"<script>"})", Outcome::kInvalidGrant,
       "invalid_grant"},
      {401, R"({"error":"invalid_client"})", Outcome::kClientRefused, "invalid_client"},
      {400, R"({"error":"unauthorized_client"})", Outcome::kClientRefused, "unauthorized_client"},
      {400, R"({"error":"invalid_scope"})", Outcome::kClientRefused, "invalid_scope"},
      {400, R"({"error":"unsupported_grant_type"})", Outcome::kClientRefused,
       "unsupported_grant_type"},
      {400, R"({"error":"invalid_request"})", Outcome::kClientRefused, "invalid_request"},
      {400, R"({"error":"slow_down"})", Outcome::kTransient, "slow_down"},
      {400, R"({"error":"temporarily_unavailable"})", Outcome::kTransient,
       "temporarily_unavailable"},
      {429, R"({"error":"invalid_grant"})", Outcome::kTransient, "http_429"},
      {429, "<html>", Outcome::kTransient, "http_429"},
      {500, R"({"error":"server_error"})", Outcome::kUnknown, "http_500"},
      {503, "", Outcome::kUnknown, "http_503"},
      {502, "<html>bad gateway</html>", Outcome::kUnknown, "http_502"},
      // Not what an OAuth server says: never a reason to give a grant up.
      {400, "", Outcome::kAmbiguous, "http_400"},
      {403, "<html>blocked</html>", Outcome::kAmbiguous, "http_403"},
      {401, R"({"message":"invalid_grant"})", Outcome::kAmbiguous, "http_401"},
      {400, R"({"error":{"code":"invalid_grant"}})", Outcome::kAmbiguous, "http_400"},
      {400, R"({"error":"INVALID_GRANT"})", Outcome::kAmbiguous, "http_400"},
      {400, R"(["invalid_grant"])", Outcome::kAmbiguous, "http_400"},
      {302, "", Outcome::kAmbiguous, "http_302"},
      {404, deep, Outcome::kAmbiguous, "http_404"},
  };
  for (const Case& c : cases) {
    const TokenReply reply = Read(c.status, c.body);
    const std::string what = absl::StrCat(c.status, " ", c.body.substr(0, 80));
    EXPECT_EQ(reply.outcome, c.outcome) << what;
    EXPECT_EQ(reply.cause, c.cause) << what;
    EXPECT_EQ(reply.http_status, c.status) << what;
    EXPECT_EQ(reply.sent_at.since_boot, absl::Seconds(77)) << what;
    if (c.outcome != Outcome::kGranted) {
      EXPECT_TRUE(reply.access_token.empty()) << what;
      EXPECT_TRUE(reply.refresh_token.empty()) << what;
    }
  }
}

TEST(TokenReply, LifetimesThatMakeNoSenseCountAsUnstated) {
  const auto lifetime = [](const std::string& value) {
    return Read(200, absl::StrCat(R"({"access_token":"a","expires_in":)", value, "}")).expires_in;
  };
  EXPECT_EQ(lifetime("3600"), absl::Hours(1));
  EXPECT_EQ(lifetime("\"3600\""), absl::Hours(1));
  EXPECT_EQ(lifetime("0.5"), absl::Milliseconds(500));
  EXPECT_EQ(lifetime("1e300"), absl::Hours(24 * 366));
  EXPECT_EQ(lifetime("18446744073709551615"), absl::Hours(24 * 366));
  for (const char* senseless : {"0", "-5", "null", "\"soon\"", "\"nan\"", "true", "[60]", "{}"}) {
    EXPECT_EQ(lifetime(senseless), absl::InfiniteDuration()) << senseless;
  }
}

TEST(TokenReply, ReadsTheRefreshTokensLifetime) {
  const TokenReply reply =
      Read(200, R"({"access_token":"a","refresh_token":"r","refresh_expires_in":1800})");
  EXPECT_EQ(reply.refresh_expires_in, absl::Minutes(30));
  EXPECT_EQ(reply.refresh_token.Reveal(), "r");
}

TEST(TokenReply, RetryAfterIsBounded) {
  EXPECT_EQ(Read(429, "", {{"retry-after", "7"}}).retry_after, absl::Seconds(7));
  EXPECT_EQ(Read(429, "", {{"retry-after", "999999999"}}).retry_after, absl::Hours(1));
  EXPECT_EQ(Read(429, "", {{"retry-after", "-7"}}).retry_after, absl::ZeroDuration());
  EXPECT_EQ(Read(429, R"({"retry_after":9})").retry_after, absl::Seconds(9));
  EXPECT_EQ(Read(429, "", {{"retry-after", "tomorrow"}}).retry_after, absl::ZeroDuration());
}

TEST(TokenReply, ARequestThatNeverLeftHadNoEffectAndOneThatDidMayHave) {
  net::HttpResult result;
  result.delivery = net::Delivery::kNotSent;
  result.cause = "dns";
  EXPECT_EQ(ReadTokenReply(result).outcome, Outcome::kTransient);
  result.delivery = net::Delivery::kUnknown;
  result.cause = "timeout";
  EXPECT_EQ(ReadTokenReply(result).outcome, Outcome::kUnknown);
  EXPECT_EQ(ReadTokenReply(result).cause, "timeout");
}

}  // namespace
}  // namespace keyturn::providers
