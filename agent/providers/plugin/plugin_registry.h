// SPDX-License-Identifier: Apache-2.0
// Registry over recipes and plugins: which of the two a provider resource names decides who makes
// it. Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/providers/plugin/plugin_host.h"
#include "agent/providers/registry.h"

namespace keyturn::providers {

class PluginRegistry final : public Registry {
 public:
  // Both must outlive it.
  PluginRegistry(const Registry& recipes, PluginHost& host) : recipes_(recipes), host_(host) {}

  absl::StatusOr<std::shared_ptr<Provider>> Make(const ProviderConfig& config) const override;
  std::vector<std::string> RecipeNames() const override { return recipes_.RecipeNames(); }
  std::vector<RecipeInfo> Recipes() const override { return recipes_.Recipes(); }

 private:
  const Registry& recipes_;
  PluginHost& host_;
};

}  // namespace keyturn::providers
