// SPDX-License-Identifier: Apache-2.0
//
// The token endpoint: lifetimes, rotation, reuse detection and leeway, and RFC 6749's refusals.
// Time is a number here; nothing waits.
#include "tests/sandbox/oauth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <absl/strings/escaping.h>

#include <nlohmann/json.hpp>

namespace keyturn::sandbox {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);
const std::string kBodyAuth = "&client_id=sandbox-client&client_secret=sandbox-secret";

Request Form(const std::string& body) {
  Request request;
  request.headers = {{"content-type", "application/x-www-form-urlencoded"}};
  request.body = body;
  return request;
}

Request WithBasic(Request request, const std::string& id, const std::string& secret) {
  request.headers["authorization"] = "Basic " + absl::Base64Escape(id + ":" + secret);
  return request;
}

Request WithBearer(const std::string& token) {
  Request request;
  request.headers = {{"authorization", "Bearer " + token}};
  return request;
}

std::string HeaderOf(const Reply& reply, const std::string& name) {
  for (const auto& [key, value] : reply.headers) {
    if (key == name) return value;
  }
  return "";
}

class OauthTest : public ::testing::Test {
 protected:
  explicit OauthTest(OauthOptions options = {}) : oauth_(std::move(options), &tokens_) {}

  std::string Seed() { return oauth_.SeedGrant("sandbox-client", "").value(); }

  Reply Refresh(const std::string& refresh_token, absl::Time now) {
    return oauth_.Token(Form("grant_type=refresh_token&refresh_token=" + refresh_token + kBodyAuth),
                        now);
  }
  json RefreshOk(const std::string& refresh_token, absl::Time now) {
    const Reply reply = Refresh(refresh_token, now);
    EXPECT_EQ(reply.status, 200) << reply.body;
    return json::parse(reply.body);
  }
  void ExpectError(const Reply& reply, int status, const std::string& code) {
    EXPECT_EQ(reply.status, status) << reply.body;
    EXPECT_EQ(json::parse(reply.body).value("error", ""), code);
    EXPECT_EQ(HeaderOf(reply, "Cache-Control"), "no-store");
  }

  TokenSource tokens_{7};
  OauthServer oauth_;
};

TEST_F(OauthTest, ClientCredentialsTokenLivesForItsTtl) {
  const Reply reply = oauth_.Token(Form("grant_type=client_credentials" + kBodyAuth), kStart);
  ASSERT_EQ(reply.status, 200) << reply.body;
  EXPECT_EQ(HeaderOf(reply, "Cache-Control"), "no-store");
  const json body = json::parse(reply.body);
  EXPECT_EQ(body.at("token_type"), "Bearer");
  EXPECT_EQ(body.at("expires_in"), 10);
  EXPECT_FALSE(body.contains("refresh_token"));
  const std::string token = body.at("access_token");
  EXPECT_THAT(token, StartsWith("at-canary-"));

  EXPECT_EQ(oauth_.Resource(WithBearer(token), kStart + absl::Milliseconds(9999)).status, 200);
  const Reply dead = oauth_.Resource(WithBearer(token), kStart + absl::Seconds(10));
  EXPECT_EQ(dead.status, 401);
  EXPECT_THAT(HeaderOf(dead, "WWW-Authenticate"), HasSubstr("error=\"invalid_token\""));
  EXPECT_EQ(HeaderOf(oauth_.Resource(Request{}, kStart), "WWW-Authenticate"),
            "Bearer realm=\"sandbox\"");
}

TEST_F(OauthTest, ClientMayUseBasicWithEncodedHalvesOrJson) {
  EXPECT_EQ(oauth_
                .Token(WithBasic(Form("grant_type=client_credentials"), "sandbox%2Dclient",
                                 "sandbox-secret"),
                       kStart)
                .status,
            200);
  Request as_json = Form(json({{"grant_type", "client_credentials"},
                               {"client_id", "sandbox-client"},
                               {"client_secret", "sandbox-secret"}})
                             .dump());
  as_json.headers["content-type"] = "application/json; charset=utf-8";
  EXPECT_EQ(oauth_.Token(as_json, kStart).status, 200);
}

TEST_F(OauthTest, RefusesWhatTheRfcRefuses) {
  const auto token = [&](const std::string& body) { return oauth_.Token(Form(body), kStart); };
  ExpectError(token("client_id=sandbox-client&client_secret=sandbox-secret"), 400,
              "invalid_request");
  ExpectError(token("grant_type=" + kBodyAuth), 400, "invalid_request");
  ExpectError(token("grant_type=client_credentials&grant_type=x" + kBodyAuth), 400,
              "invalid_request");
  ExpectError(token("grant_type=client%credentials" + kBodyAuth), 400, "invalid_request");
  ExpectError(token("grant_type=password" + kBodyAuth), 400, "unsupported_grant_type");
  ExpectError(token("grant_type=refresh_token" + kBodyAuth), 400, "invalid_request");
  ExpectError(token("grant_type=refresh_token&refresh_token=none" + kBodyAuth), 400,
              "invalid_grant");
  ExpectError(token("grant_type=client_credentials"), 401, "invalid_client");
  ExpectError(token("grant_type=client_credentials&client_id=sandbox-client&client_secret=x"), 401,
              "invalid_client");

  const Reply basic =
      oauth_.Token(WithBasic(Form("grant_type=client_credentials"), "sandbox-client", "x"), kStart);
  ExpectError(basic, 401, "invalid_client");
  EXPECT_THAT(HeaderOf(basic, "WWW-Authenticate"), StartsWith("Basic "));
  ExpectError(oauth_.Token(WithBasic(Form("grant_type=client_credentials" + kBodyAuth),
                                     "sandbox-client", "sandbox-secret"),
                           kStart),
              400, "invalid_request");
  Request plain = Form("grant_type=client_credentials" + kBodyAuth);
  plain.headers["content-type"] = "text/plain";
  ExpectError(oauth_.Token(plain, kStart), 400, "invalid_request");
}

TEST_F(OauthTest, RefreshRotatesAndTheNewTokenGoesOn) {
  const std::string first = Seed();
  EXPECT_THAT(first, StartsWith("rt-canary-"));
  EXPECT_TRUE(oauth_.AcceptsRefreshToken(first, kStart));
  const json one = RefreshOk(first, kStart);
  EXPECT_NE(one.at("refresh_token"), first);
  EXPECT_FALSE(oauth_.AcceptsRefreshToken(first, kStart));
  const json two = RefreshOk(one.at("refresh_token"), kStart + absl::Hours(1));
  EXPECT_EQ(oauth_.Resource(WithBearer(two.at("access_token")), kStart + absl::Hours(1)).status,
            200);
}

TEST_F(OauthTest, ReuseBurnsTheGrantAndItsAccessTokensOnly) {
  const std::string first = Seed();
  const std::string other = Seed();
  const json one = RefreshOk(first, kStart);
  const json bystander = RefreshOk(other, kStart);
  ASSERT_TRUE(oauth_.AcceptsAccessToken(one.at("access_token").get<std::string>(), kStart));

  ExpectError(Refresh(first, kStart), 400, "invalid_grant");
  EXPECT_FALSE(oauth_.AcceptsAccessToken(one.at("access_token").get<std::string>(), kStart));
  ExpectError(Refresh(one.at("refresh_token"), kStart), 400, "invalid_grant");

  EXPECT_TRUE(oauth_.AcceptsAccessToken(bystander.at("access_token").get<std::string>(), kStart));
  RefreshOk(bystander.at("refresh_token"), kStart);
  const json state = oauth_.Snapshot(kStart);
  EXPECT_EQ(state.at("grants"), json({{"issued", 2}, {"burned", 1}}));
  EXPECT_EQ(state.at("token_requests").at("refresh_token"), 5);
  EXPECT_EQ(state.at("token_errors").at("invalid_grant"), 2);
  EXPECT_EQ(state.at("access_tokens"), json({{"issued", 3}, {"active", 2}}));
}

TEST_F(OauthTest, RefreshMayNarrowScopeButNotWidenIt) {
  const std::string first = oauth_.SeedGrant("sandbox-client", "read write").value();
  ExpectError(oauth_.Token(Form("grant_type=refresh_token&scope=read+admin&refresh_token=" + first +
                                kBodyAuth),
                           kStart),
              400, "invalid_scope");
  // The refusal used nothing up.
  const Reply narrowed = oauth_.Token(
      Form("grant_type=refresh_token&scope=read&refresh_token=" + first + kBodyAuth), kStart);
  EXPECT_EQ(narrowed.status, 200) << narrowed.body;
}

TEST_F(OauthTest, ResetForgetsEverything) {
  const std::string refresh_token = Seed();
  const std::string access_token = RefreshOk(refresh_token, kStart).at("access_token");
  oauth_.Reset();
  EXPECT_FALSE(oauth_.AcceptsAccessToken(access_token, kStart));
  ExpectError(Refresh(refresh_token, kStart), 400, "invalid_grant");
  EXPECT_EQ(oauth_.Snapshot(kStart).at("grants").at("issued"), 0);
}

OauthOptions With(absl::Duration leeway, bool rotate, std::vector<OauthClient> clients = {}) {
  OauthOptions options;
  options.reuse_leeway = leeway;
  options.rotate_refresh_tokens = rotate;
  if (!clients.empty()) options.clients = std::move(clients);
  return options;
}

class LeewayTest : public OauthTest {
 protected:
  LeewayTest() : OauthTest(With(absl::Seconds(5), true)) {}
};

TEST_F(LeewayTest, PreviousTokenIsAnsweredWithTheSamePair) {
  const std::string first = Seed();
  const json one = RefreshOk(first, kStart);
  const json again = RefreshOk(first, kStart + absl::Milliseconds(4500));
  EXPECT_EQ(again.at("access_token"), one.at("access_token"));
  EXPECT_EQ(again.at("refresh_token"), one.at("refresh_token"));
  EXPECT_EQ(again.at("expires_in"), 5);
  RefreshOk(one.at("refresh_token"), kStart + absl::Seconds(5));
}

TEST_F(LeewayTest, AfterTheLeewayReuseBurns) {
  const std::string first = Seed();
  const json one = RefreshOk(first, kStart);
  ExpectError(Refresh(first, kStart + absl::Seconds(5)), 400, "invalid_grant");
  ExpectError(Refresh(one.at("refresh_token"), kStart + absl::Seconds(5)), 400, "invalid_grant");
}

TEST_F(LeewayTest, OnlyTheTokenJustReplacedHasLeeway) {
  const std::string first = Seed();
  const json one = RefreshOk(first, kStart);
  RefreshOk(one.at("refresh_token"), kStart);
  ExpectError(Refresh(first, kStart), 400, "invalid_grant");
  EXPECT_EQ(oauth_.Snapshot(kStart).at("grants").at("burned"), 1);
}

class NoRotationTest : public OauthTest {
 protected:
  NoRotationTest() : OauthTest(With(absl::ZeroDuration(), false)) {}
};

TEST_F(NoRotationTest, SameRefreshTokenServesAgainAndIsNotRepeated) {
  const std::string token = Seed();
  const json one = RefreshOk(token, kStart);
  EXPECT_FALSE(one.contains("refresh_token"));
  const json two = RefreshOk(token, kStart);
  EXPECT_NE(two.at("access_token"), one.at("access_token"));
}

class TwoClientsTest : public OauthTest {
 protected:
  TwoClientsTest()
      : OauthTest(With(absl::ZeroDuration(), true,
                       {{"sandbox-client", "sandbox-secret", {"read"}}, {"two", "s2", {}}})) {}
};

TEST_F(TwoClientsTest, AnotherClientCanNeitherUseNorBurnAGrant) {
  const std::string first = Seed();
  const json one = RefreshOk(first, kStart);
  ExpectError(
      oauth_.Token(
          Form("grant_type=refresh_token&client_id=two&client_secret=s2&refresh_token=" + first),
          kStart),
      400, "invalid_grant");
  RefreshOk(one.at("refresh_token"), kStart);
  EXPECT_EQ(oauth_.SeedGrant("three", "").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(TwoClientsTest, ScopeOutsideTheClientsIsRefused) {
  ExpectError(
      oauth_.Token(Form("grant_type=client_credentials&scope=read%20write" + kBodyAuth), kStart),
      400, "invalid_scope");
  const Reply allowed =
      oauth_.Token(Form("grant_type=client_credentials&scope=read" + kBodyAuth), kStart);
  EXPECT_EQ(json::parse(allowed.body).value("scope", ""), "read");
}

}  // namespace
}  // namespace keyturn::sandbox
