// SPDX-License-Identifier: Apache-2.0
// What goes out for each grant and each way of authenticating, where it goes, and what comes back:
// RFC 6749, 7009, 7521, 7523, 7662, 8414, 8628, 8693, 8705, 8707, 9449.
#include "agent/providers/oauth/http_authorization_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "agent/providers/proof_key.h"
#include "tests/unit/providers/http_authorization_server_house.h"
#include "tests/unit/providers/signed_tokens.h"

namespace keyturn::providers {
namespace {

using testing::HasSubstr;

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

TEST_F(HttpAuthorizationServerTest, WhatWasKnownCountsWhileItCannotBeReadAgain) {
  TokenRequest request = Request();
  request.server = Issuer();
  Serve({{kOAuthDocument, Document()}});
  EXPECT_EQ(Ask(request).outcome, TokenOutcome::kGranted);
  const auto everything_but_tokens = [this](int status, const char* body) {
    http_.SetHandler([status, body](const Sent& sent) {
      return sent.method == "GET"
                 ? ScriptedHttpClient::Reply(status, body)
                 : ScriptedHttpClient::Reply(200, R"({"access_token":"at","token_type":"Bearer"})");
    });
  };
  for (const auto& [status, body] : {std::pair(403, "<html>"), std::pair(200, "<html>"),
                                     std::pair(404, ""), std::pair(502, "")}) {
    everything_but_tokens(status, body);
    executor_.AdvanceBy(absl::Hours(1));
    EXPECT_EQ(Ask(request).outcome, TokenOutcome::kGranted) << status;
    const size_t asked = http_.requests().size();
    EXPECT_EQ(Ask(request).outcome, TokenOutcome::kGranted) << status;
    EXPECT_EQ(http_.requests().size(), asked + 1) << "not asked for at each exchange";
  }
  everything_but_tokens(200, R"({"issuer":"https://evil.example.com"})");
  executor_.AdvanceBy(absl::Hours(1));
  EXPECT_EQ(Ask(request).cause, "issuer_mismatch") << "that is a reason to stop";
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
