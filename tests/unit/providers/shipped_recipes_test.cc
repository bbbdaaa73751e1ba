// SPDX-License-Identifier: Apache-2.0
// The registry, and each recipe that ships, run against replies as the real service gives them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/base/error.h"
#include "agent/base/file_io.h"
#include "agent/providers/recipe/recipe_registry.h"
#include "tests/fakes/scripted_http_client.h"
#include "tests/fakes/simulated_clock.h"
#include "tests/fakes/simulated_executor.h"

namespace keyturn::providers {
namespace {

using fakes::ScriptedHttpClient;
using testing::HasSubstr;

class ShippedRecipesTest : public testing::Test {
 protected:
  std::unique_ptr<RecipeRegistry> Load(std::vector<std::string> more = {}) {
    RecipeRegistry::Options options;
    options.directories = {absl::StrCat(KEYTURN_SOURCE_DIR, "/agent/providers/recipes")};
    options.directories.insert(options.directories.end(), more.begin(), more.end());
    options.egress = net::EgressRules::Create({}, {"localhost"}).value();
    auto registry = RecipeRegistry::Load(std::move(options), http_, clock_);
    EXPECT_TRUE(registry.ok()) << registry.status();
    return registry.ok() ? *std::move(registry) : nullptr;
  }
  static ProviderConfig Dify() {
    ProviderConfig config;
    config.name = "dify";
    config.recipe = "dify-app-key";
    config.endpoint = "https://dify.example.com/";
    config.manager = "dify/admin";
    config.params = {{"app_id", "3f1c"}, {"workspace_id", "77ab"}};
    return config;
  }
  static ProviderConfig Npm() {
    ProviderConfig config;
    config.name = "npm";
    config.recipe = "npm-token";
    config.endpoint = "https://npm.example.com";
    config.manager = "npm/user";
    return config;
  }
  std::shared_ptr<Provider> Make(const ProviderConfig& config) {
    auto provider = Load()->Make(config);
    EXPECT_TRUE(provider.ok()) << provider.status();
    return *provider;
  }
  void ExpectError(const ProviderConfig& config, const std::string& field,
                   const std::string& message) {
    const auto provider = Load()->Make(config);
    ASSERT_EQ(provider.status().code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_THAT(std::string(provider.status().message()), HasSubstr(message));
    // Whoever shows it puts the field in front.
    EXPECT_FALSE(absl::StartsWith(provider.status().message(), field));
    EXPECT_EQ(base::MetadataOf(provider.status()), (base::Metadata{{"field", field}}));
  }
  void Answer(int status, const std::string& body) {
    http_.SetHandler([=](const auto&) { return ScriptedHttpClient::Reply(status, body); });
  }
  Outcome Create(Provider& provider) {
    Outcome outcome = Outcome::kUnknown;
    NewKey key;
    key.tag = "kt-a-b-1";
    provider.Create(manager_, key, [&](CallResult r, std::optional<MintedKey> m) {
      outcome = r.outcome;
      minted_ = std::move(m);
    });
    executor_.AdvanceBy(absl::Seconds(1));
    return outcome;
  }
  Outcome List(Provider& provider) {
    Outcome outcome = Outcome::kUnknown;
    provider.List(manager_, [&](CallResult r, std::vector<ListedKey> keys) {
      outcome = r.outcome;
      listed_ = std::move(keys);
    });
    executor_.AdvanceBy(absl::Seconds(1));
    return outcome;
  }
  Outcome Verify(Provider& provider) {
    Outcome outcome = Outcome::kUnknown;
    provider.Verify(base::CredentialValue::Of(base::Secret("app-key")),
                    [&](CallResult r) { outcome = r.outcome; });
    executor_.AdvanceBy(absl::Seconds(1));
    return outcome;
  }
  Outcome Revoke(Provider& provider) {
    Outcome outcome = Outcome::kUnknown;
    provider.Revoke(manager_, "k1", {}, [&](CallResult r) { outcome = r.outcome; });
    executor_.AdvanceBy(absl::Seconds(1));
    return outcome;
  }

  fakes::SimulatedClock clock_;
  fakes::SimulatedExecutor executor_{clock_};
  ScriptedHttpClient http_{clock_, executor_};
  base::CredentialValue manager_ = base::CredentialValue::Of(base::Secret("adm1n"));
  std::optional<MintedKey> minted_;
  std::vector<ListedKey> listed_;
};

TEST_F(ShippedRecipesTest, AllLoadAndSayWhereTheirFactsCameFrom) {
  const auto names = Load()->RecipeNames();
  EXPECT_THAT(names, testing::IsSupersetOf({"dify-app-key", "npm-token", "aws-iam", "anthropic"}));
  const auto infos = Load()->Recipes();
  ASSERT_EQ(infos.size(), names.size());
  for (size_t i = 0; i < infos.size(); ++i) {
    EXPECT_EQ(infos[i].name, names[i]);
    EXPECT_FALSE(infos[i].title.empty()) << names[i];
    EXPECT_THAT(infos[i].yaml, HasSubstr(absl::StrCat("recipe: ", names[i], "\n")));
  }
}

TEST(RecipeDocs, TheWorkedExampleIsARecipe) {
  const auto text = base::ReadFile(absl::StrCat(KEYTURN_SOURCE_DIR, "/docs/RECIPES.md"), 1 << 20);
  ASSERT_TRUE(text.ok());
  const size_t begin = text->find("recipe: acme-key\n");
  ASSERT_NE(begin, std::string::npos);
  const auto recipe =
      ReadRecipe(text->substr(begin, text->find("```", begin) - begin), "acme-key.yaml");
  ASSERT_TRUE(recipe.ok()) << recipe.status();
  EXPECT_TRUE((*recipe)->needs_manager);
  EXPECT_EQ((*recipe)->traits.key_limit, 5U);
}

TEST_F(ShippedRecipesTest, MistakesInAProviderNameTheField) {
  ProviderConfig config = Dify();
  config.recipe = "dify";
  ExpectError(config, "recipe", "there is no recipe \"dify\"; there are anthropic, aws-iam");
  config = Dify();
  config.endpoint = "";
  ExpectError(config, "endpoint", "is missing");
  config.endpoint = "dify.example.com";
  ExpectError(config, "endpoint", "not an absolute http or https URL");
  config.endpoint = "http://dify.example.com";
  ExpectError(config, "endpoint", "plain http is not allowed for dify.example.com");
  config.endpoint = "https://user:pass@dify.example.com";
  ExpectError(config, "endpoint", "must not carry a user");
  config.endpoint = "https://dify.example.com/?x=1";
  ExpectError(config, "endpoint", "neither ? nor #");
  config = Dify();
  config.manager = "";
  ExpectError(config, "manager", "needs the name of a manager credential");
  config = Dify();
  config.params.erase("app_id");
  ExpectError(config, "params.app_id", "is missing: the app's id");
  config = Dify();
  config.params["app_id"] = "a/b";
  ExpectError(config, "params.app_id", "must be of letters");
  config = Dify();
  config.params["app"] = "x";
  ExpectError(config, "params.app", "has no such parameter; it has app_id, workspace_id");
  config = Dify();
  config.endpoint = "http://localhost:8080";
  EXPECT_TRUE(Load()->Make(config).ok());
}

TEST_F(ShippedRecipesTest, LaterDirectoriesWinAndBadFilesAreNamed) {
  const std::filesystem::path dir =
      std::filesystem::path(testing::TempDir()) / "keyturn_recipes_test";
  std::filesystem::remove_all(dir);
  std::filesystem::create_directories(dir);
  std::filesystem::copy_file(
      absl::StrCat(KEYTURN_SOURCE_DIR, "/agent/providers/recipes/npm-token.yaml"),
      dir / "npm-token.yaml");
  std::ofstream(dir / "npm-token.yaml", std::ios::app) << "limit: 3\n";
  const auto registry = Load({dir.string()});
  EXPECT_EQ((*registry->Make(Npm()))->traits().key_limit, 3U);
  std::ofstream(dir / "bad.yaml") << "recipe: bad\nclas: tagged\n";
  RecipeRegistry::Options options;
  options.directories = {dir.string()};
  const auto bad = RecipeRegistry::Load(options, http_, clock_);
  EXPECT_THAT(std::string(bad.status().message()), HasSubstr("bad.yaml:2:1: unknown key \"clas\""));
  options.directories = {(dir / "none").string()};
  EXPECT_EQ(RecipeRegistry::Load(options, http_, clock_).status().code(),
            absl::StatusCode::kNotFound);
  std::filesystem::remove_all(dir);
}

TEST_F(ShippedRecipesTest, TimingCanBeOverridden) {
  ProviderConfig config = Dify();
  EXPECT_EQ(Make(config)->traits().cached_for, absl::Minutes(11));
  config.cached_for = absl::Seconds(2);
  config.settle = absl::ZeroDuration();
  EXPECT_EQ(Make(config)->traits().cached_for, absl::Seconds(2));
  EXPECT_EQ(Make(config)->traits().settle, absl::ZeroDuration());
  EXPECT_EQ(Make(config)->traits().propagation, absl::Seconds(10));
}

TEST_F(ShippedRecipesTest, DifyAppKey) {
  const auto provider = Make(Dify());
  EXPECT_EQ(provider->traits().provider_class, ProviderClass::kListed);
  EXPECT_EQ(provider->traits().key_limit, 10U);
  EXPECT_EQ(provider->traits().attach_format, "Bearer {value}");
  Answer(201, R"({"id":"k1","type":"app","token":"app-0123456789abcdefghijklmn",
                  "last_used_at":null,"created_at":1735689600})");
  EXPECT_EQ(Create(*provider), Outcome::kOk);
  EXPECT_EQ(minted_->id, "k1");
  const auto& request = http_.requests()[0];
  EXPECT_EQ(request.url, "https://dify.example.com/console/api/apps/3f1c/api-keys");
  EXPECT_EQ(request.Header("Authorization"), "Bearer adm1n");
  EXPECT_EQ(request.Header("X-WORKSPACE-ID"), "77ab");
  EXPECT_EQ(request.body, "");
  Answer(400, R"({"code":"max_keys_exceeded","message":)"
              R"("Cannot create more than 10 API keys for this resource type."})");
  EXPECT_EQ(Create(*provider), Outcome::kLimited);
  Answer(401, R"({"code":"unauthorized","message":"Invalid token"})");
  EXPECT_EQ(Create(*provider), Outcome::kRejected);
  Answer(500, "Internal Server Error");
  EXPECT_EQ(Create(*provider), Outcome::kUnknown);

  Answer(200, R"({"data":[{"id":"k1","type":"app","token":"app-0123456789abcdefghijklmn"},
                          {"id":"k2","type":"app","token":"app-z123456789abcdefghijklmn"}]})");
  EXPECT_EQ(List(*provider), Outcome::kOk);
  ASSERT_EQ(listed_.size(), 2U);
  EXPECT_EQ(listed_[1].value.Primary()->Reveal(), "app-z123456789abcdefghijklmn");
  Answer(200, "<!doctype html><title>Sign in</title>");
  EXPECT_EQ(List(*provider), Outcome::kTransient) << "a login page is no empty list";

  http_.ClearRequests();
  Answer(200, R"({"name":"bot"})");
  EXPECT_EQ(Verify(*provider), Outcome::kOk);
  EXPECT_EQ(http_.requests()[0].Header("Authorization"), "Bearer app-key");
  Answer(401, R"({"code":"unauthorized","message":"Access token is invalid","status":401})");
  EXPECT_EQ(Verify(*provider), Outcome::kRejected);
  Answer(403, "");
  EXPECT_EQ(Verify(*provider), Outcome::kOk);
  Answer(404, "");
  EXPECT_EQ(Verify(*provider), Outcome::kTransient);

  Answer(204, "");
  EXPECT_EQ(Revoke(*provider), Outcome::kOk);
  Answer(404, R"({"message":"API key not found"})");
  EXPECT_EQ(Revoke(*provider), Outcome::kOk);
  Answer(502, "");
  EXPECT_EQ(Revoke(*provider), Outcome::kUnknown);
}

TEST_F(ShippedRecipesTest, NpmToken) {
  const auto provider = Make(Npm());
  EXPECT_EQ(provider->traits().provider_class, ProviderClass::kTagged);
  Answer(200, "{}");
  EXPECT_EQ(Create(*provider), Outcome::kRejected) << "the manager has no user name";
  manager_.fields = {{"username", base::Secret("keyturn"), false},
                     {"password", base::Secret("p\"w"), true}};
  manager_.primary = "password";
  Answer(200, R"({"token":"NTY2YabcdefghijklmnopQ==","user":"keyturn","key":"0a1b","cidr":
                  ["0.0.0.0/0","kt-a-b-1"],"readonly":false,"created":"2026-11-22T13:29:45.228Z"})");
  http_.ClearRequests();
  EXPECT_EQ(Create(*provider), Outcome::kOk);
  EXPECT_EQ(minted_->id, "0a1b");
  EXPECT_EQ(http_.requests()[0].body,
            R"({"cidr_whitelist":["0.0.0.0/0","kt-a-b-1"],"password":"p\"w","readonly":false})");
  EXPECT_EQ(http_.requests()[0].Header("Authorization"),
            "Basic " + absl::Base64Escape("keyturn:p\"w"));
  Answer(422, R"({"error":"the parameters are not valid"})");
  EXPECT_EQ(Create(*provider), Outcome::kRejected);
  Answer(500, R"({"error":"stream is not readable"})");
  EXPECT_EQ(Create(*provider), Outcome::kUnknown);

  Answer(200, R"({"objects":[{"user":"keyturn","token":"NTY2Y...1YmMy","key":"0a1b","cidr":
                  ["0.0.0.0/0","kt-a-b-1"],"readonly":false},{"key":"ffff","cidr":[],"token":"x"}],
                  "urls":{"next":""}})");
  EXPECT_EQ(List(*provider), Outcome::kOk);
  ASSERT_EQ(listed_.size(), 2U);
  EXPECT_EQ(listed_[0].tag, "kt-a-b-1");
  EXPECT_EQ(listed_[1].tag, "");
  EXPECT_TRUE(listed_[0].value.empty()) << "a masked token is no value";
  Answer(401, R"({"error":"no credentials provided"})");
  EXPECT_EQ(List(*provider), Outcome::kRejected);

  Answer(200, R"({"tfa":false,"name":"keyturn"})");
  EXPECT_EQ(Verify(*provider), Outcome::kOk);
  Answer(200, "{}");
  EXPECT_EQ(Verify(*provider), Outcome::kTransient) << "says nothing, and above all not alive";
  Answer(403, R"({"error":"unauthorized access"})");
  EXPECT_EQ(Verify(*provider), Outcome::kRejected);
  Answer(401, R"({"message":"You must be logged in to publish packages."})");
  EXPECT_EQ(Verify(*provider), Outcome::kRejected);
  Answer(429, "Too many requests, please try again later.");
  EXPECT_EQ(Verify(*provider), Outcome::kTransient);
  Answer(200, "{}");
  EXPECT_EQ(Revoke(*provider), Outcome::kOk);
}

}  // namespace
}  // namespace keyturn::providers
