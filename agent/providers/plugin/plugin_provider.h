// SPDX-License-Identifier: Apache-2.0
// PluginProvider: a Provider whose calls a plugin makes. A call that was certainly not handed to
// the plugin is transient; one that got no readable answer is in doubt if it can change something.
// Keeps nothing between calls. Thread-safe.
#pragma once

#include <memory>

#include "agent/providers/plugin/plugin_line.h"
#include "agent/providers/provider.h"
#include "agent/providers/registry.h"

namespace keyturn::providers {

class PluginProvider final : public Provider {
 public:
  // The line must outlive every call.
  PluginProvider(const ProviderConfig& config, Traits traits, PluginLine& line);

  const Traits& traits() const override { return traits_; }
  void Create(const base::CredentialValue& manager, const NewKey& key, CreateDone done) override;
  void List(const base::CredentialValue& manager, ListDone done) override;
  void Verify(const base::CredentialValue& key, Done done) override;
  void Revoke(const base::CredentialValue& manager, const std::string& key_id,
              const base::CredentialValue& value, Done done) override;

 private:
  plugin::v1::ProviderConfig config_;
  const Traits traits_;
  PluginLine& line_;
};

}  // namespace keyturn::providers
