// SPDX-License-Identifier: Apache-2.0
#include "agent/providers/plugin/plugin_registry.h"

#include "agent/providers/plugin/messages.h"

namespace keyturn::providers {

absl::StatusOr<std::shared_ptr<Provider>> PluginRegistry::Make(const ProviderConfig& config) const {
  if (config.plugin.empty()) return recipes_.Make(config);
  if (!config.recipe.empty()) {
    return FieldError("plugin", "a provider has exactly one of `recipe` and `plugin`");
  }
  return host_.Make(config);
}

}  // namespace keyturn::providers
