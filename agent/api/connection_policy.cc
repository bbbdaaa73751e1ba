// SPDX-License-Identifier: Apache-2.0
// Reclamation: a reader counts itself before it loads `current_`; a writer stores the new pointer
// before it looks at the count. All four are sequentially consistent, so a writer that sees no
// other reader knows that whoever comes later loads the new pointer.
#include "agent/api/connection_policy.h"

#include <utility>

namespace keyturn::api {

class ConnectionPolicy::Reading {
 public:
  explicit Reading(ConnectionPolicy& owner) : owner_(owner) {
    owner_.readers_.fetch_add(1);
    compiled_ = owner_.current_.load();
    if (compiled_->generation != owner_.holder_.generation()) {
      owner_.Recompile();
      compiled_ = owner_.current_.load();
    }
  }
  ~Reading() { owner_.readers_.fetch_sub(1); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

  const authz::CallerPolicy& policy() const { return compiled_->policy; }

 private:
  ConnectionPolicy& owner_;
  const Compiled* compiled_;
};

ConnectionPolicy::ConnectionPolicy(const authz::PolicyHolder& holder, authn::Principal principal)
    : holder_(holder), principal_(std::move(principal)), principal_text_(principal_.ToString()) {
  absl::MutexLock lock(&mu_);
  compiled_.push_back(Compile());
  current_.store(compiled_.back().get());
}

std::unique_ptr<const ConnectionPolicy::Compiled> ConnectionPolicy::Compile() const {
  // The number before the set: a set that is newer than its number is only compiled once more.
  const uint64_t generation = holder_.generation();
  return std::make_unique<const Compiled>(
      Compiled{generation, holder_.Current()->Compile(principal_)});
}

void ConnectionPolicy::Recompile() {
  absl::MutexLock lock(&mu_);
  if (compiled_.back()->generation == holder_.generation()) return;  // another reader was faster
  compiled_.push_back(Compile());
  current_.store(compiled_.back().get());
  // The one reader is the caller, who loads again.
  if (readers_.load() == 1) compiled_.erase(compiled_.begin(), compiled_.end() - 1);
}

authz::Decision ConnectionPolicy::Decide(authz::Action action, absl::string_view name) {
  const Reading reading(*this);
  return reading.policy().Decide(action, name);
}

std::vector<authz::CallerPolicy::Grant> ConnectionPolicy::Grants() {
  const Reading reading(*this);
  return reading.policy().grants();
}

}  // namespace keyturn::api
