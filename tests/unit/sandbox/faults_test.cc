// SPDX-License-Identifier: Apache-2.0
//
// Which fault hits which request, and that a rule or a setting which makes no sense is refused by
// name instead of being passed over.
#include "tests/sandbox/faults.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include <nlohmann/json.hpp>

#include "tests/sandbox/options.h"

namespace keyturn::sandbox {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

FaultTable Table(const char* rules) {
  FaultTable table;
  table.Replace(ParseFaultRules(json::parse(rules)).value());
  return table;
}

TEST(FaultTableTest, TakesTheFirstMatchWithHitsLeft) {
  FaultTable table = Table(R"([
      {"match": {"method": "POST", "path_prefix": "/oauth"}, "fault": "lose_reply", "count": 2},
      {"match": {"path_prefix": "/oauth"}, "fault": "late_effect", "delay_ms": 250, "count": -1}])");
  EXPECT_FALSE(table.Take("POST", "/v1/info").has_value());
  EXPECT_EQ(table.Take("GET", "/oauth/token")->kind, FaultKind::kLateEffect);
  EXPECT_EQ(table.Take("POST", "/oauth/token")->kind, FaultKind::kLoseReply);
  EXPECT_EQ(table.Take("POST", "/oauth/token")->kind, FaultKind::kLoseReply);
  for (int i = 0; i < 100; ++i) {
    const std::optional<Fault> fault = table.Take("POST", "/oauth/token");
    ASSERT_TRUE(fault.has_value());
    EXPECT_EQ(fault->kind, FaultKind::kLateEffect);
    EXPECT_EQ(fault->delay, absl::Milliseconds(250));
  }
  EXPECT_EQ(table.Snapshot().at(0).at("hits_left"), 0);
  EXPECT_EQ(table.Snapshot().at(0).at("fault"), "lose_reply");
}

TEST(FaultTableTest, HitsOnceUnlessTold) {
  FaultTable table = Table(R"([{"fault": "reset_before"}])");
  EXPECT_TRUE(table.Take("GET", "/").has_value());
  EXPECT_FALSE(table.Take("GET", "/").has_value());
}

TEST(FaultTableTest, EveryNameIsKnown) {
  for (const char* name : {"lose_reply", "reset_before", "late_effect", "duplicate", "status",
                           "html_page", "endless_body", "slow_loris"}) {
    const auto rules = ParseFaultRules(json::array({{{"fault", name}, {"status", 503}}}));
    ASSERT_TRUE(rules.ok()) << rules.status();
    EXPECT_EQ(std::string(NameOf(rules->at(0).fault.kind)), name);
  }
}

TEST(FaultTableTest, StatusReplyCarriesRetryAfter) {
  FaultTable table = Table(R"([{"fault": "status", "status": 429, "retry_after": 3}])");
  const Reply reply = StatusReply(*table.Take("GET", "/"));
  EXPECT_EQ(reply.status, 429);
  ASSERT_EQ(reply.headers.size(), 1u);
  EXPECT_EQ(reply.headers[0].first, "Retry-After");
  EXPECT_EQ(reply.headers[0].second, "3");
}

struct Wrong {
  const char* text;
  const char* complaint;
};

TEST(FaultRulesTest, NamesWhatIsWrong) {
  for (const Wrong& wrong : {
           Wrong{R"({})", "list"},
           Wrong{R"([7])", "faults[0] must be an object"},
           Wrong{R"([{}])", "faults[0].fault is missing"},
           Wrong{R"([{"fault": "explode"}])", "faults[0].fault"},
           Wrong{R"([{"fault": "status"}])", "faults[0].status is missing"},
           Wrong{R"([{"fault": "status", "status": 99}])", "faults[0].status"},
           Wrong{R"([{"fault": "duplicate"}, {"fault": "duplicate", "times": 2}])",
                 "faults[1].times is not a known field"},
           Wrong{R"([{"fault": "duplicate", "match": {"path": "/"}}])", "faults[0].match.path"},
           Wrong{R"([{"fault": "duplicate", "count": 1.5}])", "faults[0].count"},
           Wrong{R"([{"fault": "duplicate", "count": 18446744073709551615}])", "faults[0].count"},
           Wrong{R"([{"fault": "late_effect", "delay_ms": -1}])", "faults[0].delay_ms"},
       }) {
    const auto rules = ParseFaultRules(json::parse(wrong.text));
    ASSERT_FALSE(rules.ok()) << wrong.text;
    EXPECT_THAT(std::string(rules.status().message()), HasSubstr(wrong.complaint)) << wrong.text;
  }
}

TEST(OptionsTest, ReadsEveryField) {
  const auto options = ParseOptions(R"({
      "dify": {"admin_key": "k", "workspace_id": "w", "max_keys_per_app": 3,
               "delete_lag": "10m", "propagation_delay": "1500ms"},
      "oauth": {"access_token_ttl": "5s", "rotate_refresh_tokens": false, "reuse_leeway": "30s",
                "clients": [{"id": "c", "secret": "s", "scopes": ["read"]}]},
      "faults": [{"fault": "duplicate"}]})");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->dify.admin_key, "k");
  EXPECT_EQ(options->dify.workspace_id, "w");
  EXPECT_EQ(options->dify.max_keys_per_app, 3u);
  EXPECT_EQ(options->dify.delete_lag, absl::Minutes(10));
  EXPECT_EQ(options->dify.propagation_delay, absl::Milliseconds(1500));
  EXPECT_EQ(options->oauth.access_token_ttl, absl::Seconds(5));
  EXPECT_FALSE(options->oauth.rotate_refresh_tokens);
  EXPECT_EQ(options->oauth.reuse_leeway, absl::Seconds(30));
  ASSERT_EQ(options->oauth.clients.size(), 1u);
  EXPECT_EQ(options->oauth.clients[0].id, "c");
  EXPECT_EQ(options->faults.size(), 1u);
}

TEST(OptionsTest, NamesWhatIsWrong) {
  for (const Wrong& wrong : {
           Wrong{"{", "not a JSON document"},
           Wrong{"[]", "must be an object"},
           Wrong{R"({"difi": {}})", "difi is not a known field"},
           Wrong{R"({"dify": {"max_keys": 3}})", "dify.max_keys is not a known field"},
           Wrong{R"({"dify": {"delete_lag": 10}})", "dify.delete_lag must be a string"},
           Wrong{R"({"dify": {"delete_lag": "-1s"}})", "dify.delete_lag must be a duration"},
           Wrong{R"({"dify": {"delete_lag": "inf"}})", "dify.delete_lag must be a duration"},
           Wrong{R"({"oauth": {"access_token_ttl": "10ms"}})", "oauth.access_token_ttl"},
           Wrong{R"({"oauth": {"clients": []}})", "oauth.clients"},
           Wrong{R"({"oauth": {"clients": [{"id": "c"}]}})", "oauth.clients[0].secret is missing"},
           Wrong{R"({"oauth": {"clients": [{"id": "c", "secret": "s"}, {"id": "c",
                    "secret": "s"}]}})",
                 "oauth.clients[1].id"},
       }) {
    const auto options = ParseOptions(wrong.text);
    ASSERT_FALSE(options.ok()) << wrong.text;
    EXPECT_THAT(std::string(options.status().message()), HasSubstr(wrong.complaint)) << wrong.text;
  }
  EXPECT_FALSE(ParseAccessTokenTtl("ten").ok());
  EXPECT_FALSE(ParseAccessTokenTtl("0s").ok());
  EXPECT_EQ(ParseAccessTokenTtl("2s").value(), absl::Seconds(2));
}

}  // namespace
}  // namespace keyturn::sandbox
