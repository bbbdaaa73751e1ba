// SPDX-License-Identifier: Apache-2.0
// What goes out for each grant and each way of authenticating, where it goes, and what comes back:
// RFC 6749, 7009, 7521, 7523, 7662, 8414, 8628, 8693, 8705, 8707, 9449.
#include "agent/providers/oauth/http_authorization_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "agent/providers/proof_key.h"
#include "tests/fakes/scripted_http_client.h"
#include "tests/fakes/seeded_random.h"
#include "tests/fakes/simulated_executor.h"
#include "tests/unit/providers/signed_tokens.h"

namespace keyturn::providers {
namespace {

using fakes::ScriptedHttpClient;
using Sent = ScriptedHttpClient::Request;
using testing::HasSubstr;
using testing::Not;

constexpr char kToken[] = "https://as.example.com/token";
constexpr char kIssuer[] = "https://as.example.com/t";
constexpr char kOAuthDocument[] = "https://as.example.com/.well-known/oauth-authorization-server/t";
constexpr char kOpenIdDocument[] = "https://as.example.com/t/.well-known/openid-configuration";

std::string Decoded(absl::string_view text) {
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

std::map<std::string, std::string> Form(const Sent& sent) {
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

TEST_F(HttpAuthorizationServerTest, ClientCredentialsWithBasic) {
  const Sent sent = Send(Request());
  EXPECT_EQ(sent.method, "POST");
  EXPECT_EQ(sent.url, kToken);
  EXPECT_EQ(sent.body, "grant_type=client_credentials");
  EXPECT_EQ(sent.Header("Content-Type"), "application/x-www-form-urlencoded");
  EXPECT_EQ(sent.Header("Accept"), "application/json");
  EXPECT_EQ(sent.Header("Authorization"), "Basic YXBwOnMzY3JldA==");
  EXPECT_EQ(sent.Header("DPoP"), "");
  EXPECT_TRUE(sent.fresh_connection);
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
  const Sent sent = Send(std::move(request));
  EXPECT_EQ(sent.body, "grant_type=client_credentials&client_id=app&client_secret=a%26b%3Dc");
  EXPECT_EQ(sent.Header("Authorization"), "");
}

TEST_F(HttpAuthorizationServerTest, APublicClientSendsItsIdAlone) {
  TokenRequest request = Request();
  request.server.client.auth = v1::NONE;
  const Sent sent = Send(std::move(request));
  EXPECT_EQ(sent.body, "grant_type=client_credentials&client_id=app");
  EXPECT_EQ(sent.Header("Authorization"), "");
}

TEST_F(HttpAuthorizationServerTest, ARefreshCarriesItsTokenScopesAndExtras) {
  TokenRequest request = Request(Grant::kRefreshToken);
  request.refresh_token = base::Secret("r/t+1");
  request.scopes = {"read", "write"};
  request.audience = "https://api.example.com";
  request.extra_params = {{"x", "a b"}};
  EXPECT_EQ(Send(std::move(request)).body,
            "grant_type=refresh_token&refresh_token=r%2Ft%2B1&scope=read+write"
            "&audience=https%3A%2F%2Fapi.example.com&x=a+b");
}

TEST_F(HttpAuthorizationServerTest, ARefreshMayHaveItsOwnUrl) {
  TokenRequest request = Request(Grant::kRefreshToken);
  request.server.endpoints.refresh = "https://as.example.com/refresh";
  request.refresh_token = base::Secret("rt");
  EXPECT_EQ(Send(request).url, "https://as.example.com/refresh");
  request.grant = Grant::kClientCredentials;
  EXPECT_EQ(Send(request).url, kToken);
  request.grant = Grant::kRefreshToken;
  request.server.endpoints.token.clear();
  EXPECT_EQ(Send(request).url, "https://as.example.com/refresh");
}

TEST_F(HttpAuthorizationServerTest, AClientCredentialsRequestNeverCarriesWhatOtherGrantsBring) {
  TokenRequest request = Request();
  for (base::Secret* secret :
       {&request.refresh_token, &request.code, &request.code_verifier, &request.device_code,
        &request.assertion, &request.subject_token, &request.actor_token}) {
    *secret = base::Secret("left-over");
  }
  EXPECT_EQ(Send(std::move(request)).body, "grant_type=client_credentials");
}

TEST_F(HttpAuthorizationServerTest, AuthorizationCode) {
  TokenRequest request = Request(Grant::kAuthorizationCode);
  request.server.client.auth = v1::NONE;
  request.code = base::Secret("c/1");
  request.redirect_uri = "http://127.0.0.1:4711/callback";
  request.code_verifier = base::Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
  request.scopes = {"not-said-again"};
  request.resources = {"https://a"};
  EXPECT_EQ(Send(std::move(request)).body,
            "grant_type=authorization_code&code=c%2F1"
            "&redirect_uri=http%3A%2F%2F127.0.0.1%3A4711%2Fcallback"
            "&code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
            "&resource=https%3A%2F%2Fa&client_id=app");
}

TEST_F(HttpAuthorizationServerTest, DeviceCode) {
  TokenRequest request = Request(Grant::kDeviceCode);
  request.device_code = base::Secret("dc");
  request.scopes = {"not-said-again"};
  EXPECT_EQ(Send(std::move(request)).body,
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=dc");
}

TEST_F(HttpAuthorizationServerTest, TokenExchange) {
  TokenRequest request = Request(Grant::kTokenExchange);
  request.subject_token = base::Secret("st");
  request.subject_token_type = "urn:st";
  request.scopes = {"a"};
  request.audience = "api";
  request.resources = {"https://one", "https://two"};
  EXPECT_EQ(Send(request).body,
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=st"
            "&subject_token_type=urn%3Ast&scope=a&audience=api&resource=https%3A%2F%2Fone"
            "&resource=https%3A%2F%2Ftwo");
  request.resources.clear();
  request.actor_token = base::Secret("at");
  request.actor_token_type = "urn:at";
  request.requested_token_type = "urn:rt";
  const auto form = Form(Send(request));
  EXPECT_EQ(form.at("actor_token"), "at");
  EXPECT_EQ(form.at("actor_token_type"), "urn:at");
  EXPECT_EQ(form.at("requested_token_type"), "urn:rt");
}

TEST_F(HttpAuthorizationServerTest, JwtBearerWithSomebodyElsesAssertion) {
  TokenRequest request = Request(Grant::kJwtBearer);
  request.assertion = base::Secret("h.p.s");
  EXPECT_EQ(Send(std::move(request)).body,
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=h.p.s");
}

TEST_F(HttpAuthorizationServerTest, JwtBearerWithAnOwnAssertion) {
  const TestKey key = TestKey::Rsa();
  TokenRequest request = Request(Grant::kJwtBearer);
  request.server.client = {};
  request.server.client.signing_key = key.Pem();
  request.server.client.algorithm = "RS256";
  request.server.client.key_id = "k7";
  request.claims = {{"iss", "robot@project"}, {"scope", "drive"}, {"aud", ""}};
  request.assertion_lifetime = absl::Minutes(30);
  const Sent sent = Send(request);
  EXPECT_EQ(sent.Header("Authorization"), "") << "there is no client to speak of";
  const SignedToken assertion = SignedToken::Parse(Form(sent).at("assertion"));
  EXPECT_TRUE(assertion.VerifiedBy(key));
  EXPECT_EQ(assertion.header.at("kid"), "k7");
  EXPECT_EQ(assertion.claims.at("iss"), "robot@project");
  EXPECT_EQ(assertion.claims.at("scope"), "drive");
  EXPECT_EQ(assertion.claims.at("aud"), kToken);
  EXPECT_EQ(assertion.claims.at("exp").get<int64_t>() - assertion.claims.at("iat").get<int64_t>(),
            1800);
  EXPECT_FALSE(assertion.claims.at("jti").get<std::string>().empty());
  request.claims["aud"] = "https://said.example.com";
  EXPECT_EQ(SignedToken::Parse(Form(Send(request)).at("assertion")).claims.at("aud"),
            "https://said.example.com");
}

TEST_F(HttpAuthorizationServerTest, PrivateKeyJwt) {
  const std::pair<const char*, TestKey> keys[] = {
      {"RS256", TestKey::Rsa()}, {"ES256", TestKey::Ec()}, {"EdDSA", TestKey::Ed25519()}};
  for (const auto& [algorithm, key] : keys) {
    TokenRequest request = Request();
    request.server.client.auth = v1::PRIVATE_KEY_JWT;
    request.server.client.signing_key = key.Pem();
    request.server.client.algorithm = algorithm;
    request.server.client.key_id = "kid-1";
    const Sent sent = Send(request);
    auto form = Form(sent);
    EXPECT_EQ(sent.Header("Authorization"), "");
    EXPECT_EQ(form.at("client_assertion_type"),
              "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    EXPECT_EQ(form.count("client_secret"), 0U);
    const SignedToken assertion = SignedToken::Parse(form.at("client_assertion"));
    EXPECT_TRUE(assertion.VerifiedBy(key)) << algorithm;
    EXPECT_EQ(assertion.header.at("alg"), algorithm);
    EXPECT_EQ(assertion.header.at("kid"), "kid-1");
    EXPECT_EQ(assertion.claims.at("iss"), "app");
    EXPECT_EQ(assertion.claims.at("sub"), "app");
    EXPECT_EQ(assertion.claims.at("aud"), kToken);
    EXPECT_LE(assertion.claims.at("exp").get<int64_t>(),
              absl::ToUnixSeconds(clock_.WallNow()) + 300);
    request.server.endpoints.issuer = kIssuer;
    const SignedToken next = SignedToken::Parse(Form(Send(request)).at("client_assertion"));
    EXPECT_EQ(next.claims.at("aud"), kIssuer) << "where the issuer is known";
    EXPECT_NE(next.claims.at("jti"), assertion.claims.at("jti"));
  }
}

// What an assertion says as `aud`, of the last request.
std::string AudienceIn(const Sent& sent) {
  return SignedToken::Parse(Form(sent).at("client_assertion")).claims.at("aud");
}

TEST_F(HttpAuthorizationServerTest, AssertionsAreForWhomTheServerWants) {
  ServerConfig server = Request().server;
  server.client.auth = v1::CLIENT_SECRET_JWT;
  server.endpoints.issuer = kIssuer;
  server.endpoints.refresh = "https://as.example.com/refresh";
  server.endpoints.device = "https://as.example.com/device";
  server.endpoints.revocation = "https://as.example.com/revoke";
  server.endpoints.introspection = "https://as.example.com/introspect";
  struct Case {
    v1::OAuthQuirks::AssertionAudience choice;
    std::string token, refresh, device, revocation, introspection;
  };
  const Case cases[] = {
      {v1::OAuthQuirks::ASSERTION_AUDIENCE_UNSPECIFIED, kIssuer, kIssuer, kIssuer, kIssuer,
       kIssuer},
      {v1::OAuthQuirks::ISSUER, kIssuer, kIssuer, kIssuer, kIssuer, kIssuer},
      {v1::OAuthQuirks::TOKEN_URL, kToken, kToken, kToken, kToken, kToken},
      {v1::OAuthQuirks::ENDPOINT, kToken, server.endpoints.refresh, server.endpoints.device,
       server.endpoints.revocation, server.endpoints.introspection}};
  for (const Case& c : cases) {
    server.quirks.set_assertion_audience(c.choice);
    TokenRequest request = Request();
    request.server = server;
    EXPECT_EQ(AudienceIn(Send(request)), c.token) << c.choice;
    request.grant = Grant::kRefreshToken;
    request.refresh_token = base::Secret("rt");
    EXPECT_EQ(AudienceIn(Send(request)), c.refresh) << c.choice;
    (void)StartDevice(server);
    EXPECT_EQ(AudienceIn(http_.requests().back()), c.device) << c.choice;
    (void)Revoke(server);
    EXPECT_EQ(AudienceIn(http_.requests().back()), c.revocation) << c.choice;
    (void)Introspect(server);
    EXPECT_EQ(AudienceIn(http_.requests().back()), c.introspection) << c.choice;
  }
}

TEST_F(HttpAuthorizationServerTest, ATokenUrlThatAssertionsNameIsLookedUp) {
  Serve({{kOAuthDocument, Document()}});
  ServerConfig server = Issuer();
  server.client.auth = v1::CLIENT_SECRET_JWT;
  server.endpoints.revocation = "https://as.example.com/revoke";
  server.quirks.set_assertion_audience(v1::OAuthQuirks::TOKEN_URL);
  EXPECT_TRUE(Revoke(server).ok());
  EXPECT_EQ(AudienceIn(http_.requests().back()), kToken);
  EXPECT_EQ(http_.requests().back().url, "https://as.example.com/revoke");
}

TEST_F(HttpAuthorizationServerTest, ClientSecretJwt) {
  TokenRequest request = Request();
  request.server.client.auth = v1::CLIENT_SECRET_JWT;
  auto form = Form(Send(std::move(request)));
  const SignedToken assertion = SignedToken::Parse(form.at("client_assertion"));
  EXPECT_EQ(assertion.header.at("alg"), "HS256");
  EXPECT_TRUE(assertion.VerifiedBySecret("s3cret"));
  EXPECT_EQ(form.count("client_secret"), 0U) << "it is not sent";
}

TEST_F(HttpAuthorizationServerTest, ACertificateGoesWithTheConnectionAndTheIdWithTheBody) {
  TokenRequest request = Request();
  request.server.client.certificate = base::Secret("cert");
  request.server.client.certificate_key = base::Secret("key");
  EXPECT_EQ(Send(request).client_certificate, "") << "only when it is the way to authenticate";
  request.server.client.auth = v1::TLS_CLIENT_AUTH;
  const Sent sent = Send(request);
  EXPECT_EQ(sent.client_certificate, "cert");
  EXPECT_EQ(sent.client_key, "key");
  EXPECT_EQ(sent.body, "grant_type=client_credentials&client_id=app");
  EXPECT_EQ(sent.Header("Authorization"), "");
}

TEST_F(HttpAuthorizationServerTest, AKeyThatCannotSignRefusesTheClientAndSendsNothing) {
  for (const char* algorithm : {"RS256", "HS256", "none", ""}) {
    TokenRequest request = Request();
    request.server.client.auth = v1::PRIVATE_KEY_JWT;
    request.server.client.signing_key = base::Secret("no key");
    request.server.client.algorithm = algorithm;
    const TokenReply reply = Ask(request);
    EXPECT_EQ(reply.outcome, TokenOutcome::kClientRefused) << algorithm;
    EXPECT_EQ(reply.cause, "signing_key");
    request.grant = Grant::kJwtBearer;
    request.server.client.auth = v1::NONE;
    EXPECT_EQ(Ask(request).cause, "signing_key");
  }
  EXPECT_TRUE(http_.requests().empty());
}

TEST_F(HttpAuthorizationServerTest, JsonBodyAsDifyWantsIt) {
  TokenRequest request = Request(Grant::kRefreshToken);
  request.server.client.auth = v1::POST;
  request.server.quirks.set_body(v1::OAuthQuirks::JSON);
  request.refresh_token = base::Secret("r\"t");
  request.resources = {"https://a", "https://b"};
  const Sent sent = Send(std::move(request));
  EXPECT_EQ(sent.Header("Content-Type"), "application/json");
  EXPECT_EQ(nlohmann::json::parse(sent.body),
            (nlohmann::json{{"grant_type", "refresh_token"},
                            {"refresh_token", "r\"t"},
                            {"resource", {"https://a", "https://b"}},
                            {"client_id", "app"},
                            {"client_secret", "s3cret"}}));
}

TEST_F(HttpAuthorizationServerTest, SeparatorsHeadersAndOverriddenParameters) {
  TokenRequest request = Request();
  request.scopes = {"a", "b"};
  request.server.quirks.set_scope_separator(",");
  (*request.server.quirks.mutable_headers())["X-Version"] = "7";
  (*request.server.quirks.mutable_headers())["accept"] = "application/vnd.x+json";
  // As Zoom wants it.
  request.extra_params = {{"grant_type", "account_credentials"}, {"account_id", "id"}};
  const Sent sent = Send(std::move(request));
  EXPECT_EQ(sent.body, "grant_type=account_credentials&scope=a%2Cb&account_id=id");
  EXPECT_EQ(sent.Header("X-Version"), "7");
  EXPECT_EQ(sent.Header("Accept"), "application/vnd.x+json");
}

TEST_F(HttpAuthorizationServerTest, TheReplyIsReadByTheQuirks) {
  Answer(200, R"({"data":{"t":"at","e":"00:01:00"}})");
  TokenRequest request = Request();
  request.server.quirks.set_access_token("/data/t");
  request.server.quirks.set_expires_in("/data/e");
  request.server.quirks.set_lifetime_unit(v1::OAuthQuirks::HH_MM_SS);
  const base::BootTime before = clock_.BootNow();
  const TokenReply reply = Ask(std::move(request));
  EXPECT_EQ(reply.access_token.Reveal(), "at");
  EXPECT_EQ(reply.expires_in, absl::Minutes(1));
  EXPECT_EQ(reply.sent_at, before);
}

TEST_F(HttpAuthorizationServerTest, NoEndpointAndNoIssuerRefusesTheClient) {
  TokenRequest request = Request();
  request.server.endpoints = {};
  const TokenReply reply = Ask(std::move(request));
  EXPECT_EQ(reply.outcome, TokenOutcome::kClientRefused);
  EXPECT_EQ(reply.cause, "no_token_endpoint");
  EXPECT_TRUE(http_.requests().empty());
}

TEST_F(HttpAuthorizationServerTest, ProofsAreMadeForTokenRequests) {
  const base::Secret key = NewProofKey().value();
  TokenRequest request = Request();
  request.server.dpop_key = key;
  const SignedToken proof = SignedToken::Parse(Send(std::move(request)).Header("DPoP"));
  EXPECT_TRUE(proof.VerifiedBy(TestKey::OfPem(key)));
  EXPECT_EQ(proof.claims.at("htu"), kToken);
  EXPECT_EQ(proof.claims.at("htm"), "POST");
  EXPECT_EQ(proof.claims.count("ath"), 0U);
}

TEST_F(HttpAuthorizationServerTest, ANonceIsAskedForOnceAndKept) {
  http_.SetHandler([](const Sent& sent) {
    const SignedToken proof = SignedToken::Parse(sent.Header("DPoP"));
    if (proof.claims.value("nonce", "") == "n1") {
      return ScriptedHttpClient::Reply(200, R"({"access_token":"at","token_type":"DPoP"})",
                                       {{"dpop-nonce", "n2"}});
    }
    return ScriptedHttpClient::Reply(400, R"({"error":"use_dpop_nonce"})", {{"dpop-nonce", "n1"}});
  });
  TokenRequest request = Request();
  request.server.client.auth = v1::CLIENT_SECRET_JWT;
  request.server.dpop_key = NewProofKey().value();
  const TokenReply reply = Ask(request);
  EXPECT_EQ(reply.outcome, TokenOutcome::kGranted);
  EXPECT_EQ(reply.token_type, "DPoP");
  ASSERT_EQ(http_.requests().size(), 2U);
  const auto jti = [&](size_t i, const std::string& name) {
    const Sent& sent = http_.requests()[i];
    return SignedToken::Parse(name == "DPoP" ? sent.Header(name) : Form(sent).at(name))
        .claims.at("jti");
  };
  EXPECT_NE(jti(0, "DPoP"), jti(1, "DPoP"));
  EXPECT_NE(jti(0, "client_assertion"), jti(1, "client_assertion")) << "none is used twice";
  Ask(request);
  EXPECT_EQ(SignedToken::Parse(http_.requests()[2].Header("DPoP")).claims.at("nonce"), "n2");
}

TEST_F(HttpAuthorizationServerTest, AServerThatAsksForNoncesForeverIsGivenUp) {
  Answer(400, R"({"error":"use_dpop_nonce"})", {{"dpop-nonce", "n"}});
  TokenRequest request = Request(Grant::kRefreshToken);
  request.server.dpop_key = NewProofKey().value();
  const TokenReply reply = Ask(std::move(request));
  EXPECT_EQ(reply.outcome, TokenOutcome::kTransient);
  EXPECT_EQ(reply.cause, "use_dpop_nonce");
  EXPECT_EQ(http_.requests().size(), 2U);
}

TEST_F(HttpAuthorizationServerTest, WithoutAKeyNobodysNonceRepeatsARequest) {
  Answer(400, R"({"error":"use_dpop_nonce"})", {{"dpop-nonce", "n"}});
  Ask(Request(Grant::kRefreshToken));
  EXPECT_EQ(http_.requests().size(), 1U);
}

TEST_F(HttpAuthorizationServerTest, ABadProofKeyRefusesTheClient) {
  TokenRequest request = Request();
  request.server.dpop_key = base::Secret("no key");
  EXPECT_EQ(Ask(std::move(request)).cause, "signing_key");
  EXPECT_TRUE(http_.requests().empty());
}

TEST_F(HttpAuthorizationServerTest, DiscoveryGoesFirstAndIsKeptForAnHour) {
  Serve({{kOAuthDocument, Document()}});
  TokenRequest request = Request();
  request.server = Issuer();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Send(request).url, kToken);
  ASSERT_EQ(http_.requests().size(), 4U);
  EXPECT_EQ(http_.requests()[0].method, "GET");
  EXPECT_EQ(http_.requests()[0].url, kOAuthDocument);
  EXPECT_EQ(http_.requests()[0].Header("Authorization"), "");
  executor_.AdvanceBy(absl::Hours(1));
  Send(request);
  EXPECT_EQ(Count(kOAuthDocument), 2U);
}

TEST_F(HttpAuthorizationServerTest, OneFetchServesAllWhoWait) {
  Serve({{kOAuthDocument, Document()}});
  TokenRequest request = Request();
  request.server = Issuer();
  int granted = 0;
  for (int i = 0; i < 20; ++i) {
    server_.Request(request, [&](const TokenReply& reply) {
      granted += reply.outcome == TokenOutcome::kGranted ? 1 : 0;
    });
  }
  executor_.AdvanceBy(absl::Seconds(1));
  EXPECT_EQ(granted, 20);
  EXPECT_EQ(Count(kOAuthDocument), 1U);
}

TEST_F(HttpAuthorizationServerTest, OpenIdsPlaceIsTheSecond) {
  Serve({{kOpenIdDocument, Document()}});
  TokenRequest request = Request();
  request.server = Issuer();
  EXPECT_EQ(Send(request).url, kToken);
  EXPECT_EQ(Count(kOAuthDocument), 1U);
  Serve({{kOAuthDocument, "<html>"}, {kOpenIdDocument, Document()}});
  executor_.AdvanceBy(absl::Hours(2));
  EXPECT_EQ(Send(request).url, kToken);
}

TEST_F(HttpAuthorizationServerTest, StatedUrlsWinAndNeedNoDiscovery) {
  TokenRequest request = Request();
  request.server.endpoints.issuer = kIssuer;
  Send(std::move(request));
  EXPECT_EQ(http_.requests().size(), 1U);
}

TEST_F(HttpAuthorizationServerTest, AnotherIssuersDocumentRefusesTheClient) {
  Serve({{kOAuthDocument,
          R"({"issuer":"https://evil.example.com","token_endpoint":"https://evil"})"}});
  TokenRequest request = Request();
  request.server = Issuer();
  const TokenReply reply = Ask(request);
  EXPECT_EQ(reply.outcome, TokenOutcome::kClientRefused);
  EXPECT_EQ(reply.cause, "issuer_mismatch");
  for (const Sent& sent : http_.requests()) EXPECT_EQ(sent.method, "GET");
  EXPECT_TRUE(absl::IsFailedPrecondition(Discover(Issuer()).status()));
}

TEST_F(HttpAuthorizationServerTest, FailedDiscoverySendsNothingAndIsNotKept) {
  TokenRequest request = Request();
  request.server = Issuer();
  const net::HttpResult failures[] = {
      ScriptedHttpClient::Reply(500, ""), ScriptedHttpClient::Reply(429, ""),
      ScriptedHttpClient::Failed(net::Delivery::kUnknown, "timeout"),
      ScriptedHttpClient::Failed(net::Delivery::kNotSent, "dns")};
  for (const net::HttpResult& failure : failures) {
    http_.SetHandler([failure](const Sent& sent) {
      EXPECT_EQ(sent.method, "GET");
      return failure;
    });
    const TokenReply reply = Ask(request);
    EXPECT_EQ(reply.outcome, TokenOutcome::kTransient) << failure.reply.status;
    EXPECT_EQ(reply.cause, "discovery");
  }
  Serve({{kOAuthDocument, Document()}});
  EXPECT_EQ(Ask(request).outcome, TokenOutcome::kGranted);
}

// It stays so until somebody corrects the issuer; the server is not in trouble.
TEST_F(HttpAuthorizationServerTest, AnIssuerWithoutMetadataRefusesTheClient) {
  TokenRequest request = Request();
  request.server = Issuer();
  for (const auto& [status, body] : {std::pair(404, ""), std::pair(200, "<html>")}) {
    Answer(status, body);
    const TokenReply reply = Ask(request);
    EXPECT_EQ(reply.outcome, TokenOutcome::kClientRefused) << status;
    EXPECT_EQ(reply.cause, "no_metadata") << status;
  }
  request.server.endpoints.issuer = "http://as.example.com";
  EXPECT_EQ(Ask(request).cause, "no_metadata");
  for (const Sent& sent : http_.requests()) EXPECT_EQ(sent.method, "GET");
}

TEST_F(HttpAuthorizationServerTest, DiscoverTellsWhatThereIs) {
  Serve({{kOAuthDocument, Document(R"(,"authorization_endpoint":"https://as.example.com/auth",
                      "mtls_endpoint_aliases":{"token_endpoint":"https://m.example.com/token"})")}});
  ServerConfig config = Issuer();
  config.endpoints.revocation = "https://stated.example.com/revoke";
  auto found = Discover(config);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->issuer, kIssuer);
  EXPECT_EQ(found->token, kToken);
  EXPECT_EQ(found->authorization, "https://as.example.com/auth");
  EXPECT_EQ(found->revocation, "https://stated.example.com/revoke");
  EXPECT_EQ(found->device, "");
  config.client.auth = v1::TLS_CLIENT_AUTH;
  found = Discover(config);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->token, "https://m.example.com/token");
}

// RFC 9207 section 3.
TEST_F(HttpAuthorizationServerTest, DiscoverTellsWhetherTheServerNamesItself) {
  constexpr char kNames[] = R"(,"authorization_response_iss_parameter_supported":)";
  for (const auto& [value, names] : std::vector<std::pair<std::string, bool>>{
           {"true", true}, {"false", false}, {R"("true")", false}, {"1", false}}) {
    Serve({{kOAuthDocument, Document(absl::StrCat(kNames, value))}});
    clock_.Advance(absl::Hours(2));  // what was kept is too old
    ServerConfig config = Issuer();
    // Nothing is missing, but the question is not answered either.
    config.endpoints.token = config.endpoints.authorization = config.endpoints.device =
        config.endpoints.revocation = config.endpoints.introspection = "https://as.example.com/x";
    const auto found = Discover(config);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(found->names_itself, names) << value;
    EXPECT_EQ(found->authorization, "https://as.example.com/x");
  }
}

TEST_F(HttpAuthorizationServerTest, DiscoverSaysWhyNot) {
  Serve({});
  EXPECT_TRUE(absl::IsFailedPrecondition(Discover(Issuer()).status()));
  ServerConfig config = Issuer();
  config.endpoints.token = kToken;  // the issuer is only there to be compared
  EXPECT_TRUE(Discover(config).ok());
  Answer(503, "");
  EXPECT_TRUE(absl::IsUnavailable(Discover(config).status()));
  config.endpoints.issuer.clear();
  const auto stated = Discover(config);
  ASSERT_TRUE(stated.ok());
  EXPECT_EQ(stated->token, kToken);
  config.endpoints.token.clear();
  config.endpoints.issuer = "http://as.example.com";
  EXPECT_TRUE(absl::IsFailedPrecondition(Discover(config).status()));
}

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
      {{400, R"({"error":"unsupported_token_type"})"}, absl::StatusCode::kFailedPrecondition},
      {{404, ""}, absl::StatusCode::kFailedPrecondition},
      {{405, ""}, absl::StatusCode::kFailedPrecondition}};
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
       StatusCode::kFailedPrecondition,
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
  EXPECT_TRUE(absl::IsFailedPrecondition(StartDevice(Issuer()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Introspect(Issuer()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Revoke(Request().server))) << "no issuer to ask";
  ServerConfig config = WithEndpoints(Request().server);
  config.client.auth = v1::PRIVATE_KEY_JWT;
  EXPECT_TRUE(absl::IsFailedPrecondition(Revoke(config))) << "nothing to sign with";
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

TEST_F(HttpAuthorizationServerTest, ExchangesOutliveTheObject) {
  std::optional<TokenReply> got;
  {
    HttpAuthorizationServer brief(http_, {}, clock_, random_);
    TokenRequest request = Request();
    request.server = Issuer();
    Serve({{kOAuthDocument, Document()}});
    brief.Request(std::move(request), [&got](TokenReply reply) { got = std::move(reply); });
  }
  executor_.AdvanceBy(absl::Seconds(1));
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->outcome, TokenOutcome::kGranted);
}

}  // namespace
}  // namespace keyturn::providers
