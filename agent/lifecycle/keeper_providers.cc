// SPDX-License-Identifier: Apache-2.0
// The Keeper's part for providers that come late: a plugin that was down when the agent started.
#include <map>
#include <memory>
#include <string>

#include "agent/lifecycle/keeper.h"

namespace keyturn::lifecycle {

void Keeper::TryProvidersAgain() {
  const std::map<std::string, std::shared_ptr<providers::Provider>> before = providers_;
  for (const auto& [name, record] : ledger_.providers()) {
    if (before.count(name) != 0) continue;
    auto provider = deps_.checks.registry.Make(ConfigOf(name, record.spec));
    if (provider.ok()) providers_[name] = *std::move(provider);
  }
  if (providers_.size() == before.size()) return;
  engine_.Recover();
  for (const auto& [name, state] : ledger_.credentials()) {
    const std::string provider = MakerOf(name);
    if (before.count(provider) != 0 || providers_.count(provider) == 0) continue;
    // What failed for want of it is over; a failure of its own will say so again.
    deps_.failures.Resolve(observe::FailureCode::kRotationFailed, name);
    Adopt(name, /*fetch_now=*/false);
  }
}

}  // namespace keyturn::lifecycle
