// SPDX-License-Identifier: Apache-2.0
#include "agent/credential/watch_hub.h"

#include <utility>

namespace keyturn::credential {

struct Subscription::State {
  explicit State(std::string of) : principal(std::move(of)) {}

  const std::string principal;
  absl::Mutex mu;
  absl::flat_hash_set<std::string> changed ABSL_GUARDED_BY(mu);
  // Held while `wake` runs, so that a subscription can end only between calls of it.
  absl::Mutex wake_mu ABSL_ACQUIRED_BEFORE(mu);
  absl::AnyInvocable<void()> wake ABSL_GUARDED_BY(wake_mu);
};

Subscription::Subscription(WatchHub& hub, std::shared_ptr<State> state,
                           std::vector<std::string> names)
    : hub_(hub), state_(std::move(state)), names_(std::move(names)) {}

Subscription::~Subscription() {
  hub_.Remove(names_, state_);
  absl::MutexLock lock(&state_->wake_mu);
  state_->wake = nullptr;
}

std::string Subscription::TakeChanged() {
  absl::MutexLock lock(&state_->mu);
  if (state_->changed.empty()) return {};
  auto node = state_->changed.extract(state_->changed.begin());
  return std::move(node.value());
}

std::unique_ptr<Subscription> WatchHub::Subscribe(std::string principal,
                                                  std::vector<std::string> names,
                                                  absl::AnyInvocable<void()> wake) {
  auto state = std::make_shared<Subscription::State>(std::move(principal));
  {
    absl::MutexLock lock(&state->wake_mu);
    state->wake = std::move(wake);
  }
  {
    absl::MutexLock lock(&mu_);
    for (const std::string& name : names) by_name_[name].insert(state);
  }
  return std::unique_ptr<Subscription>(new Subscription(*this, std::move(state), std::move(names)));
}

void WatchHub::Remove(const std::vector<std::string>& names,
                      const std::shared_ptr<Subscription::State>& state) {
  absl::MutexLock lock(&mu_);
  for (const std::string& name : names) {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) continue;
    found->second.erase(state);
    if (found->second.empty()) by_name_.erase(found);
  }
}

std::vector<std::string> WatchHub::Watching(absl::string_view name) {
  std::vector<std::string> principals;
  absl::MutexLock lock(&mu_);
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return principals;
  for (const auto& state : found->second) principals.push_back(state->principal);
  return principals;
}

void WatchHub::Changed(absl::string_view name) {
  std::vector<std::shared_ptr<Subscription::State>> told;
  {
    absl::MutexLock lock(&mu_);
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return;
    told.assign(found->second.begin(), found->second.end());
  }
  for (const auto& state : told) {
    bool was_empty = false;
    {
      absl::MutexLock lock(&state->mu);
      was_empty = state->changed.empty();
      state->changed.insert(std::string(name));
    }
    if (!was_empty) continue;
    absl::MutexLock lock(&state->wake_mu);
    if (state->wake) state->wake();
  }
}

}  // namespace keyturn::credential
