// SPDX-License-Identifier: Apache-2.0
// Gets that wait: for a token's refresh, or for a key that is being replaced in place.
#include <algorithm>
#include <utility>

#include "agent/base/error.h"
#include "agent/lifecycle/keeper.h"

namespace keyturn::lifecycle {
namespace {

// How long a get waits while the key in use is being replaced in place.
constexpr absl::Duration kRollWait = absl::Seconds(5);

}  // namespace

void Keeper::EnsureFresh(std::string name, absl::Duration timeout, Done done) {
  deps_.executor.Post([this, name = std::move(name), timeout, done = std::move(done)]() mutable {
    if (engine_.Rolling(name)) {
      AwaitRoll(name, timeout, std::move(done));
    } else if (const CredentialState* state = ledger_.Find(name);
               state != nullptr && !state->record.spec.has_oauth()) {
      done(absl::OkStatus());  // the roll ended while the call was on its way here
    } else {
      refresher_.EnsureFresh(name, timeout, std::move(done));
    }
  });
}

void Keeper::AwaitRoll(const std::string& name, absl::Duration timeout, Done done) {
  Plan& plan = plans_[name];
  plan.roll_waits.push_back(std::move(done));
  if (plan.roll_waits.size() > 1) return;
  // Whoever comes first sets the time for all: it is short anyway.
  plan.roll =
      deps_.executor.After(std::min(timeout, kRollWait), [this, name] { EndRollWaits(name); });
}

void Keeper::EndRollWaits(const std::string& name) {
  const auto plan = plans_.find(name);
  if (plan == plans_.end() || plan->second.roll_waits.empty()) return;
  deps_.executor.Cancel(plan->second.roll);
  std::vector<Done> waits = std::move(plan->second.roll_waits);
  plan->second.roll_waits.clear();
  const absl::Status status =
      engine_.Rolling(name)
          ? base::WithReason(absl::UnavailableError("the key is still being replaced"),
                             "ROTATION_UNDER_WAY", {{"credential", name}})
          : absl::OkStatus();
  // Not from within the publishing: the new value has to be there first.
  for (Done& wait : waits) {
    deps_.executor.Post([wait = std::move(wait), status]() mutable { wait(status); });
  }
}

}  // namespace keyturn::lifecycle
