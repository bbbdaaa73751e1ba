// SPDX-License-Identifier: Apache-2.0
// The form of token requests: RFC 6749 sections 2.3.1, 4.4.2 and 6, and appendix B.
#include "agent/providers/oauth/http_authorization_server.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/strip.h"
#include "tests/fakes/scripted_http_client.h"
#include "tests/fakes/simulated_executor.h"

namespace keyturn::providers {
namespace {

class HttpAuthorizationServerTest : public testing::Test {
 protected:
  fakes::ScriptedHttpClient::Request Send(TokenRequest request) {
    http_.SetHandler([](const auto&) {
      return fakes::ScriptedHttpClient::Reply(200, R"({"access_token":"at","expires_in":60})");
    });
    endpoint_.Request(std::move(request), [this](TokenReply reply) { reply_ = std::move(reply); });
    executor_.AdvanceBy(absl::Seconds(1));
    return http_.requests().back();
  }
  static TokenRequest Request() {
    TokenRequest request;
    request.server.endpoints.token = "https://as.example.com/token";
    request.server.client.id = "app";
    request.server.client.secret = base::Secret("s3cret");
    return request;
  }

  fakes::SimulatedClock clock_;
  fakes::SimulatedExecutor executor_{clock_};
  fakes::ScriptedHttpClient http_{clock_, executor_};
  HttpAuthorizationServer endpoint_{http_, absl::Seconds(10)};
  std::optional<TokenReply> reply_;
};

TEST_F(HttpAuthorizationServerTest, ClientCredentialsWithBasic) {
  const auto sent = Send(Request());
  EXPECT_EQ(sent.method, "POST");
  EXPECT_EQ(sent.url, "https://as.example.com/token");
  EXPECT_EQ(sent.body, "grant_type=client_credentials");
  EXPECT_EQ(sent.Header("Content-Type"), "application/x-www-form-urlencoded");
  EXPECT_EQ(sent.Header("Authorization"), "Basic YXBwOnMzY3JldA==");
  EXPECT_TRUE(sent.fresh_connection);
  ASSERT_TRUE(reply_.has_value());
  EXPECT_EQ(reply_->access_token.Reveal(), "at");
}

TEST_F(HttpAuthorizationServerTest, BasicEncodesIdAndSecretFirst) {
  TokenRequest request = Request();
  request.server.client.id = "my app:1";
  request.server.client.secret = base::Secret("p%&/\xc3\xa4+");
  std::string header = Send(std::move(request)).Header("Authorization");
  absl::string_view encoded = header;
  ASSERT_TRUE(absl::ConsumePrefix(&encoded, "Basic "));
  std::string pair;
  ASSERT_TRUE(absl::Base64Unescape(encoded, &pair));
  EXPECT_EQ(pair, "my+app%3A1:p%25%26%2F%C3%A4%2B");
}

TEST_F(HttpAuthorizationServerTest, PostPutsTheClientIntoTheBody) {
  TokenRequest request = Request();
  request.server.client.auth = v1::POST;
  request.server.client.secret = base::Secret("a&b=c");
  const auto sent = Send(std::move(request));
  EXPECT_EQ(sent.body, "grant_type=client_credentials&client_id=app&client_secret=a%26b%3Dc");
  EXPECT_EQ(sent.Header("Authorization"), "");
}

TEST_F(HttpAuthorizationServerTest, APublicClientSendsItsIdAlone) {
  TokenRequest request = Request();
  request.server.client.auth = v1::NONE;
  const auto sent = Send(std::move(request));
  EXPECT_EQ(sent.body, "grant_type=client_credentials&client_id=app");
  EXPECT_EQ(sent.Header("Authorization"), "");
}

TEST_F(HttpAuthorizationServerTest, ARefreshCarriesItsTokenScopesAndExtras) {
  TokenRequest request = Request();
  request.grant = Grant::kRefreshToken;
  request.refresh_token = base::Secret("r/t+1");
  request.scopes = {"read", "write"};
  request.audience = "https://api.example.com";
  request.extra_params = {{"resource", "a b"}};
  EXPECT_EQ(Send(std::move(request)).body,
            "grant_type=refresh_token&refresh_token=r%2Ft%2B1&scope=read+write"
            "&audience=https%3A%2F%2Fapi.example.com&resource=a+b");
}

TEST_F(HttpAuthorizationServerTest, AClientCredentialsRequestNeverCarriesARefreshToken) {
  TokenRequest request = Request();
  request.refresh_token = base::Secret("left-over");
  EXPECT_EQ(Send(std::move(request)).body.find("left-over"), std::string::npos);
}

}  // namespace
}  // namespace keyturn::providers
