// SPDX-License-Identifier: Apache-2.0
// The parts that need no HTTP: parameters and how they are written, lifetimes, metadata, DPoP
// proofs and nonces.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "agent/providers/oauth/dpop_nonces.h"
#include "agent/providers/oauth/dpop_proof.h"
#include "agent/providers/oauth/lifetime.h"
#include "agent/providers/oauth/metadata.h"
#include "agent/providers/oauth/oauth_errors.h"
#include "agent/providers/oauth/request_params.h"
#include "agent/providers/proof_key.h"
#include "tests/fakes/scripted_http_client.h"
#include "tests/fakes/seeded_random.h"
#include "tests/unit/providers/signed_tokens.h"

namespace keyturn::providers {
namespace {

using fakes::ScriptedHttpClient;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(RequestParams, Form) {
  RequestParams params;
  params.Add("a b", "c&d=e");
  params.AddIfAny("none", "");
  params.Add("r", "1");
  params.Add("r", "\xc3\xa4*-._~");
  EXPECT_EQ(params.Form().Reveal(), "a+b=c%26d%3De&r=1&r=%C3%A4*-._%7E");
  EXPECT_EQ(RequestParams().Form().Reveal(), "");
}

TEST(RequestParams, Json) {
  RequestParams params;
  params.Add("q", "\"\\/\n\x01\xc3\xa4");
  params.Add("r", "1");
  params.Add("s", "");
  params.Add("r", "2");
  EXPECT_EQ(params.Json().Reveal(),
            "{\"q\":\"\\\"\\\\/\\u000A\\u0001\xc3\xa4\",\"r\":[\"1\",\"2\"],\"s\":\"\"}");
  EXPECT_EQ(nlohmann::json::parse(std::string(params.Json().Reveal())).at("q"),
            "\"\\/\n\x01\xc3\xa4");
  EXPECT_EQ(RequestParams().Json().Reveal(), "{}");
}

TEST(RequestParams, ReplaceTakesThePlaceOfAll) {
  RequestParams params;
  params.Add("a", "1");
  params.Add("b", "2");
  params.Add("a", "3");
  params.Replace("a", "4");
  params.Replace("c", "5");
  EXPECT_EQ(params.Form().Reveal(), "a=4&b=2&c=5");
}

TEST(Lifetime, OddTextsCountAsUnstated) {
  using Quirks = v1::OAuthQuirks;
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  const auto read = [&](const nlohmann::json& stated, Quirks::LifetimeUnit unit) {
    return ReadLifetime(stated, unit, now);
  };
  EXPECT_EQ(read("00:00:01", Quirks::HH_MM_SS), absl::Seconds(1));
  EXPECT_EQ(read("100:00:00", Quirks::HH_MM_SS), absl::Hours(100));
  EXPECT_EQ(read("4294967295:00:00", Quirks::HH_MM_SS), absl::Hours(24 * 366));
  EXPECT_EQ(read("2023-11-14T22:13:30+0000", Quirks::ISO8601), absl::Seconds(10));
  EXPECT_EQ(read("9999-12-31T23:59:59Z", Quirks::ISO8601), absl::Hours(24 * 366));
  EXPECT_EQ(read(1e300, Quirks::UNIX_TIME), absl::Hours(24 * 366));
  EXPECT_EQ(read(500, Quirks::MILLISECONDS), absl::Milliseconds(500));
  for (const char* text : {"", "1", "1:2", "00:60:00", "00:00:60", "00:00:-1", "-1:00:00", "a:b:c",
                           "x.01:00:00", "1:2:3:4", "00:00:nan"}) {
    EXPECT_EQ(read(text, Quirks::HH_MM_SS), absl::InfiniteDuration()) << text;
  }
  for (const char* text : {"", "soon", "2023-11-14", "2023-13-14T00:00:00Z", "1700000010",
                           "infinite-past", "infinite-future"}) {
    EXPECT_EQ(read(text, Quirks::ISO8601), absl::InfiniteDuration()) << text;
  }
  EXPECT_EQ(read(60, Quirks::HH_MM_SS), absl::InfiniteDuration());
  EXPECT_EQ(read(60, Quirks::ISO8601), absl::InfiniteDuration());
  for (const char* token :
       {"", "a", "a.b", "a.!.c", "a.W10.c", "a.e30.c", "a.eyJleHAiOiJ4In0.c", "a.b.c.d"}) {
    EXPECT_EQ(JwtLifetime(token, now), absl::InfiniteDuration()) << token;
  }
  EXPECT_FALSE(ParseHttpDate("").has_value());
  EXPECT_FALSE(ParseHttpDate("infinite-future").has_value());
}

TEST(OAuthErrors, CausesAreWordsOfTheStandards) {
  EXPECT_STREQ(ErrorOf("bad_refresh_token", false).code, "invalid_grant");
  EXPECT_EQ(ErrorOf("slow_down", true).outcome, TokenOutcome::kPending);
  EXPECT_EQ(ErrorOf("slow_down", false).outcome, TokenOutcome::kTransient);
  for (const char* unknown : {"", "something", "invalid_grant ", "Invalid_Grant"}) {
    EXPECT_EQ(ErrorOf(unknown, false).outcome, TokenOutcome::kAmbiguous) << unknown;
    EXPECT_STREQ(ErrorOf(unknown, false).code, "") << unknown;
  }
}

net::EgressRules Egress() { return net::EgressRules::Create({}, {"localhost:8080"}).value(); }

TEST(Metadata, Rfc8414PutsTheWellKnownBeforeThePathAndOpenIdAfter) {
  EXPECT_THAT(MetadataLocations("https://as.example.com", Egress()),
              ElementsAre("https://as.example.com/.well-known/oauth-authorization-server",
                          "https://as.example.com/.well-known/openid-configuration"));
  EXPECT_THAT(MetadataLocations("https://as.example.com/", Egress()),
              ElementsAre("https://as.example.com/.well-known/oauth-authorization-server",
                          "https://as.example.com/.well-known/openid-configuration"));
  EXPECT_THAT(
      MetadataLocations("https://as.example.com:444/realms/a", Egress()),
      ElementsAre("https://as.example.com:444/.well-known/oauth-authorization-server/realms/a",
                  "https://as.example.com:444/realms/a/.well-known/openid-configuration"));
  EXPECT_THAT(MetadataLocations("https://as.example.com/t/", Egress()),
              ElementsAre("https://as.example.com/.well-known/oauth-authorization-server/t",
                          "https://as.example.com/t/.well-known/openid-configuration"));
  EXPECT_EQ(MetadataLocations("http://localhost:8080", Egress()).size(), 2U);
  for (const char* bad : {"", "as.example.com", "http://as.example.com", "http://localhost:8081",
                          "https://as.example.com?a=b", "https://as.example.com#f",
                          "https://u@as.example.com", "file:///etc/passwd", "ftp://x"}) {
    EXPECT_THAT(MetadataLocations(bad, Egress()), IsEmpty()) << bad;
  }
}

MetadataReading Read(const std::string& body, const std::string& issuer, ServerMetadata& metadata) {
  return ReadMetadata(base::Secret(body), issuer, Egress(), metadata);
}

TEST(Metadata, TheIssuerMustBeNamedExactly) {
  ServerMetadata metadata;
  const auto named = [&](const std::string& issuer) {
    return Read(absl::StrCat(R"({"issuer":")", issuer, R"("})"), "https://as.example.com",
                metadata);
  };
  EXPECT_EQ(named("https://as.example.com"), MetadataReading::kGood);
  for (const char* other :
       {"https://as.example.com/", "https://AS.example.com", "http://as.example.com",
        "https://evil.example.com", "", "https://as.example.com\\u0000"}) {
    EXPECT_EQ(named(other), MetadataReading::kOtherIssuer) << other;
  }
  for (const char* body : {"", "{}", "[]", "null", "<html>", R"({"issuer":5})",
                           R"({"issuer":null})", R"({"issuer":["https://as.example.com"]})"}) {
    EXPECT_EQ(Read(body, "https://as.example.com", metadata), MetadataReading::kUnreadable) << body;
  }
}

TEST(Metadata, EndpointsThatMayNotBeCalledAreLeftOut) {
  ServerMetadata metadata;
  ASSERT_EQ(Read(R"({"issuer":"https://as.example.com",
                     "token_endpoint":"https://other.example.com/token",
                     "authorization_endpoint":"http://localhost:8080/auth",
                     "revocation_endpoint":"https://u:p@as.example.com/r",
                     "introspection_endpoint":["https://as.example.com/i"],
                     "device_authorization_endpoint":"/device",
                     "mtls_endpoint_aliases":{"token_endpoint":"https://m.example.com/token",
                                              "revocation_endpoint":"http://m.example.com/r"}})",
                 "https://as.example.com", metadata),
            MetadataReading::kGood);
  EXPECT_EQ(metadata.endpoints.token, "https://other.example.com/token");
  EXPECT_EQ(metadata.endpoints.authorization, "") << "https does not become http";
  EXPECT_EQ(metadata.endpoints.revocation, "");
  EXPECT_EQ(metadata.endpoints.introspection, "");
  EXPECT_EQ(metadata.endpoints.device, "");
  EXPECT_EQ(metadata.with_certificate.token, "https://m.example.com/token");
  EXPECT_EQ(metadata.with_certificate.revocation, "");

  ServerMetadata local;
  ASSERT_EQ(Read(R"({"issuer":"http://localhost:8080",
                     "token_endpoint":"http://localhost:8080/token",
                     "revocation_endpoint":"http://10.0.0.1/r"})",
                 "http://localhost:8080", local),
            MetadataReading::kGood);
  EXPECT_EQ(local.endpoints.token, "http://localhost:8080/token");
  EXPECT_EQ(local.endpoints.revocation, "");
}

// RFC 6749 sections 3.1 and 3.2, and no request could carry it.
TEST(Metadata, EndpointsWithAFragmentAreLeftOut) {
  ServerMetadata metadata;
  ASSERT_EQ(Read(R"({"issuer":"https://as.example.com",
                     "token_endpoint":"https://as.example.com/token#f",
                     "authorization_endpoint":"https://as.example.com/auth?tenant=1#",
                     "revocation_endpoint":"https://as.example.com/revoke?tenant=1"})",
                 "https://as.example.com", metadata),
            MetadataReading::kGood);
  EXPECT_EQ(metadata.endpoints.token, "");
  EXPECT_EQ(metadata.endpoints.authorization, "");
  EXPECT_EQ(metadata.endpoints.revocation, "https://as.example.com/revoke?tenant=1");
}

TEST(Metadata, FillsOnlyWhatIsNotStated) {
  ServerMetadata metadata;
  metadata.endpoints.token = "https://m/token";
  metadata.endpoints.device = "https://m/device";
  metadata.with_certificate.device = "https://mtls/device";
  Endpoints stated;
  stated.issuer = "https://i";
  stated.token = "https://stated/token";
  Endpoints with_certificate = stated;
  FillIn(metadata, false, stated);
  EXPECT_EQ(stated.issuer, "https://i");
  EXPECT_EQ(stated.token, "https://stated/token");
  EXPECT_EQ(stated.device, "https://m/device");
  EXPECT_EQ(stated.refresh, "");
  FillIn(metadata, true, with_certificate);
  EXPECT_EQ(with_certificate.device, "https://mtls/device");
  EXPECT_EQ(with_certificate.token, "https://stated/token");
}

class DpopProofTest : public testing::Test {
 protected:
  SignedToken Make(const ProofFor& what) {
    const auto proof = MakeDpopProof(key_, what, absl::FromUnixSeconds(1'700'000'000), random_);
    EXPECT_TRUE(proof.ok()) << proof.status();
    return proof.ok() ? SignedToken::Parse(proof->Reveal()) : SignedToken();
  }
  fakes::SeededRandom random_{7};
  base::Secret key_ = NewProofKey().value();
};

TEST_F(DpopProofTest, CarriesThePublicKeyAndVerifiesUnderIt) {
  const SignedToken proof =
      Make({.method = "POST", .url = "https://as.example.com/token?a=b#c", .nonce = ""});
  EXPECT_EQ(proof.header.at("typ"), "dpop+jwt");
  EXPECT_EQ(proof.header.at("alg"), "ES256");
  EXPECT_EQ(proof.header.size(), 3U);
  EXPECT_TRUE(proof.VerifiedBy(TestKey::OfJwk(proof.header.at("jwk"))));
  EXPECT_EQ(EVP_PKEY_eq(TestKey::OfJwk(proof.header.at("jwk")).get(), TestKey::OfPem(key_).get()),
            1);
  EXPECT_EQ(proof.claims.at("htm"), "POST");
  EXPECT_EQ(proof.claims.at("htu"), "https://as.example.com/token");
  EXPECT_EQ(proof.claims.at("iat"), 1'700'000'000);
  EXPECT_EQ(proof.claims.size(), 4U) << "no nonce, no ath";
}

TEST_F(DpopProofTest, NoTwoHaveTheSameJti) {
  std::set<std::string> seen;
  for (int i = 0; i < 50; ++i) {
    seen.insert(Make({.method = "GET", .url = "https://a", .nonce = ""}).claims.at("jti"));
  }
  EXPECT_EQ(seen.size(), 50U);
}

TEST_F(DpopProofTest, Rfc9449Section7sAth) {
  const base::Secret token("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU");
  const SignedToken proof = Make({.method = "GET",
                                  .url = "https://resource.example.org/protectedresource",
                                  .nonce = "eyJ7S_zG.eyJH0-Z.HX4w-7v",
                                  .access_token = &token});
  EXPECT_EQ(proof.claims.at("ath"), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
  EXPECT_EQ(proof.claims.at("nonce"), "eyJ7S_zG.eyJH0-Z.HX4w-7v");
}

TEST_F(DpopProofTest, AnotherKindOfKeyIsRefused) {
  EXPECT_FALSE(MakeDpopProof(TestKey::Rsa().Pem(),
                             {.method = "GET", .url = "https://a", .nonce = ""}, absl::UnixEpoch(),
                             random_)
                   .ok());
  EXPECT_FALSE(MakeDpopProof(key_, {.method = "GET", .url = "https://\xff", .nonce = ""},
                             absl::UnixEpoch(), random_)
                   .ok());
}

net::HttpResult WithNonce(const std::string& nonce, int status = 200,
                          const std::string& body = "") {
  return ScriptedHttpClient::Reply(status, body, {{"dpop-nonce", nonce}});
}

TEST(DpopNonces, OneForEachOrigin) {
  DpopNonces nonces;
  nonces.Note("https://a.example.com/token", WithNonce("one"));
  nonces.Note("https://b.example.com/token", WithNonce("two"));
  EXPECT_EQ(nonces.For("https://a.example.com:443/other?x"), "one");
  EXPECT_EQ(nonces.For("https://b.example.com/"), "two");
  EXPECT_EQ(nonces.For("https://a.example.com:444/"), "");
  nonces.Note("https://a.example.com/", WithNonce("three"));
  nonces.Note("https://a.example.com/", ScriptedHttpClient::Reply(200, ""));
  EXPECT_EQ(nonces.For("https://a.example.com/"), "three");
  for (const std::string& bad : {std::string("a b"), std::string("a\"b"), std::string(2000, 'x')}) {
    nonces.Note("https://a.example.com/", WithNonce(bad));
    EXPECT_EQ(nonces.For("https://a.example.com/"), "three");
  }
}

TEST(DpopNonces, AreBounded) {
  DpopNonces nonces(3);
  for (int i = 0; i < 10; ++i) {
    nonces.Note(absl::StrCat("https://h", i, "/"), WithNonce(absl::StrCat("n", i)));
  }
  int kept = 0;
  for (int i = 0; i < 10; ++i)
    kept += nonces.For(absl::StrCat("https://h", i, "/")).empty() ? 0 : 1;
  EXPECT_EQ(kept, 3);
  EXPECT_EQ(nonces.For("https://h9/"), "n9");
}

TEST(DpopNonces, OnlyADefiniteRefusalAsksForOne) {
  const std::string error = R"({"error":"use_dpop_nonce"})";
  EXPECT_TRUE(DpopNonces::AskedFor(WithNonce("n", 400, error)));
  EXPECT_TRUE(DpopNonces::AskedFor(WithNonce("n", 401, error)));
  EXPECT_TRUE(DpopNonces::AskedFor(ScriptedHttpClient::Reply(
      401, "", {{"dpop-nonce", "n"}, {"www-authenticate", R"(DPoP error="use_dpop_nonce")"}})));
  // A challenge for each scheme, in whatever order.
  const std::pair<std::string, std::string> bearer = {"www-authenticate", "Bearer"};
  const std::pair<std::string, std::string> dpop = {"www-authenticate",
                                                    R"(DPoP error="use_dpop_nonce")"};
  EXPECT_TRUE(DpopNonces::AskedFor(
      ScriptedHttpClient::Reply(401, "", {{"dpop-nonce", "n"}, dpop, bearer})));
  EXPECT_TRUE(DpopNonces::AskedFor(
      ScriptedHttpClient::Reply(401, "", {{"dpop-nonce", "n"}, bearer, dpop})));
  EXPECT_FALSE(
      DpopNonces::AskedFor(ScriptedHttpClient::Reply(401, "", {{"dpop-nonce", "n"}, bearer})));
  EXPECT_FALSE(DpopNonces::AskedFor(ScriptedHttpClient::Reply(
      401, "", {{"dpop-nonce", "n"}, {"x-error", "use_dpop_nonce"}, bearer})));
  EXPECT_FALSE(DpopNonces::AskedFor(WithNonce("n", 200, error)));
  EXPECT_FALSE(DpopNonces::AskedFor(WithNonce("n", 500, error)));
  EXPECT_FALSE(DpopNonces::AskedFor(WithNonce("n", 400, R"({"error":"invalid_grant"})")));
  EXPECT_FALSE(DpopNonces::AskedFor(WithNonce("n", 400, R"(["use_dpop_nonce"])")));
  EXPECT_FALSE(DpopNonces::AskedFor(WithNonce("n", 400, "use_dpop_nonce")));
  EXPECT_FALSE(DpopNonces::AskedFor(ScriptedHttpClient::Reply(400, error)));
  net::HttpResult lost = WithNonce("n", 400, error);
  lost.delivery = net::Delivery::kUnknown;
  EXPECT_FALSE(DpopNonces::AskedFor(lost));
}

}  // namespace
}  // namespace keyturn::providers
