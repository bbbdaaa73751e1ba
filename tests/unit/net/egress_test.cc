// SPDX-License-Identifier: Apache-2.0
// Which addresses and schemes may be called, in every way of writing them.
#include "agent/net/egress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "agent/net/url.h"

namespace keyturn::net {
namespace {

bool Allows(const EgressRules& rules, const std::string& text) {
  const auto address = IpAddress::Parse(text);
  EXPECT_TRUE(address.has_value()) << text;
  return rules.AllowsAddress(*address);
}

TEST(Egress, DeniesWhatLeadsBackInside) {
  const EgressRules rules;
  for (const char* text : {"127.0.0.1",
                           "127.255.255.254",
                           "0.0.0.0",
                           "10.0.0.1",
                           "100.64.0.1",
                           "100.127.255.255",
                           "169.254.169.254",
                           "172.16.0.1",
                           "172.31.255.255",
                           "192.168.1.1",
                           "198.18.0.1",
                           "224.0.0.1",
                           "239.255.255.255",
                           "255.255.255.255",
                           "240.0.0.1",
                           "192.0.2.1",
                           "::",
                           "::1",
                           "fe80::1",
                           "febf::1",
                           "fc00::1",
                           "fd12::1",
                           "ff02::1",
                           "::ffff:127.0.0.1",
                           "::ffff:10.0.0.1",
                           "::127.0.0.1",
                           "64:ff9b::7f00:1",
                           "64:ff9b::a9fe:a9fe",
                           "64:ff9b:1::1",
                           "2002:7f00:1::1",
                           "2002:a9fe:a9fe::",
                           "2001:0:1::1",
                           "2001:db8::1",
                           "fd00:ec2::254"}) {
    EXPECT_FALSE(Allows(rules, text)) << text;
  }
}

TEST(Egress, AllowsPublicAddresses) {
  const EgressRules rules;
  for (const char* text :
       {"1.1.1.1", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1", "172.15.255.255",
        "172.32.0.1", "192.167.1.1", "223.255.255.255", "2606:4700::1111", "::ffff:1.1.1.1",
        "64:ff9b::101:101", "2002:101:101::1"}) {
    EXPECT_TRUE(Allows(rules, text)) << text;
  }
}

TEST(Egress, ListedBlocksAreAllowedAndNothingElse) {
  const auto rules = EgressRules::Create({"10.1.0.0/16", "::1", "fd00::/8"}, {});
  ASSERT_TRUE(rules.ok());
  for (const char* text : {"10.1.2.3", "::1", "fd12::1", "::ffff:10.1.2.3", "64:ff9b::a01:203"}) {
    EXPECT_TRUE(Allows(*rules, text)) << text;
  }
  for (const char* text : {"10.2.0.1", "127.0.0.1", "fc00::1", "::ffff:10.2.0.1", "::2"}) {
    EXPECT_FALSE(Allows(*rules, text)) << text;
  }
}

TEST(Egress, HttpOnlyForListedHosts) {
  const auto rules = EgressRules::Create({}, {"localhost", "127.0.0.1:8080", "[::1]:81", "::2"});
  ASSERT_TRUE(rules.ok());
  EXPECT_TRUE(rules->AllowsHttp("LOCALHOST", 1234));
  EXPECT_TRUE(rules->AllowsHttp("127.0.0.1", 8080));
  EXPECT_FALSE(rules->AllowsHttp("127.0.0.1", 8081));
  EXPECT_TRUE(rules->AllowsHttp("::1", 81));
  EXPECT_FALSE(rules->AllowsHttp("::1", 80));
  EXPECT_TRUE(rules->AllowsHttp("::2", 80));
  EXPECT_FALSE(rules->AllowsHttp("localhost.example.com", 80));
}

TEST(Egress, RefusesEntriesThatMeanNothing) {
  for (const char* bad : {"10.0.0.0/33", "10.0.0/8", "::1/129", "10.0.0.0/-1", "lan", ""}) {
    EXPECT_FALSE(EgressRules::Create({bad}, {}).ok()) << bad;
  }
  for (const char* bad : {"http://localhost", "a:b", "a:0", "a:70000", "", "[::1", "a@b"}) {
    EXPECT_FALSE(EgressRules::Create({}, {bad}).ok()) << bad;
  }
}

TEST(Url, TakesApartWhatMayBeCalled) {
  const auto url = ParseUrl("https://API.Example.com/v1");
  ASSERT_TRUE(url.ok());
  EXPECT_EQ(url->host, "api.example.com");
  EXPECT_EQ(url->port, 443);
  EXPECT_FALSE(url->has_query_or_fragment);
  EXPECT_EQ(ParseUrl("http://[::1]:81/")->host, "::1");
  EXPECT_EQ(ParseUrl("http://[::1]:81/")->port, 81);
  EXPECT_TRUE(ParseUrl("https://a/?")->has_query_or_fragment);
  EXPECT_TRUE(ParseUrl("https://a/#x")->has_query_or_fragment);
  // Other spellings of an address come out as the address.
  EXPECT_EQ(ParseUrl("http://2130706433/")->host, "127.0.0.1");
}

TEST(Url, RefusesTheRestWithoutRepeatingIt) {
  for (const char* bad :
       {"", "example.com", "ftp://secret.example", "file:///etc/secret", "https://", "https:///x",
        "https:/x", "https://secret@example.com", "https://u:secret@example.com",
        "https://a b/secret", "https://a\r\nsecret", "https://a\\@secret/", "//secret",
        "https://a:99999/", "javascript:secret"}) {
    const auto url = ParseUrl(bad);
    ASSERT_FALSE(url.ok()) << bad;
    EXPECT_THAT(std::string(url.status().message()), testing::Not(testing::HasSubstr("secret")));
  }
}

}  // namespace
}  // namespace keyturn::net
