// SPDX-License-Identifier: Apache-2.0
// What a plugin may say, and what happens when it says something else.
#include "agent/providers/plugin/messages.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/fakes/crypto_ready.h"

namespace keyturn::providers {
namespace {

namespace pb = plugin::v1;

pb::Result ResultOf(pb::Outcome outcome, const std::string& cause = "") {
  pb::Result result;
  result.set_outcome(outcome);
  result.set_cause(cause);
  return result;
}

pb::Value ValueOf(const std::string& name, const std::string& text) {
  pb::Value value;
  value.set_primary(name);
  auto* field = value.add_fields();
  field->set_name(name);
  field->set_value(text);
  return value;
}

pb::Key KeyOf(const std::string& id, const pb::Value& value) {
  pb::Key key;
  key.set_id(id);
  *key.mutable_value() = value;
  return key;
}

ProviderConfig Config() {
  ProviderConfig config;
  config.name = "db";
  config.plugin = "postgres-roles";
  config.manager = "db/admin";
  config.params = {{"host", "h"}};
  return config;
}

pb::DescribeResponse Described(pb::ProviderClass kind) {
  pb::DescribeResponse response;
  pb::Traits* traits = response.mutable_traits();
  traits->set_provider_class(kind);
  traits->set_can_list(true);
  traits->set_can_revoke(true);
  return response;
}

TEST(PluginMessages, OutcomesKeepTheirMeaning) {
  const struct {
    pb::Outcome said;
    Outcome changes;
    Outcome none;
  } cases[] = {
      {pb::OK, Outcome::kOk, Outcome::kOk},
      {pb::REJECTED, Outcome::kRejected, Outcome::kRejected},
      {pb::LIMITED, Outcome::kLimited, Outcome::kTransient},
      {pb::TRANSIENT, Outcome::kTransient, Outcome::kTransient},
      {pb::UNKNOWN, Outcome::kUnknown, Outcome::kTransient},
      {pb::OUTCOME_UNSPECIFIED, Outcome::kUnknown, Outcome::kTransient},
      {static_cast<pb::Outcome>(99), Outcome::kUnknown, Outcome::kTransient},
  };
  for (const auto& [said, changes, none] : cases) {
    EXPECT_EQ(ReadResult(ResultOf(said), Effect::kChanges).outcome, changes) << said;
    EXPECT_EQ(ReadResult(ResultOf(said), Effect::kNone).outcome, none) << said;
  }
}

TEST(PluginMessages, OnlyWordsBecomeCauses) {
  const auto cause = [](const std::string& said) {
    return ReadResult(ResultOf(pb::REJECTED, said), Effect::kChanges).cause;
  };
  EXPECT_EQ(cause("role_missing"), "plugin:role_missing");
  EXPECT_EQ(cause(""), "plugin:unnamed");
  EXPECT_EQ(cause("password is hunter2"), "plugin:unnamed");
  EXPECT_EQ(cause(std::string(65, 'a')), "plugin:unnamed");
}

TEST(PluginMessages, WaitsAreBounded) {
  pb::Result result = ResultOf(pb::TRANSIENT);
  result.mutable_retry_after()->set_seconds(1'000'000);
  EXPECT_EQ(ReadResult(result, Effect::kNone).retry_after, absl::Hours(1));
  result.mutable_retry_after()->set_seconds(-5);
  EXPECT_EQ(ReadResult(result, Effect::kNone).retry_after, absl::ZeroDuration());
}

TEST(PluginMessages, AKeyComesWithAllItsParts) {
  pb::Key key = KeyOf("role_a", ValueOf("password", "secret"));
  auto* user = key.mutable_value()->add_fields();
  user->set_name("username");
  user->set_value("role_a");
  user->set_public_(true);
  key.mutable_expires_at()->set_seconds(1'900'000'000);
  const auto read = ReadKey(key);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->id, "role_a");
  EXPECT_EQ(read->value.Primary()->Reveal(), "secret");
  EXPECT_FALSE(read->value.fields[1].secret);
  EXPECT_EQ(read->expires_at, absl::FromUnixSeconds(1'900'000'000));
  pb::Value back;
  WriteValue(read->value, &back);
  EXPECT_EQ(back.SerializeAsString(), key.value().SerializeAsString());
  WipeSecrets(&back);
  EXPECT_EQ(back.fields(0).value(), "");
}

TEST(PluginMessages, AZeroTimeIsNoExpiry) {
  for (const int64_t seconds : {int64_t{0}, int64_t{-62135596800}}) {  // of 1970, of year 1
    pb::Key key = KeyOf("id", ValueOf("password", "secret"));
    key.mutable_expires_at()->set_seconds(seconds);
    const auto read = ReadKey(key);
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(read->expires_at, std::nullopt) << seconds;
  }
}

TEST(PluginMessages, WhatIsOutOfBoundsIsUnreadable) {
  const pb::Value good = ValueOf("password", "secret");
  EXPECT_FALSE(ReadKey(KeyOf("", good)).has_value());
  EXPECT_FALSE(ReadKey(KeyOf("two words", good)).has_value());
  EXPECT_FALSE(ReadKey(KeyOf(std::string(257, 'x'), good)).has_value());
  EXPECT_FALSE(ReadKey(KeyOf("id", {})).has_value());
  EXPECT_FALSE(ReadKey(KeyOf("id", ValueOf("Password", "secret"))).has_value());
  EXPECT_FALSE(ReadKey(KeyOf("id", ValueOf("password", ""))).has_value());
  EXPECT_FALSE(ReadKey(KeyOf("id", ValueOf("password", std::string("a\0b", 3)))).has_value());
  EXPECT_FALSE(
      ReadKey(KeyOf("id", ValueOf("password", std::string(16 * 1024 + 1, 'x')))).has_value());
  pb::Value other_primary = good;
  other_primary.set_primary("other");
  EXPECT_FALSE(ReadValue(other_primary).has_value());
  pb::Value twice = good;
  *twice.add_fields() = good.fields(0);
  EXPECT_FALSE(ReadValue(twice).has_value());
  pb::Value many = good;
  for (int i = 0; i < 16; ++i) {
    auto* field = many.add_fields();
    field->set_name(absl::StrCat("f", i));
    field->set_value("x");
  }
  EXPECT_FALSE(ReadValue(many).has_value());
}

TEST(PluginMessages, AListIsReadWholeOrNotAtAll) {
  pb::ListResponse list;
  list.add_keys()->set_id("a");
  auto* dead = list.add_keys();
  dead->set_id("b");
  dead->set_dead(true);
  dead->set_tag("not ours to read");
  const auto keys = ReadKeys(list);
  ASSERT_TRUE(keys.has_value());
  ASSERT_EQ(keys->size(), 2u);
  EXPECT_TRUE((*keys)[1].dead);
  EXPECT_EQ((*keys)[1].tag, "");
  list.add_keys();  // without an id
  EXPECT_FALSE(ReadKeys(list).has_value());
  pb::ListResponse long_list;
  for (int i = 0; i <= 10'000; ++i) long_list.add_keys()->set_id("x");
  EXPECT_FALSE(ReadKeys(long_list).has_value());
}

TEST(PluginMessages, ADescriptionThatContradictsItselfIsRefused) {
  EXPECT_TRUE(ReadDescription(Described(pb::CHOSEN), Config()).ok());
  const auto refused = [](const pb::DescribeResponse& response) {
    return absl::IsFailedPrecondition(ReadDescription(response, Config()).status());
  };
  EXPECT_TRUE(refused(Described(pb::PROVIDER_CLASS_UNSPECIFIED)));
  EXPECT_TRUE(refused(Described(static_cast<pb::ProviderClass>(42))));
  EXPECT_TRUE(refused(Described(pb::DUAL_SLOT))) << "without slots";
  pb::DescribeResponse response = Described(pb::TAGGED);
  response.mutable_traits()->set_can_list(false);
  EXPECT_TRUE(refused(response));
  response = Described(pb::CHOSEN);
  response.mutable_traits()->set_can_revoke(false);
  EXPECT_TRUE(refused(response));
  response = Described(pb::CHOSEN);
  response.mutable_traits()->set_secret_length(8);
  EXPECT_TRUE(refused(response));
  response = Described(pb::CHOSEN);
  response.mutable_traits()->mutable_settle()->set_seconds(-1);
  EXPECT_TRUE(refused(response));
}

TEST(PluginMessages, ProblemsPointOnlyAtFieldsThatResourcesHave) {
  pb::DescribeResponse response;
  auto* problem = response.add_problems();
  problem->set_field("params.host");
  problem->set_message(std::string(1000, 'm'));
  const auto status = ReadDescription(response, Config()).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_LE(status.message().size(), 520u);
  problem->set_field("recipe");
  EXPECT_EQ(ReadDescription(response, Config()).status().message().substr(0, 7), "plugin:");
}

}  // namespace
}  // namespace keyturn::providers
