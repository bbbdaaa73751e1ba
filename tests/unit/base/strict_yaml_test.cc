// SPDX-License-Identifier: Apache-2.0
// What is read, what is refused and where the refusal points, on the messages that people write.
#include "agent/base/strict_yaml.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <random>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "keyturn/internal/v1/config.pb.h"
#include "keyturn/internal/v1/recipe.pb.h"
#include "keyturn/v1/resources.pb.h"

namespace keyturn::base {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::util::MessageDifferencer;
using internal::v1::Config;
using internal::v1::Recipe;
using testing::HasSubstr;
using testing::StartsWith;
using v1::Resources;

constexpr char kExample[] = R"(# The keys of the support bot.
providers:
  dify-support:
    recipe: dify-app-key
    endpoint: https://dify.example.com
    manager: dify/admin
    params: { app_id: "3f1c", workspace_id: 77 }
credentials:
  support-bot/dify:
    provider: dify-support
    rotate: { every: 90d, jitter: 10%, grace: 1h30m }
    exclusive: true
  crm/token:
    oauth:
      token_url: https://crm.example.com/oauth/token
      grant: client_credentials
      client_secret: { credential: crm/client-secret }
      scopes: [read, write]
  note:
    static: {}
policies:
  support-bot:
    principals: [ { unix: { user: support } } ]
    allow: [read]
    on: [ support-bot/* ]
)";

template <typename M>
std::string ErrorOf(const std::string& text) {
  M message;
  const absl::Status status = ParseYaml(text, "f.yaml", &message);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
  EXPECT_EQ(message.ByteSizeLong(), 0U) << "a failed read must leave nothing behind";
  return std::string(status.message());
}

google::protobuf::Value ReadAny(const std::string& yaml) {
  Recipe recipe;
  const absl::Status status =
      ParseYaml(absl::StrCat("create:\n  json: ", yaml, "\n"), "f", &recipe);
  EXPECT_TRUE(status.ok()) << status;
  return recipe.create().json();
}

TEST(StrictYaml, ReadsResources) {
  Resources r;
  ASSERT_TRUE(ParseYaml(kExample, "r.yaml", &r).ok());
  EXPECT_EQ(r.providers().at("dify-support").params().at("workspace_id"), "77");
  const auto& bot = r.credentials().at("support-bot/dify");
  EXPECT_EQ(bot.rotate().every().seconds(), 90 * 86400);
  EXPECT_EQ(bot.rotate().grace().min().seconds(), 5400);
  EXPECT_TRUE(bot.exclusive());
  const auto& crm = r.credentials().at("crm/token").oauth();
  EXPECT_EQ(crm.grant(), v1::CLIENT_CREDENTIALS);
  EXPECT_THAT(crm.scopes(), testing::ElementsAre("read", "write"));
  EXPECT_TRUE(r.credentials().at("note").has_static_());
  EXPECT_EQ(r.policies().at("support-bot").principals(0).unix().user(), "support");
  EXPECT_EQ(r.policies().at("support-bot").allow(0), v1::READ);
}

TEST(StrictYaml, PointsAtTheMistake) {
  const std::pair<const char*, const char*> cases[] = {
      {"credentials:\n  a/b:\n    provder: x\n",
       "f.yaml:3:5: unknown key \"provder\" in credentials.a/b; known keys: provider, oauth, "
       "static, rotate, exclusive, description, allow_gap, recovery, accept_loss (did you mean "
       "\"provider\"?)"},
      {"credential: {}\n",
       "f.yaml:1:1: unknown key \"credential\" at the top level; known keys: "
       "providers, credentials, policies (did you mean \"credentials\"?)"},
      {"credentials:\n  a:\n    rotate:\n      every: 90\n",
       "f.yaml:4:14: duration \"90\" has a number without a unit"},
      {"credentials:\n  a: { rotate: { every: -5s } }\n", "f.yaml:2:25: duration \"-5s\" is neg"},
      {"credentials:\n  a: { exclusive: yes }\n",
       "f.yaml:2:19: expected true or false in credentials.a.exclusive, found \"yes\""},
      {"credentials:\n  a: { exclusive: \"true\" }\n", "found the quoted text \"true\""},
      {"credentials:\n  a: { oauth: { grant: implicit } }\n",
       "f.yaml:2:24: expected one of a few words in credentials.a.oauth.grant, found "
       "\"implicit\"; known words: client_credentials, refresh_token"},
      {"credentials:\n  a: { oauth: { grant: CLIENT_CREDENTIALS } }\n", "expected one of a few"},
      {"credentials:\n  a: { oauth: { grant: oauth_grant_unspecified } }\n", "expected one of"},
      {"credentials:\n  a: { oauth: { scopes: read } }\n",
       "f.yaml:2:25: expected a list in credentials.a.oauth.scopes, found a text"},
      {"credentials:\n  a: { oauth: { scopes: [ [x] ] } }\n",
       "f.yaml:2:27: expected a text in credentials.a.oauth.scopes[0], found a list"},
      {"credentials:\n", "expected a map in credentials, found nothing; write {}"},
      {"credentials:\n  a:\n", "expected a map in credentials.a, found nothing"},
      {"credentials: [a]\n", "f.yaml:1:14: expected a map in credentials, found a list"},
      {"credentials:\n  a: { provider: }\n", "found nothing; write \"\" for an empty one"},
      {"credentials:\n  a: { provider: x }\n  b: {}\n  a: {}\n",
       "f.yaml:4:3: the key \"a\" stands here a second time"},
      {"- a\n", "f.yaml:1:1: expected a map at the top level, found a list"},
      {"", "f.yaml:1:1: empty"},
      {"# nothing\n", "f.yaml:1:1: empty"},
      {"null\n", "expected a map at the top level, found nothing"},
      {"policies: &p {}\n", "anchors and aliases"},
      {"policies: *p\n", "f.yaml:1:11: "},
      {"policies: !!map {}\n", "tags (!) are not taken"},
      {"credentials: { a: { provider: !secret x } }\n", "tags (!) are not taken"},
      {"policies: {}\n---\npolicies: {}\n", "f.yaml:2:1: only one document"},
      {"policies: {}\n...\npolicies: {}\n", "only one document"},
      {"policies: {\n", "f.yaml:"},
      {"policies: {}\n}\n", "f.yaml:"},
      {"{ ? [a] : b }\n", "a key must be a text"},
      {"~: {}\n", "a key must be a text"},
  };
  for (const auto& [text, expected] : cases) {
    EXPECT_THAT(ErrorOf<Resources>(text), HasSubstr(expected)) << text;
    EXPECT_THAT(ErrorOf<Resources>(text), StartsWith("f.yaml:")) << text;
  }
}

TEST(StrictYaml, NumbersStayInRange) {
  Config config;
  ASSERT_TRUE(ParseYaml("limits: { connections: 4294967295 }", "f", &config).ok());
  EXPECT_EQ(config.limits().connections(), 4294967295U);
  for (const char* bad : {"4294967296", "-1", "1.5", "1e3", "0x10", "007", "\"5\"", "many", "[1]",
                          "{}", "~", "1_000", ".inf"}) {
    EXPECT_THAT(ErrorOf<Config>(absl::StrCat("limits: { connections: ", bad, " }")),
                HasSubstr("number"))
        << bad;
  }
}

TEST(StrictYaml, AnyValueKeepsItsType) {
  EXPECT_TRUE(ReadAny("true").bool_value());
  EXPECT_EQ(ReadAny("\"true\"").string_value(), "true");
  EXPECT_EQ(ReadAny("123").number_value(), 123);
  EXPECT_EQ(ReadAny("-1.5e3").number_value(), -1500);
  EXPECT_EQ(ReadAny("'123'").string_value(), "123");
  EXPECT_EQ(ReadAny("007").string_value(), "007");
  EXPECT_EQ(ReadAny("yes").string_value(), "yes");
  EXPECT_EQ(ReadAny("null").kind_case(), google::protobuf::Value::kNullValue);
  EXPECT_EQ(ReadAny("").kind_case(), google::protobuf::Value::kNullValue);
  EXPECT_EQ(ReadAny("[1, x]").list_value().values_size(), 2);
  EXPECT_EQ(ReadAny("{ a: { b: [] } }")
                .struct_value()
                .fields()
                .at("a")
                .struct_value()
                .fields()
                .at("b")
                .kind_case(),
            google::protobuf::Value::kListValue);
  EXPECT_THAT(ErrorOf<Recipe>("create: { json: 12345678901234567890 }"),
              HasSubstr("too large to be kept exactly"));
  EXPECT_THAT(ErrorOf<Recipe>("create: { json: 1e999 }"), HasSubstr("too large"));
}

TEST(StrictYaml, PresenceOfOptionalFieldsIsKept) {
  Recipe recipe;
  ASSERT_TRUE(ParseYaml("verify: { outcomes: [ { match: [ { exists: false }, { at: /a } ] } ] }",
                        "f", &recipe)
                  .ok());
  EXPECT_TRUE(recipe.verify().outcomes(0).match(0).has_exists());
  EXPECT_FALSE(recipe.verify().outcomes(0).match(1).has_exists());
}

TEST(StrictYaml, RefusesWhatIsHardToSeeOrTooMuch) {
  EXPECT_THAT(ErrorOf<Recipe>("title: a\x01"), HasSubstr("f.yaml:1:9: the character U+0001"));
  EXPECT_THAT(ErrorOf<Recipe>(std::string("title: \0", 8)), HasSubstr("U+0000"));
  EXPECT_THAT(ErrorOf<Recipe>("title: a\xe2\x80\xae"), HasSubstr("U+202E"));
  EXPECT_THAT(ErrorOf<Recipe>("title: \xff"), HasSubstr("not UTF-8"));
  EXPECT_THAT(ErrorOf<Recipe>("title: \xc0\x80"), HasSubstr("not UTF-8"));
  EXPECT_THAT(ErrorOf<Recipe>("title: \"a\\x07\""), HasSubstr("makes a control character"));
  EXPECT_THAT(ErrorOf<Recipe>("title: a\rb"), HasSubstr("U+000D"));
  EXPECT_THAT(
      ErrorOf<Recipe>("create: { json: " + std::string(40, '[') + std::string(40, ']') + " }"),
      HasSubstr("nested too deeply"));
  EXPECT_THAT(ErrorOf<Recipe>(std::string(100000, '[')), StartsWith("f.yaml:"));
  EXPECT_THAT(ErrorOf<Recipe>("title: " + std::string(1024 * 1024, 'a')), HasSubstr("1 MiB"));
  Recipe recipe;
  EXPECT_TRUE(ParseYaml("title: a\r\nrecipe: \"gr\xc3\xbc\xc3\x9f\"\r\n", "f", &recipe).ok());
  EXPECT_EQ(recipe.title(), "a");
}

TEST(StrictYaml, SourceMapFindsThePlaceOrItsNearestParent) {
  Resources r;
  SourceMap where;
  ASSERT_TRUE(ParseYaml(kExample, "r.yaml", &r, &where).ok());
  EXPECT_EQ(where.At({"credentials", "support-bot/dify", "rotate", "jitter"}), "r.yaml:11:27");
  EXPECT_EQ(where.At({"credentials", "support-bot/dify", "rotate", "window"}), "r.yaml:11:5");
  EXPECT_EQ(where.At({"policies", "support-bot", "principals", "0"}), "r.yaml:23:19");
  EXPECT_EQ(where.At({"nowhere"}), "r.yaml:2:1");
  EXPECT_EQ(where.Error({"policies", "support-bot", "principals", "0"}, "who?").message(),
            "r.yaml:23:19: policies.support-bot.principals[0]: who?");
  EXPECT_EQ(SourceMap().Error({"endpoint"}, "missing").message(), "endpoint: missing");
}

TEST(StrictYaml, WritesForPeople) {
  Resources r;
  ASSERT_TRUE(ParseYaml(kExample, "r.yaml", &r).ok());
  r.mutable_credentials()->erase("support-bot/dify");
  EXPECT_EQ(ToYaml(r), R"(providers:
  dify-support:
    recipe: dify-app-key
    endpoint: https://dify.example.com
    manager: dify/admin
    params:
      app_id: "3f1c"
      workspace_id: "77"
credentials:
  crm/token:
    oauth:
      token_url: https://crm.example.com/oauth/token
      grant: client_credentials
      client_secret:
        credential: crm/client-secret
      scopes:
        - read
        - write
  note:
    static: {}
policies:
  support-bot:
    principals:
      - unix:
          user: support
    allow:
      - read
    on:
      - support-bot/*
)");
  EXPECT_EQ(ToYaml(Resources()), "{}\n");
}

// --- property: writing and reading again changes nothing -------------------------------------

class MessageMaker {
 public:
  explicit MessageMaker(uint64_t seed) : random_(seed) {}

  void Fill(Message* message, int depth) {
    const std::string& type = message->GetDescriptor()->full_name();
    if (type == "google.protobuf.Duration") {
      auto* duration = static_cast<google::protobuf::Duration*>(message);
      duration->set_seconds(static_cast<int64_t>(Below(1'000'000'000)));
      duration->set_nanos(Below(2) == 0 ? 0 : static_cast<int32_t>(Below(1'000'000'000)));
      return;
    }
    if (type == "google.protobuf.Value") {
      FillValue(static_cast<google::protobuf::Value*>(message), depth);
      return;
    }
    for (int i = 0; i < message->GetDescriptor()->field_count(); ++i) {
      const FieldDescriptor* field = message->GetDescriptor()->field(i);
      if (depth > 6 || Below(3) == 0) continue;
      const uint64_t count = field->is_repeated() ? Below(4) : 1;
      for (uint64_t n = 0; n < count; ++n) FillField(message, field, depth);
    }
  }

 private:
  uint64_t Below(uint64_t bound) { return random_() % bound; }

  std::string Text() {
    static const char* const kNasty[] = {
        "",    "true", "null",  "~",     "123", "-1.5", "on",   "yes",       "a: b",
        " a",  "a ",   "# c",   "a #b",  "'",   "\"",   "\\n",  "a\nb",      "a\tb",
        "- a", "?",    "&a",    "*a",    "!a",  "%a",   "@a",   "`",         "{a}",
        "[a",  "|",    ">",     "a,b",   "007", "0x1f", "1e5",  ".5",        "\xc3\xbc",
        "90d", "a/b",  "a-b_c", "12:30", "a:b", "a:",   "a*",   "=",         "<<",
        "---", "...",  "\n\n",  "a\\b",  "{{",  "a.b",  "NULL", "2026-01-01"};
    std::string text = kNasty[Below(std::size(kNasty))];
    if (Below(3) == 0) text += kNasty[Below(std::size(kNasty))];
    return text;
  }

  void FillValue(google::protobuf::Value* value, int depth) {
    switch (Below(depth > 6 ? 4 : 6)) {
      case 0:
        value->set_null_value(google::protobuf::NULL_VALUE);
        break;
      case 1:
        value->set_bool_value(Below(2) == 0);
        break;
      case 2:
        value->set_number_value(static_cast<double>(static_cast<int64_t>(Below(1U << 30))) /
                                static_cast<double>(1 + Below(1000)));
        break;
      case 3:
        value->set_string_value(Text());
        break;
      case 4:
        value->mutable_list_value();
        for (uint64_t i = Below(4); i > 0; --i) {
          FillValue(value->mutable_list_value()->add_values(), depth + 1);
        }
        break;
      default:
        value->mutable_struct_value();
        for (uint64_t i = Below(4); i > 0; --i) {
          FillValue(&(*value->mutable_struct_value()->mutable_fields())[Text()], depth + 1);
        }
    }
  }

  void FillField(Message* message, const FieldDescriptor* field, int depth) {
    const Reflection* r = message->GetReflection();
    if (field->is_map()) {
      // A key of its own for each entry: the last one would win, which is not what is tested.
      Message* entry = r->AddMessage(message, field);
      const FieldDescriptor* key = field->message_type()->map_key();
      entry->GetReflection()->SetString(entry, key, absl::StrCat(Text(), ++keys_));
      FillField(entry, field->message_type()->map_value(), depth);
      return;
    }
    const bool list = field->is_repeated();
    switch (field->cpp_type()) {
      case FieldDescriptor::CPPTYPE_MESSAGE:
        Fill(list ? r->AddMessage(message, field) : r->MutableMessage(message, field), depth + 1);
        break;
      case FieldDescriptor::CPPTYPE_STRING:
        list ? r->AddString(message, field, Text()) : r->SetString(message, field, Text());
        break;
      case FieldDescriptor::CPPTYPE_BOOL:
        r->SetBool(message, field, Below(2) == 0);
        break;
      case FieldDescriptor::CPPTYPE_UINT32:
        r->SetUInt32(message, field, static_cast<uint32_t>(random_()));
        break;
      case FieldDescriptor::CPPTYPE_ENUM: {
        const auto* type = field->enum_type();
        const auto* value = type->value(
            1 + static_cast<int>(Below(static_cast<uint64_t>(type->value_count() - 1))));
        list ? r->AddEnum(message, field, value) : r->SetEnum(message, field, value);
        break;
      }
      default:
        FAIL() << "no generator for " << field->full_name();
    }
  }

  std::mt19937_64 random_;
  int keys_ = 0;
};

template <typename M>
void CheckWritingAndReading(uint64_t seeds) {
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    M message;
    MessageMaker(seed).Fill(&message, 0);
    const std::string yaml = ToYaml(message);
    M back;
    const absl::Status status = ParseYaml(yaml, "f", &back);
    ASSERT_TRUE(status.ok()) << "seed " << seed << ": " << status << "\n" << yaml;
    ASSERT_TRUE(MessageDifferencer::Equals(message, back)) << "seed " << seed << "\n" << yaml;
    ASSERT_EQ(ToYaml(back), yaml) << "seed " << seed;
  }
}

TEST(StrictYamlProperty, WhatIsWrittenReadsBack) {
  CheckWritingAndReading<Resources>(500);
  CheckWritingAndReading<Recipe>(500);
  CheckWritingAndReading<Config>(200);
}

}  // namespace
}  // namespace keyturn::base
