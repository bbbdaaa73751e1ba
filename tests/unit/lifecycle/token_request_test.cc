// SPDX-License-Identifier: Apache-2.0
// What a credential's specification makes the agent send, for each grant, and what it does when a
// secret that is referred to is not there.
#include "agent/lifecycle/oauth/token_request.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/fakes/crypto_ready.h"
#include "tests/fakes/keeper_house.h"

namespace keyturn::lifecycle {
namespace {

using providers::Grant;

class TokenRequestTest : public testing::Test {
 protected:
  // The request for the token `t`; s, k and u are stored as "s-value" and so on.
  const providers::TokenRequest& Sent(const std::string& oauth) {
    const absl::Status applied =
        house_.Apply(absl::StrCat("credentials:\n  s: { static: {} }\n  k: { static: {} }\n"
                                  "  u: { static: {} }\n  t:\n    oauth: { ",
                                  oauth, " }\n"));
    EXPECT_TRUE(applied.ok()) << applied;
    for (const std::string name : {"s", "k", "u"}) {
      EXPECT_TRUE(house_.Put(name, name + "-value").ok());
    }
    house_.Advance(absl::Seconds(1));
    EXPECT_GT(house_.endpoint.requests(), 0) << house_.log.Count({""});
    return house_.endpoint.last_request();
  }
  static std::string Text(const base::Secret& secret) { return std::string(secret.Reveal()); }

  fakes::KeeperHouse house_{{}};
};

TEST_F(TokenRequestTest, AClientNamesItselfAndWhatItWants) {
  const auto& sent = Sent(
      "token_url: https://h/t, grant: client_credentials, client_id: c, client_secret: { "
      "credential: s }, scopes: [a, b], audience: me, resources: [\"https://r/\"], "
      "extra_params: { x: \"1\" }");
  EXPECT_EQ(sent.grant, Grant::kClientCredentials);
  EXPECT_EQ(sent.server.endpoints.token, "https://h/t");
  EXPECT_EQ(sent.server.client.auth, v1::BASIC) << "unless stated otherwise";
  EXPECT_EQ(sent.server.client.id, "c");
  EXPECT_EQ(Text(sent.server.client.secret), "s-value");
  EXPECT_EQ(sent.scopes, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(sent.audience, "me");
  EXPECT_EQ(sent.resources, (std::vector<std::string>{"https://r/"}));
  EXPECT_EQ(sent.extra_params, (std::map<std::string, std::string>{{"x", "1"}}));
  EXPECT_TRUE(sent.refresh_token.empty());
  EXPECT_TRUE(sent.server.dpop_key.empty());
}

TEST_F(TokenRequestTest, AClientsKeyIsSentToBeSignedWith) {
  const auto& sent = Sent(
      "token_url: https://h/t, grant: client_credentials, client_id: c, client_auth: "
      "private_key_jwt, signing_key: { key: { credential: k }, key_id: k1, algorithm: ES256 }");
  EXPECT_EQ(sent.server.client.auth, v1::PRIVATE_KEY_JWT);
  EXPECT_EQ(Text(sent.server.client.signing_key), "k-value");
  EXPECT_EQ(sent.server.client.key_id, "k1");
  EXPECT_EQ(sent.server.client.algorithm, "ES256");
}

TEST_F(TokenRequestTest, AClientsCertificateHasItsKey) {
  const auto& sent = Sent(
      "token_url: https://h/t, grant: client_credentials, client_id: c, client_auth: "
      "tls_client_auth, client_certificate: { certificate: { credential: u }, key: { "
      "credential: k } }");
  EXPECT_EQ(Text(sent.server.client.certificate), "u-value");
  EXPECT_EQ(Text(sent.server.client.certificate_key), "k-value");
  EXPECT_EQ(sent.server.client.algorithm, "RS256") << "unless stated otherwise";
}

TEST_F(TokenRequestTest, AnAssertionOfOursSaysWhoAndForWhom) {
  const auto& plain = Sent(
      "token_url: https://h/t, grant: jwt_bearer, client_id: c, client_auth: none, signing_key: { "
      "key: { credential: k } }");
  EXPECT_EQ(plain.grant, Grant::kJwtBearer);
  EXPECT_TRUE(plain.assertion.empty());
  EXPECT_EQ(plain.claims,
            (std::map<std::string, std::string>{{"iss", "c"}, {"aud", "https://h/t"}}));
  EXPECT_EQ(plain.assertion_lifetime, absl::Minutes(5));
}

TEST_F(TokenRequestTest, WhatIsStatedOfAnAssertionHolds) {
  const auto& stated = Sent(
      "token_url: https://h/t, grant: jwt_bearer, client_id: c, client_auth: none, signing_key: { "
      "key: { credential: k } }, assertion: { issuer: i, subject: s, audience: a, lifetime: 1m, "
      "claims: { scope: x } }");
  EXPECT_EQ(stated.claims, (std::map<std::string, std::string>{
                               {"iss", "i"}, {"aud", "a"}, {"sub", "s"}, {"scope", "x"}}));
  EXPECT_EQ(stated.assertion_lifetime, absl::Minutes(1));
}

TEST_F(TokenRequestTest, SomebodyElsesAssertionIsPassedOn) {
  const auto& sent = Sent(
      "token_url: https://h/t, grant: jwt_bearer, client_auth: none, assertion: { token: { "
      "credential: u } }");
  EXPECT_EQ(Text(sent.assertion), "u-value");
}

TEST_F(TokenRequestTest, AnExchangeNamesBothTokensAndTheirTypes) {
  const auto& sent = Sent(
      "token_url: https://h/t, grant: token_exchange, client_auth: none, exchange: { "
      "subject_token: { credential: u }, subject_token_type: \"urn:x\", actor_token: { "
      "credential: k }, requested_token_type: \"urn:y\" }");
  EXPECT_EQ(sent.grant, Grant::kTokenExchange);
  EXPECT_EQ(Text(sent.subject_token), "u-value");
  EXPECT_EQ(sent.subject_token_type, "urn:x");
  EXPECT_EQ(Text(sent.actor_token), "k-value");
  EXPECT_EQ(sent.actor_token_type, "urn:ietf:params:oauth:token-type:access_token");
  EXPECT_EQ(sent.requested_token_type, "urn:y");
}

// Waits for the secret, names it with the command that stores it, and goes on once it is there.
TEST_F(TokenRequestTest, ASecretThatIsMissingIsNamedAndWaitedFor) {
  struct Case {
    const char* oauth;
    const char* missing;
  };
  for (const Case& c :
       {Case{"grant: client_credentials, client_id: c, client_secret: { credential: m }", "m"},
        Case{"grant: client_credentials, client_id: c, client_auth: private_key_jwt, signing_key: "
             "{ key: { credential: m } }",
             "m"},
        Case{"grant: jwt_bearer, client_auth: none, assertion: { token: { credential: m } }", "m"},
        Case{"grant: token_exchange, client_auth: none, exchange: { subject_token: { credential: "
             "m } }",
             "m"}}) {
    fakes::KeeperHouse house{{}};
    ASSERT_TRUE(
        house
            .Apply(absl::StrCat("credentials:\n  m: { static: {} }\n  t:\n    oauth: { token_url: "
                                "https://h/t, ",
                                c.oauth, " }\n"))
            .ok());
    house.Advance(absl::Hours(1));
    EXPECT_EQ(house.endpoint.requests(), 0) << c.oauth;
    ASSERT_TRUE(house.Put(c.missing, "v").ok());
    house.Advance(absl::Seconds(1));
    EXPECT_NE(house.Published("t"), "") << c.oauth;
  }
}

TEST_F(TokenRequestTest, ASecretWithoutTheFieldThatIsNamedIsMissing) {
  for (const char* oauth :
       {"grant: client_credentials, client_id: c, client_secret: { credential: s, field: f }",
        "grant: token_exchange, client_auth: none, exchange: { subject_token: { credential: s }, "
        "actor_token: { credential: s, field: f } }"}) {
    fakes::KeeperHouse house{{}};
    ASSERT_TRUE(house
                    .Apply(absl::StrCat("credentials:\n  s: { static: {} }\n  t:\n    oauth: { "
                                        "token_url: https://h/t, ",
                                        oauth, " }\n"))
                    .ok());
    ASSERT_TRUE(house.Put("s", "whole").ok());
    house.Advance(absl::Seconds(1));
    EXPECT_EQ(house.endpoint.requests(), 0) << oauth;
    EXPECT_GE(house.log.Count({"REFRESH_FAILED", "client_secret_missing"}), 1) << oauth;
    v1::PutRequest put;
    put.set_name("s");
    for (const char* name : {"value", "f"}) {
      v1::Field* field = put.add_fields();
      field->set_name(name);
      field->set_value(absl::StrCat("the ", name));
      field->set_secret(true);
    }
    house.keeper().Put(put, [](const auto& r) { EXPECT_TRUE(r.ok()) << r.status(); });
    house.Advance(absl::Minutes(10));
    EXPECT_NE(house.Published("t"), "") << oauth;
    EXPECT_EQ(house.log.Resolved("REFRESH_FAILED"), 1) << oauth;
  }
}

}  // namespace
}  // namespace keyturn::lifecycle
