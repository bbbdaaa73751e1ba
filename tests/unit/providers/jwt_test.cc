// SPDX-License-Identifier: Apache-2.0
// Tokens, keys and thumbprints against OpenSSL's own verification and the RFCs' numbers.
#include "agent/providers/signing/jwt.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "agent/providers/proof_key.h"
#include "agent/providers/signing/jwk.h"
#include "tests/unit/providers/signed_tokens.h"

namespace keyturn::providers {
namespace {

JwtContent Content() {
  JwtContent content;
  content.header = {{"kid", "k1"}};
  content.claims = {{"iss", "12\"34"}};
  content.issued_at = absl::FromUnixSeconds(1700000000);
  content.expires_at = absl::FromUnixSeconds(1700000540);
  return content;
}

SignedToken ExpectGood(JwtSignature signature, const base::Secret& key,
                       const std::string& algorithm) {
  const auto made = SignJwt(signature, key, Content());
  EXPECT_TRUE(made.ok()) << made.status();
  if (!made.ok()) return {};
  const SignedToken token = SignedToken::Parse(made->Reveal());
  EXPECT_EQ(token.header, (nlohmann::json{{"alg", algorithm}, {"typ", "JWT"}, {"kid", "k1"}}));
  EXPECT_EQ(token.claims,
            (nlohmann::json{{"iss", "12\"34"}, {"iat", 1700000000}, {"exp", 1700000540}}));
  return token;
}

void ExpectVerified(SignedToken token, const TestKey& key) {
  EXPECT_TRUE(token.VerifiedBy(key));
  token.message += "x";
  EXPECT_FALSE(token.VerifiedBy(key));
}

TEST(Jwt, Rs256) {
  const TestKey key = TestKey::Rsa();
  ExpectVerified(ExpectGood(JwtSignature::kRs256, key.Pem(), "RS256"), key);
}

TEST(Jwt, Es256) {
  const TestKey key = TestKey::Ec();
  for (int i = 0; i < 20; ++i) {  // signatures of odd lengths too
    ExpectVerified(ExpectGood(JwtSignature::kEs256, key.Pem(), "ES256"), key);
  }
}

TEST(Jwt, EdDsa) {
  const TestKey key = TestKey::Ed25519();
  ExpectVerified(ExpectGood(JwtSignature::kEdDsa, key.Pem(), "EdDSA"), key);
}

TEST(Jwt, Hs256) {
  const std::string secret = "a secret of some length: 32 bytes";
  const SignedToken token = ExpectGood(JwtSignature::kHs256, base::Secret(secret), "HS256");
  EXPECT_TRUE(token.VerifiedBySecret(secret));
  EXPECT_FALSE(token.VerifiedBySecret(secret + "x"));
}

TEST(Jws, Rfc7515AppendixA1) {
  std::string key;
  ASSERT_TRUE(absl::WebSafeBase64Unescape(
      "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
      &key));
  const auto token =
      SignJws(JwtSignature::kHs256, base::Secret(key), "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}",
              "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}");
  ASSERT_TRUE(token.ok());
  EXPECT_EQ(token->Reveal(),
            "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
            ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
            "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
            ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
}

TEST(Jws, Rfc8037AppendixA4) {
  std::string secret;
  ASSERT_TRUE(absl::WebSafeBase64Unescape("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", &secret));
  const auto token = SignJws(JwtSignature::kEdDsa, TestKey::OfEd25519(secret).Pem(),
                             R"({"alg":"EdDSA"})", "Example of Ed25519 signing");
  ASSERT_TRUE(token.ok());
  EXPECT_EQ(token->Reveal(),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
            ".hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt"
            "9g7sVvpAr_MuM0KAg");
}

TEST(Jwt, WrongKeysAreRefusedWithoutBeingShown) {
  const base::Secret weak = TestKey::Rsa(1024).Pem();
  const base::Secret curve = TestKey::Ec("P-384").Pem();
  const base::Secret rsa = TestKey::Rsa().Pem();
  const base::Secret p256 = TestKey::Ec().Pem();
  const base::Secret text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
  const std::pair<JwtSignature, const base::Secret*> cases[] = {
      {JwtSignature::kRs256, &weak}, {JwtSignature::kRs256, &curve}, {JwtSignature::kEs256, &curve},
      {JwtSignature::kEs256, &rsa},  {JwtSignature::kRs256, &text},  {JwtSignature::kEdDsa, &p256},
      {JwtSignature::kEdDsa, &rsa},  {JwtSignature::kEdDsa, &text}};
  for (const auto& [signature, pem] : cases) {
    const auto token = SignJwt(signature, *pem, Content());
    ASSERT_EQ(token.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_FALSE(absl::StrContains(token.status().message(), "BEGIN"));
    EXPECT_FALSE(absl::StrContains(token.status().message(), "c2VjcmV0"));
  }
  for (const JwtSignature signature : {JwtSignature::kRs256, JwtSignature::kHs256}) {
    EXPECT_FALSE(SignJwt(signature, base::Secret(), Content()).ok());
  }
}

TEST(Jwt, NamesLeadBothWays) {
  for (const char* name : {"RS256", "ES256", "EdDSA", "HS256"}) {
    ASSERT_TRUE(JwtSignatureOf(name).has_value()) << name;
    EXPECT_STREQ(JwtSignatureName(*JwtSignatureOf(name)), name);
  }
  EXPECT_FALSE(JwtSignatureOf("none").has_value());
  EXPECT_FALSE(JwtSignatureOf("rs256").has_value());
}

TEST(Jwk, Rfc7638Section3) {
  EXPECT_EQ(JwkThumbprint(R"({"e":"AQAB","kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2a)"
                          R"(iAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiF)"
                          R"(V4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YG)"
                          R"(jQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n9)"
                          R"(1CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xB)"
                          R"(niIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"})"),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

TEST(Jwk, Rfc9449Section6) {
  EXPECT_EQ(JwkThumbprint(R"({"crv":"P-256","kty":"EC",)"
                          R"("x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",)"
                          R"("y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"})"),
            "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
}

TEST(Jwk, IsThePublicHalfInTheOrderOfItsThumbprint) {
  for (int i = 0; i < 20; ++i) {  // coordinates with leading zeros too, sooner or later
    const TestKey key = TestKey::Ec();
    const auto text = PublicJwk(key.Pem());
    ASSERT_TRUE(text.ok()) << text.status();
    const auto jwk = nlohmann::json::parse(*text);
    EXPECT_EQ(jwk.dump(), *text);
    EXPECT_EQ(jwk.size(), 4U);
    EXPECT_EQ(EVP_PKEY_eq(TestKey::OfJwk(jwk).get(), key.get()), 1);
  }
  EXPECT_FALSE(PublicJwk(TestKey::Rsa().Pem()).ok());
  EXPECT_FALSE(PublicJwk(TestKey::Ec("P-384").Pem()).ok());
  EXPECT_FALSE(PublicJwk(base::Secret("nothing")).ok());
}

TEST(ProofKey, EachIsNewAndSigns) {
  const auto one = NewProofKey();
  const auto two = NewProofKey();
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_FALSE(*one == *two);
  ExpectVerified(ExpectGood(JwtSignature::kEs256, *one, "ES256"), TestKey::OfPem(*one));
  const auto thumbprint = ProofKeyThumbprint(*one);
  ASSERT_TRUE(thumbprint.ok());
  EXPECT_EQ(*thumbprint, JwkThumbprint(*PublicJwk(*one)));
  EXPECT_EQ(thumbprint->size(), 43U);
  EXPECT_NE(*thumbprint, *ProofKeyThumbprint(*two));
  EXPECT_FALSE(ProofKeyThumbprint(base::Secret("nothing")).ok());
}

}  // namespace
}  // namespace keyturn::providers
