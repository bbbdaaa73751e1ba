// SPDX-License-Identifier: Apache-2.0
// The endpoints beside the token endpoint: devices, revocation, introspection, and trying a token
// at the service it is for. RFC 7009, 7662, 8628, 9449.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "agent/providers/proof_key.h"
#include "tests/unit/providers/http_authorization_server_house.h"
#include "tests/unit/providers/signed_tokens.h"

namespace keyturn::providers {
namespace {

using testing::HasSubstr;
using testing::Not;

ServerConfig WithEndpoints(ServerConfig config) {
  config.endpoints.device = "https://as.example.com/device";
  config.endpoints.revocation = "https://as.example.com/revoke";
  config.endpoints.introspection = "https://as.example.com/introspect";
  return config;
}

TEST_F(HttpAuthorizationServerTest, StartDevice) {
  Answer(200, R"({"device_code":"dc","user_code":"WDJB-MJHT","expires_in":1800,
                  "verification_uri":"https://example.com/device",
                  "verification_uri_complete":"https://example.com/device?user_code=WDJB-MJHT"})");
  const auto reply = StartDevice(WithEndpoints(Request().server));
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->device_code.Reveal(), "dc");
  EXPECT_EQ(reply->user_code, "WDJB-MJHT");
  EXPECT_EQ(reply->verification_uri, "https://example.com/device");
  EXPECT_EQ(reply->verification_uri_complete, "https://example.com/device?user_code=WDJB-MJHT");
  EXPECT_EQ(reply->expires_in, absl::Minutes(30));
  EXPECT_EQ(reply->interval, absl::Seconds(5)) << "RFC 8628 section 3.2, when it is not said";
  const Sent& sent = http_.requests().back();
  EXPECT_EQ(sent.url, "https://as.example.com/device");
  EXPECT_EQ(sent.body, "scope=a+b&client_id=app");
  EXPECT_EQ(sent.Header("Authorization"), "Basic YXBwOnMzY3JldA==");
}

// Auth0 wants the one, RFC 8707 section 2.1 the other, with the request that a person decides on.
TEST_F(HttpAuthorizationServerTest, StartDeviceSaysWhatTheTokenIsFor) {
  Answer(200, R"({"device_code":"dc","user_code":"u","verification_uri":"https://x"})");
  ServerConfig config = WithEndpoints(Request().server);
  config.client.auth = v1::NONE;
  DeviceRequest request;
  request.scopes = {"a"};
  request.audience = "https://api";
  request.resources = {"https://one", "https://two"};
  ASSERT_TRUE(StartDevice(config, request).ok());
  EXPECT_EQ(http_.requests().back().body,
            "scope=a&audience=https%3A%2F%2Fapi&resource=https%3A%2F%2Fone"
            "&resource=https%3A%2F%2Ftwo&client_id=app");
}

TEST_F(HttpAuthorizationServerTest, StartDeviceAsOthersSpellIt) {
  Answer(200, R"({"device_code":"dc","user_code":"u","verification_url":"https://example.com/d",
                  "interval":"7","expires_in":"60"})");
  const auto reply = StartDevice(WithEndpoints(Request().server));
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_EQ(reply->verification_uri, "https://example.com/d");
  EXPECT_EQ(reply->interval, absl::Seconds(7));
  EXPECT_EQ(reply->expires_in, absl::Minutes(1));
}

TEST_F(HttpAuthorizationServerTest, WhatADeviceReplyStatesAsNothingIsUnstated) {
  for (const char* nothing : {"0", "\"0\"", "-1", "null", "\"soon\""}) {
    Answer(200, absl::StrCat(R"({"device_code":"dc","user_code":"u","verification_uri":"https://x",
                                 "interval":)",
                             nothing, R"(,"expires_in":)", nothing, "}"));
    const auto reply = StartDevice(WithEndpoints(Request().server));
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->interval, absl::Seconds(5)) << nothing;
    EXPECT_EQ(reply->expires_in, absl::Minutes(10)) << nothing;
  }
}

// RFC 8628 section 3.5: the interval is the least time between two polls.
TEST_F(HttpAuthorizationServerTest, DevicesIntervalsAreKept) {
  const auto interval = [&](const char* stated) {
    Answer(200, absl::StrCat(R"({"device_code":"dc","user_code":"u","verification_uri":"https://x",
                                 "expires_in":1800,"interval":)",
                             stated, "}"));
    return StartDevice(WithEndpoints(Request().server))->interval;
  };
  EXPECT_EQ(interval("120"), absl::Minutes(2));
  EXPECT_EQ(interval("1e300"), absl::Minutes(30)) << "no longer than the code lives";
}

TEST_F(HttpAuthorizationServerTest, StartDeviceShowsAPersonNothingOdd) {
  const auto reply = [&](const std::string& code, const std::string& user, const std::string& url) {
    Answer(200, absl::StrCat(R"({"device_code":")", code, R"(","user_code":")", user,
                             R"(","verification_uri":")", url, R"(","interval":9999})"));
    return StartDevice(WithEndpoints(Request().server));
  };
  ASSERT_TRUE(reply("d", "u", "https://x").ok());
  EXPECT_EQ(reply("d", "u", "https://x")->interval, absl::Minutes(10));
  EXPECT_TRUE(absl::IsUnavailable(reply("", "u", "https://x").status()));
  EXPECT_TRUE(absl::IsUnavailable(reply("d d", "u", "https://x").status()));
  EXPECT_TRUE(absl::IsUnavailable(reply("d", "", "https://x").status()));
  EXPECT_TRUE(absl::IsUnavailable(reply("d", "\\u001b[2J", "https://x").status()));
  EXPECT_TRUE(absl::IsUnavailable(reply("d", std::string(100, 'u'), "https://x").status()));
  EXPECT_TRUE(absl::IsUnavailable(reply("d", "u", "http://x").status()));
  EXPECT_TRUE(absl::IsUnavailable(reply("d", "u", "javascript:alert(1)").status()));
  EXPECT_TRUE(absl::IsUnavailable(reply("d", "u", "file:///etc/passwd").status()));
}

TEST_F(HttpAuthorizationServerTest, RevokeSaysWhichToken) {
  Answer(200, "");
  EXPECT_TRUE(Revoke(WithEndpoints(Request().server)).ok());
  EXPECT_EQ(http_.requests().back().body, "token=r%2Bt&token_type_hint=refresh_token");
  EXPECT_EQ(http_.requests().back().url, "https://as.example.com/revoke");
  EXPECT_NE(http_.requests().back().Header("Authorization"), "");
}

TEST_F(HttpAuthorizationServerTest, RepliesToRevocation) {
  const std::pair<std::pair<int, const char*>, absl::StatusCode> cases[] = {
      {{200, ""}, absl::StatusCode::kOk},
      {{204, ""}, absl::StatusCode::kOk},
      {{400, R"({"error":"invalid_token"})"}, absl::StatusCode::kOk},
      {{503, ""}, absl::StatusCode::kUnavailable},
      {{429, ""}, absl::StatusCode::kUnavailable},
      {{500, R"({"error":"invalid_token"})"}, absl::StatusCode::kUnavailable},
      {{400, "<html>"}, absl::StatusCode::kUnavailable},
      {{302, ""}, absl::StatusCode::kUnavailable},
      {{401, R"({"error":"invalid_client"})"}, absl::StatusCode::kPermissionDenied},
      {{400, R"({"error":"invalid_client"})"}, absl::StatusCode::kPermissionDenied},
      {{401, ""}, absl::StatusCode::kPermissionDenied},
      {{400, R"({"error":"unsupported_token_type"})"}, absl::StatusCode::kUnimplemented},
      {{404, ""}, absl::StatusCode::kFailedPrecondition},
      {{405, ""}, absl::StatusCode::kFailedPrecondition},
      {{410, ""}, absl::StatusCode::kUnimplemented},
      {{501, ""}, absl::StatusCode::kUnavailable}};
  for (const auto& [reply, code] : cases) {
    Answer(reply.first, reply.second);
    const absl::Status status = Revoke(WithEndpoints(Request().server));
    EXPECT_EQ(status.code(), code) << reply.first << " " << reply.second;
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("html")));
  }
  http_.SetHandler(
      [](const Sent&) { return ScriptedHttpClient::Failed(net::Delivery::kUnknown, "timeout"); });
  EXPECT_TRUE(absl::IsUnavailable(Revoke(WithEndpoints(Request().server))));
}

v1::OAuthQuirks Says(const std::string& pointer, const std::string& equals,
                     const std::string& means) {
  v1::OAuthQuirks quirks;
  auto* error = quirks.add_errors();
  error->set_pointer(pointer);
  error->set_equals(equals);
  error->set_means(means);
  return quirks;
}

// An error is one at whatever status, as in Zoho's replies.
TEST_F(HttpAuthorizationServerTest, RefusalsWithSuccessAreRefusals) {
  using absl::StatusCode;
  struct Case {
    std::string body;
    v1::OAuthQuirks quirks;
    StatusCode revoked;
    StatusCode others;
  };
  const Case cases[] = {
      {R"({"error":"invalid_client"})",
       {},
       StatusCode::kPermissionDenied,
       StatusCode::kPermissionDenied},
      {R"({"error":"temporarily_unavailable"})",
       {},
       StatusCode::kUnavailable,
       StatusCode::kUnavailable},
      {R"({"error":"something_new"})", {}, StatusCode::kUnavailable, StatusCode::kUnavailable},
      {R"({"error":"invalid_client_secret"})",
       Says("/error", "invalid_client_secret", "invalid_client"), StatusCode::kPermissionDenied,
       StatusCode::kPermissionDenied},
      {R"({"ok":false})", Says("/ok", "false", "unauthorized_client"),
       StatusCode::kPermissionDenied, StatusCode::kPermissionDenied},
      {R"({"ok":false})", Says("/ok", "false", "server_error"), StatusCode::kUnavailable,
       StatusCode::kUnavailable},
      // The token is dead already.
      {R"({"error":"invalid_token"})", {}, StatusCode::kOk, StatusCode::kUnavailable},
      {R"({"error":"invalid_code"})", Says("/error", "invalid_code", "invalid_grant"),
       StatusCode::kOk, StatusCode::kUnavailable},
      {R"({"error":"unsupported_token_type"})",
       {},
       StatusCode::kUnimplemented,
       StatusCode::kUnavailable},
  };
  for (const Case& c : cases) {
    ServerConfig config = WithEndpoints(Request().server);
    config.quirks = c.quirks;
    Answer(200, c.body);
    EXPECT_EQ(Revoke(config).code(), c.revoked) << c.body;
    EXPECT_EQ(StartDevice(config).status().code(), c.others) << c.body;
    EXPECT_EQ(Introspect(config).status().code(), c.others) << c.body;
  }
}

TEST_F(HttpAuthorizationServerTest, AQuirksErrorCountsBesideWhatLooksLikeAnAnswer) {
  ServerConfig config = WithEndpoints(Request().server);
  config.quirks = Says("/ok", "false", "invalid_client");
  Answer(200, R"({"ok":false,"active":true,"device_code":"dc","user_code":"u",
                  "verification_uri":"https://x"})");
  EXPECT_TRUE(absl::IsPermissionDenied(StartDevice(config).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(Introspect(config).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(Revoke(config)));
  Answer(200, R"({"ok":true,"active":true})");
  EXPECT_TRUE(Introspect(config).ok());
  EXPECT_TRUE(Revoke(config).ok());
  Answer(400, R"({"ok":false})");
  EXPECT_TRUE(absl::IsPermissionDenied(Revoke(config))) << "at 400, where nothing else says why";
}

TEST_F(HttpAuthorizationServerTest, Introspect) {
  const ServerConfig config = WithEndpoints(Request().server);
  Answer(200, absl::StrCat(R"({"active":true,"exp":)", absl::ToUnixSeconds(clock_.WallNow()) + 600,
                           "}"));
  auto reply = Introspect(config);
  ASSERT_TRUE(reply.ok()) << reply.status();
  EXPECT_TRUE(reply->active);
  EXPECT_EQ(reply->expires_in, absl::Minutes(10));
  EXPECT_EQ(http_.requests().back().body, "token=at&token_type_hint=access_token");
  Answer(200, R"({"active":true})");
  EXPECT_EQ(Introspect(config)->expires_in, absl::InfiniteDuration());
  // It is alive, so that is not when it ended.
  for (const char* odd : {"0", "1000", "-1", "\"soon\""}) {
    Answer(200, absl::StrCat(R"({"active":true,"exp":)", odd, "}"));
    EXPECT_EQ(Introspect(config)->expires_in, absl::InfiniteDuration()) << odd;
  }
  Answer(200, R"({"active":false,"exp":9999999999})");
  reply = Introspect(config);
  ASSERT_TRUE(reply.ok());
  EXPECT_FALSE(reply->active);
  EXPECT_EQ(reply->expires_in, absl::InfiniteDuration());
  for (const char* body : {"", "{}", "[]", R"({"active":"true"})", R"({"active":null})"}) {
    Answer(200, body);
    EXPECT_TRUE(absl::IsUnavailable(Introspect(config).status())) << body;
  }
  Answer(401, "");
  EXPECT_TRUE(absl::IsPermissionDenied(Introspect(config).status()));
}

TEST_F(HttpAuthorizationServerTest, EndpointsBesideAreDiscoveredOrMissing) {
  Serve({{kOAuthDocument, Document(R"(,"revocation_endpoint":"https://as.example.com/r")")}});
  EXPECT_TRUE(Revoke(Issuer()).ok());
  EXPECT_EQ(http_.requests().back().url, "https://as.example.com/r");
  EXPECT_TRUE(absl::IsUnimplemented(StartDevice(Issuer()).status()));
  EXPECT_TRUE(absl::IsUnimplemented(Introspect(Issuer()).status()));
  EXPECT_TRUE(absl::IsUnimplemented(Revoke(Request().server))) << "no issuer to ask";
  ServerConfig config = WithEndpoints(Request().server);
  config.client.auth = v1::PRIVATE_KEY_JWT;
  EXPECT_TRUE(absl::IsFailedPrecondition(Revoke(config))) << "nothing to sign with";
  Answer(403, "<html>");
  ServerConfig behind_a_firewall = Issuer();
  behind_a_firewall.endpoints.issuer = "https://other.example.com";
  EXPECT_TRUE(absl::IsFailedPrecondition(Revoke(behind_a_firewall))) << "there may be one";
}

TEST_F(HttpAuthorizationServerTest, TryPresentsATokenAsItIsTold) {
  Answer(403, "");
  TokenTrial trial;
  trial.header_value = base::Secret("Bearer at");
  const auto status = Try(trial);
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ(*status, 403);
  const Sent& sent = http_.requests().back();
  EXPECT_EQ(sent.method, "GET");
  EXPECT_EQ(sent.url, "https://api.example.com/me?x=1");
  EXPECT_EQ(sent.Header("Authorization"), "Bearer at");
  EXPECT_EQ(sent.Header("DPoP"), "") << "the token is not bound";
  http_.SetHandler(
      [](const Sent&) { return ScriptedHttpClient::Failed(net::Delivery::kNotSent, "dns"); });
  EXPECT_TRUE(absl::IsUnavailable(Try(trial).status()));
  Answer(200, "");
  trial.header = "x-api-key";
  trial.header_value = base::Secret("at");
  ASSERT_TRUE(Try(trial).ok());
  EXPECT_EQ(http_.requests().back().Header("x-api-key"), "at");
  EXPECT_EQ(http_.requests().back().Header("Authorization"), "");
}

TEST_F(HttpAuthorizationServerTest, TryPresentsABoundTokenWithItsProof) {
  http_.SetHandler([](const Sent& sent) {
    const SignedToken proof = SignedToken::Parse(sent.Header("DPoP"));
    if (proof.claims.value("nonce", "") == "n") return ScriptedHttpClient::Reply(200, "");
    return ScriptedHttpClient::Reply(
        401, "", {{"dpop-nonce", "n"}, {"www-authenticate", R"(DPoP error="use_dpop_nonce")"}});
  });
  TokenTrial trial;
  trial.header_value = base::Secret("DPoP at");
  trial.dpop_key = NewProofKey().value();
  const auto status = Try(trial);
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(*status, 200);
  EXPECT_EQ(http_.requests().size(), 2U);
  const Sent& sent = http_.requests().back();
  EXPECT_EQ(sent.Header("Authorization"), "DPoP at");
  const SignedToken proof = SignedToken::Parse(sent.Header("DPoP"));
  EXPECT_TRUE(proof.VerifiedBy(TestKey::OfPem(trial.dpop_key)));
  EXPECT_EQ(proof.claims.at("htm"), "GET");
  EXPECT_EQ(proof.claims.at("htu"), "https://api.example.com/me");
  // BASE64URL(SHA256("at")), RFC 9449 section 4.2.
  EXPECT_EQ(proof.claims.at("ath"), "sda5G2fCr6XjIpiNlGJjjTVN34oe9526mH-BXCK0uu4");
  trial.dpop_key = base::Secret("no key");
  EXPECT_TRUE(absl::IsFailedPrecondition(Try(trial).status()));
}
}  // namespace
}  // namespace keyturn::providers
