// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/recipe/recipe_registry.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "agent/base/error.h"
#include "agent/base/file_io.h"
#include "agent/net/url.h"
#include "agent/providers/recipe/runner.h"

namespace keyturn::providers {
namespace {

constexpr size_t kRecipeBytesMax = 256 * 1024;

// Whoever shows it says where the field is.
absl::Status FieldError(const std::string& field, absl::string_view message) {
  return base::WithReason(absl::InvalidArgumentError(message), "INVALID_RESOURCE",
                          {{"field", field}});
}

absl::StatusOr<std::map<std::string, std::string>> CheckParams(const internal::v1::Recipe& recipe,
                                                               const ProviderConfig& config) {
  std::vector<std::string> known;
  for (const auto& [name, unused] : recipe.params()) known.push_back(name);
  std::sort(known.begin(), known.end());
  for (const auto& [name, unused] : config.params) {
    if (!recipe.params().contains(name)) {
      return FieldError(
          absl::StrCat("params.", name),
          absl::StrCat(
              "the recipe ", recipe.recipe(), " has no such parameter; it ",
              known.empty() ? "has none" : absl::StrCat("has ", absl::StrJoin(known, ", "))));
    }
  }
  std::map<std::string, std::string> params;
  for (const std::string& name : known) {
    const auto& param = recipe.params().at(name);
    const auto given = config.params.find(name);
    const std::string field = absl::StrCat("params.", name);
    if (given == config.params.end() || given->second.empty()) {
      if (param.required()) {
        return FieldError(
            field, absl::StrCat("is missing", param.about().empty() ? "" : ": ", param.about()));
      }
      params[name] = param.default_();
      continue;
    }
    if (auto bad = CheckParam(param.format(), given->second); !bad.ok()) {
      return FieldError(field, bad.message());
    }
    params[name] = given->second;
  }
  return params;
}

}  // namespace

RecipeRegistry::RecipeRegistry(Options options, net::HttpClient& http, const base::Clock& clock)
    : options_(std::move(options)), http_(http), clock_(clock) {}

absl::StatusOr<std::unique_ptr<RecipeRegistry>> RecipeRegistry::Load(Options options,
                                                                     net::HttpClient& http,
                                                                     const base::Clock& clock) {
  std::unique_ptr<RecipeRegistry> registry(new RecipeRegistry(std::move(options), http, clock));
  for (const std::string& path : registry->options_.directories) {
    if (auto status = registry->LoadDirectory(path); !status.ok()) return status;
  }
  return registry;
}

absl::Status RecipeRegistry::LoadDirectory(const std::string& path) {
  std::error_code error;
  std::vector<std::string> files;
  std::filesystem::directory_iterator entries(path, error);
  if (error) {
    return absl::NotFoundError(
        absl::StrCat("recipes: cannot read the directory ", path, ": ", error.message()));
  }
  for (const auto& entry : entries) {
    if (entry.path().extension() == ".yaml") files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  for (const std::string& file : files) {
    auto text = base::ReadFile(file, kRecipeBytesMax);
    if (!text.ok()) return text.status();
    auto recipe = ReadRecipe(*text, file);
    if (!recipe.ok()) return recipe.status();
    const std::string name = (*recipe)->spec.recipe();
    recipes_[name] = *std::move(recipe);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> RecipeRegistry::CheckEndpoint(const std::string& field,
                                                          const std::string& endpoint) const {
  if (endpoint.empty()) {
    return FieldError(field, "is missing; the base URL of the service, https://...");
  }
  const auto url = net::ParseUrl(endpoint);
  if (!url.ok()) return FieldError(field, url.status().message());
  if (url->has_query_or_fragment) {
    return FieldError(field, "must have neither ? nor #; it is the base that paths follow");
  }
  if (url->scheme == "http" && !options_.egress.AllowsHttp(url->host, url->port)) {
    return FieldError(field, absl::StrCat("plain http is not allowed for ", url->host,
                                          "; use https, or list the host under egress.allow_http"));
  }
  std::string base = endpoint;
  while (absl::EndsWith(base, "/")) base.pop_back();
  return base;
}

absl::StatusOr<std::shared_ptr<Provider>> RecipeRegistry::Make(const ProviderConfig& config) const {
  const auto found = recipes_.find(config.recipe);
  if (found == recipes_.end()) {
    return FieldError("recipe", absl::StrCat("there is no recipe \"", config.recipe,
                                             "\"; there are ", absl::StrJoin(RecipeNames(), ", ")));
  }
  const std::shared_ptr<const Recipe>& recipe = found->second;
  RecipeProvider::Setup setup;
  setup.recipe = recipe;
  auto endpoint = CheckEndpoint("endpoint", config.endpoint);
  if (!endpoint.ok()) return endpoint.status();
  setup.endpoint = *std::move(endpoint);
  if (recipe->needs_manager && config.manager.empty()) {
    return FieldError("manager", absl::StrCat("the recipe ", config.recipe,
                                              " needs the name of a manager credential"));
  }
  auto params = CheckParams(recipe->spec, config);
  if (!params.ok()) return params.status();
  setup.params = *std::move(params);
  for (const auto& [name, param] : recipe->spec.params()) {
    if (param.format() != "url" || setup.params[name].empty()) continue;
    auto base = CheckEndpoint(absl::StrCat("params.", name), setup.params[name]);
    if (!base.ok()) return base.status();
    setup.params[name] = *std::move(base);
  }
  setup.traits = recipe->traits;
  const auto override_with = [](absl::Duration given, absl::Duration* trait) {
    if (given != absl::InfiniteDuration()) *trait = given;
  };
  override_with(config.propagation, &setup.traits.propagation);
  override_with(config.settle, &setup.traits.settle);
  override_with(config.cached_for, &setup.traits.cached_for);
  setup.timeout = options_.timeout;
  setup.executor = options_.executor;
  return std::make_shared<RecipeProvider>(std::move(setup), http_, clock_);
}

std::vector<std::string> RecipeRegistry::RecipeNames() const {
  std::vector<std::string> names;
  for (const auto& [name, unused] : recipes_) names.push_back(name);
  return names;
}

std::vector<RecipeInfo> RecipeRegistry::Recipes() const {
  std::vector<RecipeInfo> infos;
  for (const auto& [name, recipe] : recipes_) {
    infos.push_back(
        {.name = name,
         .title = recipe->spec.title(),
         .provider_class = recipe->traits.provider_class,
         .uncertain = {recipe->spec.uncertain().begin(), recipe->spec.uncertain().end()},
         .yaml = recipe->yaml});
  }
  return infos;
}

}  // namespace keyturn::providers
