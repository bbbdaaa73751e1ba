// SPDX-License-Identifier: Apache-2.0
// Signatures against numbers that others published, and tokens against OpenSSL's own verification.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "agent/providers/signing/aws_sigv4.h"
#include "agent/providers/signing/digest.h"
#include "agent/providers/signing/jwt.h"

namespace keyturn::providers {
namespace {

using testing::HasSubstr;

const absl::Time kTime =
    absl::FromCivil(absl::CivilSecond(2015, 8, 30, 12, 36, 0), absl::UTCTimeZone());

TEST(Digest, KnownNumbers) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  // RFC 4231, test case 2.
  EXPECT_EQ(absl::BytesToHexString(HmacSha256("Jefe", "what do ya want for nothing?").Reveal()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

// The identity and the time of AWS's published test suite.
AwsIdentity Example(const std::string& service) {
  AwsIdentity identity;
  identity.service = service;
  identity.region = "us-east-1";
  identity.access_key_id = "AKIDEXAMPLE";
  identity.secret_access_key = base::Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
  return identity;
}

std::string Signed(net::HttpRequest request, const AwsIdentity& identity) {
  const auto status = SignAwsSigV4(identity, kTime, &request);
  EXPECT_TRUE(status.ok()) << status;
  return std::string(request.headers.back().second.Reveal());
}

TEST(AwsSigV4, PublishedVectors) {
  net::HttpRequest get;
  get.url = "https://example.amazonaws.com/";
  EXPECT_EQ(Signed(get, Example("service")),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
            "SignedHeaders=host;x-amz-date, "
            "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  net::HttpRequest query = get;
  query.url = "https://example.amazonaws.com/?Param2=value2&Param1=value1";
  EXPECT_THAT(Signed(query, Example("service")),
              HasSubstr("b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"));
  net::HttpRequest post = get;
  post.method = "POST";
  EXPECT_THAT(Signed(post, Example("service")),
              HasSubstr("5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"));
  post.body = base::Secret("Param1=value1");
  post.headers.emplace_back("Content-Type", base::Secret("application/x-www-form-urlencoded"));
  EXPECT_THAT(Signed(post, Example("service")),
              HasSubstr("SignedHeaders=content-type;host;x-amz-date, Signature="
                        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"));
  // The worked example of the IAM documentation.
  net::HttpRequest iam;
  iam.url = "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08";
  iam.headers.emplace_back("Content-Type",
                           base::Secret("application/x-www-form-urlencoded; charset=utf-8"));
  EXPECT_THAT(Signed(iam, Example("iam")),
              HasSubstr("5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"));
}

TEST(AwsSigV4, TheSessionTokenIsSentAndSigned) {
  AwsIdentity identity = Example("sts");
  identity.session_token = base::Secret("session");
  net::HttpRequest request;
  request.url = "https://sts.amazonaws.com/a%20b";
  ASSERT_TRUE(SignAwsSigV4(identity, kTime, &request).ok());
  ASSERT_EQ(request.headers.size(), 3U);
  EXPECT_EQ(request.headers[1].first, "X-Amz-Security-Token");
  EXPECT_THAT(std::string(request.headers[2].second.Reveal()),
              HasSubstr("SignedHeaders=host;x-amz-date;x-amz-security-token, "));
}

TEST(AwsSigV4, RefusesWhatWouldBreakTheHeader) {
  for (const char* bad : {"", "a b", "a,b", "a/b", "a\nb"}) {
    AwsIdentity identity = Example("iam");
    identity.access_key_id = bad;
    net::HttpRequest request;
    request.url = "https://iam.amazonaws.com/";
    EXPECT_FALSE(SignAwsSigV4(identity, absl::UnixEpoch(), &request).ok()) << bad;
  }
}

class JwtTest : public testing::Test {
 protected:
  ~JwtTest() override { EVP_PKEY_free(key_); }
  base::Secret Pem(EVP_PKEY* key) {
    EVP_PKEY_free(key_);
    key_ = key;
    BIO* bio = BIO_new(BIO_s_mem());
    PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio, &data);
    base::Secret pem(absl::string_view(data, static_cast<size_t>(size)));
    BIO_free(bio);
    return pem;
  }
  static JwtContent Content() {
    JwtContent content;
    content.header = {{"kid", "k1"}};
    content.claims = {{"iss", "12\"34"}};
    content.issued_at = absl::FromUnixSeconds(1700000000);
    content.expires_at = absl::FromUnixSeconds(1700000540);
    return content;
  }
  bool Verifies(const std::string& message, std::string signature) {
    if (EVP_PKEY_get_base_id(key_) == EVP_PKEY_EC) {
      if (signature.size() != 64) return false;
      const auto* raw = reinterpret_cast<const unsigned char*>(signature.data());
      ECDSA_SIG* numbers = ECDSA_SIG_new();
      ECDSA_SIG_set0(numbers, BN_bin2bn(raw, 32, nullptr), BN_bin2bn(raw + 32, 32, nullptr));
      unsigned char* der = nullptr;
      const int size = i2d_ECDSA_SIG(numbers, &der);
      signature.assign(reinterpret_cast<char*>(der), static_cast<size_t>(size));
      OPENSSL_free(der);
      ECDSA_SIG_free(numbers);
    }
    EVP_MD_CTX* context = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(context, nullptr, EVP_sha256(), nullptr, key_);
    const int good = EVP_DigestVerify(
        context, reinterpret_cast<const unsigned char*>(signature.data()), signature.size(),
        reinterpret_cast<const unsigned char*>(message.data()), message.size());
    EVP_MD_CTX_free(context);
    return good == 1;
  }
  void ExpectGood(const absl::StatusOr<base::Secret>& token, const std::string& algorithm) {
    ASSERT_TRUE(token.ok()) << token.status();
    const std::vector<std::string> parts = absl::StrSplit(token->Reveal(), '.');
    ASSERT_EQ(parts.size(), 3U);
    EXPECT_FALSE(absl::StrContains(token->Reveal(), "=")) << "RFC 7515 wants no padding";
    std::string header, claims, signature;
    ASSERT_TRUE(absl::WebSafeBase64Unescape(parts[0], &header));
    ASSERT_TRUE(absl::WebSafeBase64Unescape(parts[1], &claims));
    ASSERT_TRUE(absl::WebSafeBase64Unescape(parts[2], &signature));
    EXPECT_EQ(nlohmann::json::parse(header),
              (nlohmann::json{{"alg", algorithm}, {"typ", "JWT"}, {"kid", "k1"}}));
    EXPECT_EQ(nlohmann::json::parse(claims),
              (nlohmann::json{{"iss", "12\"34"}, {"iat", 1700000000}, {"exp", 1700000540}}));
    EXPECT_TRUE(Verifies(parts[0] + "." + parts[1], signature));
    EXPECT_FALSE(Verifies(parts[0] + "." + parts[1] + "x", signature));
  }

  EVP_PKEY* key_ = nullptr;
};

TEST_F(JwtTest, Rs256) {
  const base::Secret pem = Pem(EVP_RSA_gen(2048));
  ExpectGood(SignJwt(JwtSignature::kRs256, pem, Content()), "RS256");
}

TEST_F(JwtTest, Es256) {
  const base::Secret pem = Pem(EVP_EC_gen("P-256"));
  for (int i = 0; i < 20; ++i) {  // signatures of odd lengths too
    ExpectGood(SignJwt(JwtSignature::kEs256, pem, Content()), "ES256");
  }
}

TEST_F(JwtTest, WrongKeysAreRefusedWithoutBeingShown) {
  const base::Secret weak = Pem(EVP_RSA_gen(1024));
  const base::Secret curve = Pem(EVP_EC_gen("P-384"));
  const base::Secret rsa = Pem(EVP_RSA_gen(2048));
  const base::Secret text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
  const std::pair<JwtSignature, const base::Secret*> cases[] = {{JwtSignature::kRs256, &weak},
                                                                {JwtSignature::kRs256, &curve},
                                                                {JwtSignature::kEs256, &curve},
                                                                {JwtSignature::kEs256, &rsa},
                                                                {JwtSignature::kRs256, &text}};
  for (const auto& [signature, pem] : cases) {
    const auto token = SignJwt(signature, *pem, Content());
    ASSERT_EQ(token.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_FALSE(absl::StrContains(token.status().message(), "BEGIN"));
    EXPECT_FALSE(absl::StrContains(token.status().message(), "c2VjcmV0"));
  }
  EXPECT_FALSE(SignJwt(JwtSignature::kRs256, base::Secret(), Content()).ok());
}

}  // namespace
}  // namespace keyturn::providers
