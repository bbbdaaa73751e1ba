// SPDX-License-Identifier: Apache-2.0
// A client of authorization servers over scripted HTTP, and what its tests ask of it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "agent/providers/oauth/http_authorization_server.h"
#include "tests/fakes/scripted_http_client.h"
#include "tests/fakes/seeded_random.h"
#include "tests/fakes/simulated_executor.h"

namespace keyturn::providers {

using fakes::ScriptedHttpClient;
using Sent = ScriptedHttpClient::Request;

inline constexpr char kToken[] = "https://as.example.com/token";
inline constexpr char kIssuer[] = "https://as.example.com/t";
inline constexpr char kOAuthDocument[] =
    "https://as.example.com/.well-known/oauth-authorization-server/t";
inline constexpr char kOpenIdDocument[] =
    "https://as.example.com/t/.well-known/openid-configuration";

inline std::string Decoded(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      out += absl::HexStringToBytes(text.substr(i + 1, 2));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

inline std::map<std::string, std::string> Form(const Sent& sent) {
  std::map<std::string, std::string> params;
  for (const auto& pair : absl::StrSplit(sent.body, '&')) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(pair, absl::MaxSplits('=', 1));
    EXPECT_TRUE(params.emplace(parts.first, Decoded(parts.second)).second)
        << parts.first << " twice";
  }
  return params;
}

class HttpAuthorizationServerTest : public testing::Test {
 protected:
  HttpAuthorizationServerTest() {
    http_.SetHandler([](const Sent&) {
      return ScriptedHttpClient::Reply(200, R"({"access_token":"at","expires_in":60})");
    });
  }
  TokenReply Ask(TokenRequest request) {
    std::optional<TokenReply> got;
    server_.Request(std::move(request), [&got](TokenReply reply) {
      EXPECT_FALSE(got.has_value()) << "answered twice";
      got = std::move(reply);
    });
    EXPECT_FALSE(got.has_value()) << "from within the call";
    executor_.AdvanceBy(absl::Seconds(1));
    EXPECT_TRUE(got.has_value());
    return got ? *std::move(got) : TokenReply();
  }
  Sent Send(TokenRequest request) {
    EXPECT_EQ(Ask(std::move(request)).outcome, TokenOutcome::kGranted);
    return http_.requests().back();
  }
  // One of the calls that answer with a StatusOr.
  template <class T>
  absl::StatusOr<T> Get(const std::function<void(AuthorizationServer::Answer<T>)>& call) {
    std::optional<absl::StatusOr<T>> got;
    call([&got](absl::StatusOr<T> answer) {
      EXPECT_FALSE(got.has_value()) << "answered twice";
      got = std::move(answer);
    });
    EXPECT_FALSE(got.has_value()) << "from within the call";
    executor_.AdvanceBy(absl::Seconds(1));
    EXPECT_TRUE(got.has_value());
    return got ? *std::move(got) : absl::InternalError("no answer");
  }
  absl::StatusOr<Endpoints> Discover(ServerConfig config) {
    return Get<Endpoints>([&](auto done) { server_.Discover(config, std::move(done)); });
  }
  absl::StatusOr<DeviceReply> StartDevice(ServerConfig config, DeviceRequest request = {}) {
    if (request.scopes.empty()) request.scopes = {"a", "b"};
    return Get<DeviceReply>(
        [&](auto done) { server_.StartDevice(config, request, std::move(done)); });
  }
  absl::StatusOr<IntrospectionReply> Introspect(ServerConfig config) {
    return Get<IntrospectionReply>(
        [&](auto done) { server_.Introspect(config, base::Secret("at"), std::move(done)); });
  }
  absl::StatusOr<int> Try(TokenTrial trial) {
    trial.url = "https://api.example.com/me?x=1";
    trial.access_token = base::Secret("at");
    return Get<int>([&](auto done) { server_.Try(std::move(trial), std::move(done)); });
  }
  absl::Status Revoke(ServerConfig config) {
    std::optional<absl::Status> got;
    server_.Revoke(std::move(config), base::Secret("r+t"), "refresh_token",
                   [&got](absl::Status status) { got = std::move(status); });
    EXPECT_FALSE(got.has_value()) << "from within the call";
    executor_.AdvanceBy(absl::Seconds(1));
    return got.value_or(absl::InternalError("no answer"));
  }
  void Answer(int status, const std::string& body,
              std::vector<std::pair<std::string, std::string>> headers = {}) {
    http_.SetHandler([=](const Sent&) { return ScriptedHttpClient::Reply(status, body, headers); });
  }
  // Serves documents by URL and tokens at any POST.
  void Serve(std::map<std::string, std::string> documents) {
    http_.SetHandler([documents = std::move(documents)](const Sent& sent) {
      if (sent.method == "POST") {
        return ScriptedHttpClient::Reply(200, R"({"access_token":"at"})");
      }
      const auto found = documents.find(sent.url);
      return found == documents.end() ? ScriptedHttpClient::Reply(404, "")
                                      : ScriptedHttpClient::Reply(200, found->second);
    });
  }
  static TokenRequest Request(Grant grant = Grant::kClientCredentials) {
    TokenRequest request;
    request.grant = grant;
    request.server.endpoints.token = kToken;
    request.server.client.id = "app";
    request.server.client.secret = base::Secret("s3cret");
    return request;
  }
  static ServerConfig Issuer() {
    ServerConfig config = Request().server;
    config.endpoints.token.clear();
    config.endpoints.issuer = kIssuer;
    return config;
  }
  static std::string Document(const std::string& more = "") {
    return absl::StrCat(R"({"issuer":")", kIssuer, R"(","token_endpoint":")", kToken, "\"", more,
                        "}");
  }
  size_t Count(const std::string& url) const {
    size_t count = 0;
    for (const Sent& sent : http_.requests()) count += sent.url == url ? 1 : 0;
    return count;
  }

  fakes::SimulatedClock clock_;
  fakes::SimulatedExecutor executor_{clock_};
  ScriptedHttpClient http_{clock_, executor_};
  fakes::SeededRandom random_{1};
  HttpAuthorizationServer server_{
      http_, {.egress = {}, .timeout = absl::Seconds(10)}, clock_, random_};
};

}  // namespace keyturn::providers
