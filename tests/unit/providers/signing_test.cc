// SPDX-License-Identifier: Apache-2.0
// Signatures against numbers that others published, and tokens against OpenSSL's own verification.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/escaping.h"
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

}  // namespace
}  // namespace keyturn::providers
