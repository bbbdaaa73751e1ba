// SPDX-License-Identifier: Apache-2.0
// The suite for the fake provider of each class, and for the shipped recipes over scripted services
// that keep keys of their own.
#include "tests/conformance/provider_conformance.h"

#include <map>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "agent/providers/recipe/recipe_registry.h"
#include "tests/fakes/fake_provider.h"
#include "tests/fakes/scripted_http_client.h"
#include "tests/fakes/simulated_clock.h"
#include "tests/fakes/simulated_executor.h"

namespace keyturn::conformance {
namespace {

using base::CredentialValue;
using base::Secret;
using fakes::ScriptedHttpClient;
using nlohmann::json;
using providers::ProviderClass;
using Request = ScriptedHttpClient::Request;

class FakeWorld final : public ProviderWorld {
 public:
  FakeWorld(ProviderClass provider_class, uint32_t limit) {
    fakes::FakeProvider::Options options;
    options.traits.provider_class = provider_class;
    options.traits.key_limit = limit;
    options.traits.cached_for = absl::Minutes(10);
    options.manager_secret = "admin";
    provider_ = std::make_unique<fakes::FakeProvider>(options, clock_, executor_);
  }
  providers::Provider& provider() override { return *provider_; }
  CredentialValue manager() override { return CredentialValue::Of(Secret("admin")); }
  CredentialValue wrong_manager() override { return CredentialValue::Of(Secret("nobody")); }
  void Advance(absl::Duration d) override { executor_.AdvanceBy(d); }
  void LoseNextReply() override { Inject(fakes::ProviderFault::Kind::kLoseReply); }
  void RefuseNextForNow() override { Inject(fakes::ProviderFault::Kind::kTransient); }
  size_t existing_keys() override { return provider_->existing_keys().size(); }

 private:
  void Inject(fakes::ProviderFault::Kind kind) {
    provider_->SetFaults([kind, done = false](fakes::ProviderCall) mutable {
      return std::exchange(done, true) ? fakes::ProviderFault{}
                                       : fakes::ProviderFault{kind, {}, {}};
    });
  }
  fakes::SimulatedClock clock_;
  fakes::SimulatedExecutor executor_{clock_};
  std::unique_ptr<fakes::FakeProvider> provider_;
};

// A recipe over a service whose HTTP side is written below.
class RecipeWorld : public ProviderWorld {
 public:
  struct Key {
    std::string id;
    std::string value;
    std::string tag;
  };

  explicit RecipeWorld(providers::ProviderConfig config) {
    providers::RecipeRegistry::Options options;
    options.directories = {absl::StrCat(KEYTURN_SOURCE_DIR, "/agent/providers/recipes")};
    auto registry = providers::RecipeRegistry::Load(options, http_, clock_).value();
    config.endpoint = "https://service.example";
    config.manager = "some/manager";
    provider_ = registry->Make(config).value();
    http_.SetHandler([this](const Request& request) { return Handle(request); });
  }
  providers::Provider& provider() override { return *provider_; }
  void Advance(absl::Duration d) override { executor_.AdvanceBy(d); }
  void LoseNextReply() override { lose_next_ = true; }
  void RefuseNextForNow() override { refuse_next_ = true; }
  size_t existing_keys() override { return keys_.size(); }

 protected:
  virtual net::HttpResult Serve(const Request& request) = 0;

  static net::HttpResult Reply(int status, const json& body) {
    return ScriptedHttpClient::Reply(status, body.dump());
  }
  const Key* FindByBearer(const Request& request) const {
    for (const Key& key : keys_) {
      if (request.Header("Authorization") == "Bearer " + key.value) return &key;
    }
    return nullptr;
  }
  Key& Add(const std::string& tag) {
    const int number = ++made_;
    keys_.push_back({absl::StrCat("k", number), absl::StrCat("app-0123456789abcdef", number), tag});
    return keys_.back();
  }
  bool Remove(const std::string& id) {
    return std::erase_if(keys_, [&](const Key& key) { return key.id == id; }) > 0;
  }

  std::vector<Key> keys_;

 private:
  net::HttpResult Handle(const Request& request) {
    if (std::exchange(refuse_next_, false)) return ScriptedHttpClient::Reply(429, "");
    net::HttpResult result = Serve(request);
    if (std::exchange(lose_next_, false)) {
      return ScriptedHttpClient::Failed(net::Delivery::kUnknown, "timeout");
    }
    return result;
  }

  fakes::SimulatedClock clock_;
  fakes::SimulatedExecutor executor_{clock_};
  ScriptedHttpClient http_{clock_, executor_};
  std::shared_ptr<providers::Provider> provider_;
  int made_ = 0;
  bool lose_next_ = false;
  bool refuse_next_ = false;
};

class DifyWorld final : public RecipeWorld {
 public:
  DifyWorld() : RecipeWorld(Config()) {}
  CredentialValue manager() override { return CredentialValue::Of(Secret("admin")); }
  CredentialValue wrong_manager() override { return CredentialValue::Of(Secret("nobody")); }

 private:
  static providers::ProviderConfig Config() {
    providers::ProviderConfig config;
    config.recipe = "dify-app-key";
    config.params = {{"app_id", "app"}, {"workspace_id", "ws"}};
    return config;
  }
  static json Show(const Key& key) { return {{"id", key.id}, {"token", key.value}}; }

  net::HttpResult Serve(const Request& request) override {
    const std::string base = "https://service.example/console/api/apps/app/api-keys";
    if (request.url == "https://service.example/v1/info") {
      return FindByBearer(request) != nullptr ? Reply(200, json::object())
                                              : Reply(401, json::object());
    }
    if (request.Header("Authorization") != "Bearer admin") return Reply(401, json::object());
    if (request.method == "POST" && request.url == base) {
      if (keys_.size() >= 10) {
        return Reply(400, {{"message", "Cannot create more than 10 API keys for this."}});
      }
      return Reply(201, Show(Add("")));
    }
    if (request.method == "DELETE") {
      return ScriptedHttpClient::Reply(Remove(request.url.substr(base.size() + 1)) ? 204 : 404, "");
    }
    json data = json::array();
    for (const Key& key : keys_) data.push_back(Show(key));
    return Reply(200, {{"data", data}});
  }
};

class NpmWorld final : public RecipeWorld {
 public:
  NpmWorld() : RecipeWorld(Config()) {}
  CredentialValue manager() override { return User("secret"); }
  CredentialValue wrong_manager() override { return User("guess"); }

 private:
  static providers::ProviderConfig Config() {
    providers::ProviderConfig config;
    config.recipe = "npm-token";
    return config;
  }
  static CredentialValue User(const std::string& password) {
    CredentialValue value;
    value.primary = "password";
    value.fields.push_back({"username", Secret("ann"), false});
    value.fields.push_back({"password", Secret(password), true});
    return value;
  }

  net::HttpResult Serve(const Request& request) override {
    const std::string base = "https://service.example/-/npm/v1/tokens";
    if (absl::EndsWith(request.url, "/user")) {
      return FindByBearer(request) != nullptr ? Reply(200, {{"name", "ann"}})
                                              : Reply(403, {{"error", "unauthorized access"}});
    }
    if (request.Header("Authorization") != "Basic " + absl::Base64Escape("ann:secret")) {
      return Reply(401, {{"error", "no credentials provided"}});
    }
    if (request.method == "POST") {
      const json body = json::parse(request.body);
      const Key& key = Add(body["cidr_whitelist"][1]);
      return Reply(200, {{"token", key.value}, {"key", key.id}});
    }
    if (request.method == "DELETE") {
      Remove(request.url.substr(base.size() + std::string("/token/").size()));
      return Reply(200, json::object());
    }
    json objects = json::array();
    for (const Key& key : keys_) {
      objects.push_back({{"key", key.id}, {"token", "app...f"}, {"cidr", {"0.0.0.0/0", key.tag}}});
    }
    return Reply(200, {{"objects", objects}});
  }
};

template <typename World, typename... Args>
std::pair<std::string, ProviderWorldFactory> Named(const std::string& name, Args... args) {
  return {name, [=] { return std::make_unique<World>(args...); }};
}

INSTANTIATE_TEST_SUITE_P(
    Providers, ProviderConformance,
    testing::Values(Named<FakeWorld>("FakeTagged", ProviderClass::kTagged, 3U),
                    Named<FakeWorld>("FakeUntagged", ProviderClass::kUntagged, 2U),
                    Named<FakeWorld>("FakeListed", ProviderClass::kListed, 0U),
                    Named<DifyWorld>("DifyAppKey"), Named<NpmWorld>("NpmToken")),
    [](const auto& instance) { return instance.param.first; });

}  // namespace
}  // namespace keyturn::conformance
