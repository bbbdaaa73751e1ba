// SPDX-License-Identifier: Apache-2.0
// Registry: turns a provider resource into a Provider. The implementation (recipes now, plugins
// later) is chosen by agent.cc. Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "agent/providers/provider.h"

namespace keyturn::providers {

// A provider resource, checked for form only (keyturn.v1.ProviderSpec).
struct ProviderConfig {
  std::string name;
  std::string recipe;  // or plugin
  std::string plugin;
  std::string endpoint;
  std::string manager;
  std::map<std::string, std::string> params;
  // Overrides; InfiniteDuration: as the recipe says.
  absl::Duration propagation = absl::InfiniteDuration();
  absl::Duration settle = absl::InfiniteDuration();
  absl::Duration cached_for = absl::InfiniteDuration();
};

// A recipe, for people to look at.
struct RecipeInfo {
  std::string name;
  std::string title;
  ProviderClass provider_class = ProviderClass::kUntagged;
  // What in it was not seen but is believed, one sentence each.
  std::vector<std::string> uncertain;
  // Its file.
  std::string yaml;
};

// A mistake in a provider resource, with the field it is in (`endpoint`, `params.app_id`, `recipe`)
// as the status's metadata "field".
class Registry {
 public:
  virtual ~Registry() = default;
  virtual absl::StatusOr<std::shared_ptr<Provider>> Make(const ProviderConfig& config) const = 0;
  // Names of all recipes, sorted, for error messages and listings.
  virtual std::vector<std::string> RecipeNames() const = 0;
  // All recipes, sorted by name; none where providers do not come from recipe files.
  virtual std::vector<RecipeInfo> Recipes() const { return {}; }
};

}  // namespace keyturn::providers
